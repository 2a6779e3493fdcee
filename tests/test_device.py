import ast
import re
import types
from pathlib import Path

import pytest
import torch
from awkward import problem

from tunedb import device as module
from tunedb.device import CATALOGUE, Device, as_arch, by_slug, current, floor_us, gpu_of, slug_of
from tunedb.device_catalogue import CARDS, GENERATIONS, generation
from tunedb.errors import DeviceError
from tunedb.suite import load_suite

H200 = by_slug("h200")
LAYERS = {entry.id: entry for entry in load_suite("kernelbench")}


@pytest.fixture(autouse=True)
def forget():
    """The GPU at hand is remembered for the life of a process."""
    current.cache_clear()
    yield
    current.cache_clear()


def pretend(monkeypatch, **facts):
    """Let torch report a GPU."""
    known = {
        "name": "NVIDIA GeForce RTX 9999 Ti", "major": 12, "minor": 0, "multi_processor_count": 10,
        "shared_memory_per_block_optin": 101376, "shared_memory_per_multiprocessor": 102400,
        "max_threads_per_multi_processor": 1536, "regs_per_multiprocessor": 65536, "L2_cache_size": 1 << 20,
        "clock_rate": 2_000_000, "memory_clock_rate": 10_000_000, "memory_bus_width": 256,
    }  # fmt: skip
    properties = types.SimpleNamespace(**{**known, **facts})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


# 18 cards of six generations.
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
    """Code asks a Device for a fact by its name: a new capability is a row in device_catalogue, not a hunt for comparisons."""
    sources = sorted((Path(__file__).parents[1] / folder).rglob("*.py"))
    assert len(sources) > 15
    found = {
        path.name: lines
        for path in sources
        if path.name not in ("device.py", "device_catalogue.py")
        and (lines := capability_tests(path.read_text()))
    }
    assert not found


def test_h200():
    """The H200 has the ceilings that were measured on it."""
    assert (H200.capability, H200.sm_count, H200.shared_block, H200.measured) == (90, 132, 232448, True)
    assert (H200.bandwidth, H200.tf32_rate, H200.half_rate) == (4.3e12, 3.6e14, 7.2e14)


# Milliseconds on the H200 for float32 with TF32 and for float16: the published table of floors.
FLOORS = {
    "kb50": (0.150, 0.075), "kb54": (0.239, 0.119), "kb55": (1.708, 0.854), "kb56": (1.618, 0.809),
    "kb57": (1.718, 0.859), "kb58": (0.157, 0.078), "kb63": (2.240, 1.120), "kb64": (1.145, 0.573),
    "kb72": (0.030, 0.015), "kb75": (0.203, 0.102), "kb76": (3.329, 1.665), "kb79": (0.312, 0.156),
    "kb81": (0.197, 0.099), "kb82": (0.497, 0.249), "kb85": (0.245, 0.122), "kb87": (2.996, 1.498),
}  # fmt: skip


@pytest.mark.parametrize("layer", FLOORS)
def test_floor(layer):
    """The floor is the larger of bytes over bandwidth and operations over rate, to three digits of a millisecond."""
    entry, (single, half) = LAYERS[layer], FLOORS[layer]
    assert floor_us(entry.problem("float32", "tf32"), H200) / 1000 == pytest.approx(single, abs=6e-4)
    assert floor_us(entry.problem("float16", "ieee"), H200) / 1000 == pytest.approx(half, abs=6e-4)
    assert floor_us(entry.problem("float16"), H200) == floor_us(entry.problem("bfloat16"), H200)


def test_floor_of_ieee_uses_cuda_cores():
    """IEEE float32 is bound by the rate without tensor cores: kb57 is 618.5 G operations at 67 T a second."""
    given = LAYERS["kb57"].problem("float32", "ieee")
    assert given.flops == 2 * 8 * 1024 * 1024 * 64 * 64 * 9
    assert floor_us(given, H200) == pytest.approx(1e6 * given.flops / 67e12)


def test_floor_by_hand():
    """On the 4090 kb81 is bound by bandwidth: 846 MB at 1008 GB/s are 0.84 ms."""
    given = LAYERS["kb81"].problem("float32", "tf32")
    out_h, out_w = 63 * 5 - 2 + 2 * 2 + 1, 127 * 5 - 2 + 2 * 2 + 1
    size = 4 * (16 * 32 * 64 * 128 + 32 * 64 * 9 + 16 * 64 * out_h * out_w)
    assert floor_us(given, by_slug("4090")) == pytest.approx(1e6 * size / 1008e9)
    assert floor_us(problem("conv1d", n=0), H200) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a machine without a GPU")
@pytest.mark.parametrize("slug", ["5090-ti", "", "H200", "4090; DROP TABLE"])
def test_unknown_slug(slug):
    """An unknown device is refused with the known ones."""
    known = ", ".join(device.slug for device in CATALOGUE)
    with pytest.raises(DeviceError, match=f"must be one of {known} or the GPU at hand") as raised:
        by_slug(slug)
    assert repr(slug) in str(raised.value)


