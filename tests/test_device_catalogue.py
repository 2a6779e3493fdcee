"""Every card of the catalogue has all values, they agree with each other, and code asks for facts."""

import ast
import re
from pathlib import Path

import pytest

from tunedb.device import CATALOGUE, Device, as_arch, by_slug, slug_of
from tunedb.device.catalogue import CARDS, GENERATIONS, generation

# 18 cards of six generations.
H200 = by_slug("h200")
SLUGS = (
    "3090", "4070-ti-super", "4080", "4090", "5080", "5090", "a10g", "a100-pcie-40gb", "a100-sxm4-40gb", "a100-80gb-pcie",
    "a100-sxm4-80gb", "l4", "l40s", "rtx-6000-ada-generation", "h100", "h100-pcie", "h200", "b200",
)  # fmt: skip


def test_catalogue():
    """Slugs and names are unique and plain, every value is there and in its unit, and by_slug finds the device itself."""
    assert {device.slug for device in CATALOGUE} >= set(SLUGS)
    assert len({device.slug for device in CATALOGUE}) == len({device.name for device in CATALOGUE}) == len(CATALOGUE)  # fmt: skip
    for device in CATALOGUE:
        assert re.fullmatch(r"[a-z0-9-]+", device.slug)
        assert all(value > 0 for value in device[2:-2])
        assert (device.gpu, device.arch, device.own_capability) == (device.slug, None, 0)
        assert by_slug(device.slug) is device
    assert [device.slug for device in CATALOGUE if device.measured] == ["h200"]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.slug)
def test_values_of_a_card_agree(card):
    """Values are within what such GPUs have, rates are in order, and fp32_rate is lanes times SMs times clock within 5 %."""
    device = by_slug(card.slug)
    assert device.capability in {row.capability for row in GENERATIONS}  # not an older one's by fallback
    assert 40 <= device.sm_count <= 200
    assert 1e9 < card.boost_clock < 3e9
    assert 4 << 20 <= device.l2_bytes <= 128 << 20
    assert 2e11 < device.bandwidth < 1e13
    assert device.fp32_rate <= device.tf32_rate < device.half_rate < 3e15
    assert device.half_rate == pytest.approx(2 * device.tf32_rate, rel=0.02)
    assert device.fp32_rate == pytest.approx(
        2 * device.fp32_lanes_sm * device.sm_count * card.boost_clock, rel=0.05
    )
    assert device.clock == pytest.approx(card.boost_clock, rel=0.05)
    assert card.source


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.slug)
def test_a_card_keeps_the_slug_that_it_had_before_it_was_in_the_catalogue(card):
    """A database made on a card while it was keyed by its own name still answers for it."""
    assert card.slug == ("h100" if card.name == "NVIDIA H100 80GB HBM3" else slug_of(card.name))


def test_a_geforce_multiplies_with_float32_sums_at_half_rate():
    """GeForce cards do TF32 at the float32 rate and float16 at twice that; the same chips in other cards twice as fast."""
    for device in CATALOGUE:
        if "GeForce" in device.name:
            assert device.tf32_rate == device.fp32_rate
            assert device.half_rate == pytest.approx(2 * device.fp32_rate, rel=0.01)
    assert by_slug("rtx-6000-ada-generation").half_rate > 2 * by_slug("4090").half_rate


def test_generations():
    """The rows are in order, as `generation` reads them, and a block's shared memory is an SM's less the kilobyte of the system."""
    assert [row.capability for row in GENERATIONS] == sorted({row.capability for row in GENERATIONS})
    assert all(row.shared_block in (row.shared_sm, row.shared_sm - 1024) for row in GENERATIONS)
    assert not any(row.mma_sync and row.wgmma for row in GENERATIONS)


@pytest.mark.parametrize(
    ("capability", "row"), [(70, 75), (87, 86), (89, 89), (103, 100), (121, 120), (130, 120)]
)
def test_an_unknown_capability_has_the_row_of_the_newest_older_one(capability, row):
    """A GPU newer than the table gets facts that its ancestors had; one older than the table the oldest's."""
    assert generation(capability).capability == row


@pytest.mark.parametrize(
    ("slug", "blocks", "unit", "stages"),
    [
        ("3090", 16, "mma_sync", False), ("a100-pcie-40gb", 32, "mma_sync", False), ("4090", 24, "mma_sync", False),
        ("h200", 32, "wgmma", True), ("h200-sm89", 24, "mma_sync", False), ("b200", 32, None, True),
        ("5090", 24, "mma_sync", False),
    ],
)  # fmt: skip
def test_facts_of_the_code(slug, blocks, unit, stages):
    """Resident blocks, what multiplies and how many stages are in flight follow from the code that runs."""
    device = by_slug(slug)
    assert (device.blocks_sm, device.all_stages_in_flight) == (blocks, stages)
    assert (device.mma_sync, device.wgmma) == (unit == "mma_sync", unit == "wgmma")
    assert device.tma == (slug in ("h200", "b200", "5090"))


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug.startswith("a100")])
def test_clock_of_an_a100(slug):
    """Its SMs have 64 float32 lanes: 19.5 TFLOP/s are 1.41 GHz."""
    assert by_slug(slug).clock == pytest.approx(1.41e9, rel=0.001)


def test_the_clock_is_the_gpus_whatever_code_it_runs():
    """An H200 that runs sm_80 code still has 128 lanes an SM."""
    assert as_arch(H200, "sm80").clock == H200.clock


def test_4090():
    """The RTX 4090 has the figures of its datasheet and says that they were not measured."""
    assert by_slug("4090") == Device(
        "4090", "NVIDIA GeForce RTX 4090", 89, 128, 101376, 102400, 48, 65536, 75497472, 1.008e12, 8.26e13, 1.652e14,
        8.26e13, measured=False,
    )  # fmt: skip


def _reads_capability(node):
    return any(isinstance(part, ast.Attribute) and part.attr == "capability" for part in ast.walk(node))


def _has_number(node):
    return any(
        isinstance(part, ast.Constant) and type(part.value) in (int, float) and part.value > 10
        for part in ast.walk(node)
    )


def capability_tests(source):
    """Return the lines of a source that choose by a capability: a comparison with numbers, or a dict of them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            chosen = any(map(_reads_capability, sides)) and any(map(_has_number, sides))
        elif isinstance(node, ast.Subscript):
            chosen = _reads_capability(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            chosen = any(map(_reads_capability, node.args))
        elif isinstance(node, ast.Match):
            chosen = _reads_capability(node.subject)
        else:
            continue
        if chosen:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "device.capability == 90", "90 <= device.capability", "device.capability in (80, 86)", "device.capability // 10 >= 90",
        "{90: 1}.get(device.capability, 0)", "SLOTS[device.capability]", "match device.capability:\n  case 90: pass",
    ],
)  # fmt: skip
def test_a_choice_by_capability_is_seen(source):
    """The search below finds each way in which such a choice was or could be written."""
    assert capability_tests(source) == [1]
    assert not capability_tests("a.capability != b.capability or a.capability // 10 != b.capability // 10")


@pytest.mark.parametrize("folder", ["tunedb", "kernels"])
def test_only_the_catalogue_chooses_by_capability(folder):
    """Code asks a Device for a fact by its name: a new capability is a row in device/catalogue.py, not a hunt for comparisons."""
    sources = sorted((Path(__file__).parents[1] / folder).rglob("*.py"))
    assert len(sources) > 15
    found = {
        path.name: lines
        for path in sources
        if path.parent.name != "device" and (lines := capability_tests(path.read_text()))
    }
    assert not found