def test_older_code_on_a_newer_gpu():
    """It is a device of its own: the same GPU but for name, capability and the older generation's shared memory."""
    found = as_arch(H200, "sm89")
    assert found._asdict().items() - H200._asdict().items() == {
        ("slug", "h200-sm89"), ("name", "NVIDIA H200 (sm_89 code)"), ("capability", 89), ("shared_block", 101376),
        ("own_capability", 90),
    }  # fmt: skip
    assert (found.gpu, found.arch) == ("h200", "sm89")
    assert by_slug("h200-sm89") == found
    assert as_arch(by_slug("4090"), "sm80").shared_block == 101376  # of the two limits the smaller
    given = LAYERS["kb57"].problem("float32", "tf32")
    assert floor_us(given, found) == floor_us(given, H200)


@pytest.mark.parametrize(
    ("slug", "arch", "allowed"),
    [
        ("h200", "sm90", "sm80, sm86, sm89"),
        ("h200", "sm_89", "sm80, sm86, sm89"),
        ("4090", "sm89", "sm80, sm86"),
        ("h200-sm89", "sm80", "none"),
    ],
)
def test_no_older_generation(slug, arch, allowed):
    """The GPU's own generation, an unknown one and a second one are refused with those that are allowed."""
    with pytest.raises(DeviceError, match=f"allowed here: {allowed}.*but got '{arch}'"):
        as_arch(by_slug(slug), arch)


@pytest.mark.parametrize(
    ("slug", "gpu"), [("h200-sm89", "h200"), ("h200", "h200"), ("h200-nvl", "h200-nvl"), ("sm89", "sm89")]
)
def test_gpu_of(slug, gpu):
    """A slug names its GPU, with or without the generation of its code."""
    assert gpu_of(slug) == gpu


def test_current_is_found_by_its_full_name(monkeypatch):
    """The GPU at hand is the catalogue's by the driver's name, not by a part of it."""
    pretend(monkeypatch, name="NVIDIA H200")
    assert current(0) is H200
    current.cache_clear()
    pretend(monkeypatch, name="NVIDIA H200 NVL")
    assert current(0).slug == "h200-nvl"


def test_h100_pcie_and_sxm_are_two_devices(monkeypatch):
    """Each is found by its own name, and neither answers for a third that begins alike."""
    found = []
    for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"):
        pretend(monkeypatch, name=name, major=9)
        current.cache_clear()
        found.append(current(0))
    assert [device.slug for device in found] == ["h100", "h100-pcie", "h100-nvl"]
    assert [device.sm_count for device in found[:2]] == [132, 114]
    assert found[1].bandwidth < found[0].bandwidth


def test_unknown_gpu_is_described(monkeypatch):
    """A GPU outside the catalogue gets a slug of its name, the driver's facts and rates guessed from its clocks."""
    pretend(monkeypatch)
    found = current(0)
    assert found[:9] == ("9999-ti", "NVIDIA GeForce RTX 9999 Ti", 120, 10, 101376, 102400, 48, 65536, 1 << 20)
    assert found.fp32_rate == 10 * 128 * 2 * 2e9
    assert found.bandwidth == 2 * 10e9 * 256 / 8
    assert not found.measured
    assert by_slug("9999-ti") == found
    assert (found.blocks_sm, found.mma_sync, found.wgmma, found.clock) == (24, True, False, 2e9)


def test_unknown_gpu_has_the_lanes_of_its_generation(monkeypatch):
    """An A30 is no card of the catalogue: its rate is guessed from 64 lanes an SM, and its clock is what the driver says."""
    pretend(monkeypatch, name="NVIDIA A30", major=8, minor=0, multi_processor_count=56, clock_rate=1_440_000)
    found = current(0)
    assert (found.fp32_rate, found.clock) == (56 * 64 * 2 * 1.44e9, 1.44e9)
    assert (found.slug, found.blocks_sm, found.mma_sync) == ("a30", 32, True)


def test_older_torch_says_less(monkeypatch):
    """Where torch does not report clocks and limits, they are guessed and nothing fails."""
    pretend(monkeypatch)
    properties = torch.cuda.get_device_properties(0)
    for name in ("clock_rate", "memory_clock_rate", "memory_bus_width", "shared_memory_per_block_optin", "regs_per_multiprocessor"):  # fmt: skip
        delattr(properties, name)
    found = current(0)
    assert found.shared_block == 49152
    assert found.registers_sm == 65536
    assert min(found.bandwidth, found.fp32_rate) > 0


def test_no_gpu_of_another_vendor(monkeypatch):
    """A GPU that torch drives without CUDA is not offered as a device."""
    pretend(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert module._gpu_here() is None
