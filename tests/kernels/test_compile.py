"""Every kernel module compiles for GPUs that are not there, within what those GPUs have."""

import itertools
import json
import os
import random
import re

import pytest

pytest.importorskip("triton")

from awkward import problem

from tunedb.compile import compile_candidate, compiled
from tunedb.device import by_slug
from tunedb.kernel import config_from_json, config_to_json, load, names
from tunedb.suite import load_suite
from tunedb.tune.space import Space

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="compiles, so Triton's interpreter must be off"
)

LAYERS = {entry.id: entry for entry in load_suite("kernelbench")}
FIRST, LAST = "channels_first", "channels_last"
# Forward with few channels, 3-D, dense, grouped, strided transposed in both layouts, depthwise.
CASES = {
    "kb50": ("float16", LAST),
    "kb54": ("float32", FIRST),
    "kb57": ("float32", FIRST),
    "kb75": ("float16", FIRST),
    "kb77": ("float16", LAST),
    "kb79": ("float16", FIRST),
    "kb81": ("float32", LAST),
    "kb82": ("float32", FIRST),
    "kb85": ("float16", LAST),
}
KERNELS = [name for name in names() if name != "aten"]
DEVICES = {89: by_slug("4090"), 90: by_slug("h200")}
# A 16-bit product, difference or shift is what LLVM makes of a division whose dividend it knows to be small.
SHORT_DIVISION = re.compile(r"\b(?:mul|mad|sub|shr|div|rem)\.(?:\w+\.)?[su]16\b")


def case(layer):
    dtype, layout = CASES[layer]
    return LAYERS[layer].problem(dtype, "tf32" if dtype == "float32" else "ieee", layout)


def compiled_as(name, given, config):
    """Return a problem that compiles the same code in less time.

    shared_rows with resident weights unrolls all steps: ptxas takes 12 s for the 11 rows of taps of kb50. Three rows
    have the same paths, an odd number of steps too, which ends in the stage that it began in.
    """
    if name == "shared_rows" and json.loads(config)["RESIDENT"] and given.k_h > 3 and given.k_h % 2:
        return given._replace(k_h=3)
    return given


def enrolled():
    for name, layer, capability in itertools.product(KERNELS, CASES, DEVICES):
        if load(name).space(case(layer), DEVICES[capability]):
            yield pytest.param(name, case(layer), capability, id=f"{name}-{layer}-{capability}")


@pytest.mark.parametrize(("name", "given", "capability"), list(enrolled()))
def test_compiles(name, given, capability):
    """The default and a random valid config compile, and what they take is within the device's limits."""
    device, module = DEVICES[capability], load(name)
    space = Space(given, device, {name: module})
    rng = random.Random(f"{name} {given}")
    drawn = [space.draw(rng, set())]
    for config in [config_to_json(module.default(given, device)), *(choice.config for choice in drawn)]:
        compiles = compiled_as(name, given, config)
        assert not module.valid(compiles, config_from_json(module, config), device)
        found = compile_candidate(name, compiles, config, device)
        if capability == 90 and "in pairs" in found.detail:
            continue  # ptxas would spoil it (test_assembly.py): a strided transposed problem, such as kb81 with Triton 3.7
        assert found.status in {"ok", "spilled"}, (config, found.detail)
        assert 0 <= found.shared <= device.shared_block
        assert found.registers is None or 0 < found.registers <= 255


@pytest.mark.parametrize("slug", ["a100-sxm4-40gb", "3090", "4090", "h200", "b200", "5090"])
def test_facts_of_a_generation_are_what_triton_compiles(slug):
    """mma_sync and wgmma name the instruction of tl.dot; with all_stages_in_flight it takes a stage more than on a 4090."""
    module, given, device = (
        load("implicit_gemm"),
        case("kb57")._replace(dtype="float16", precision="ieee"),
        by_slug(slug),
    )
    configs = [module.default(given, device)._replace(num_stages=stages) for stages in (2, 3)]
    two, three = (compiled(module.signature(given, config), device) for config in configs)
    ada = compiled(module.signature(given, configs[0]), by_slug("4090")).metadata.shared
    a_stage = three.metadata.shared - two.metadata.shared
    assert a_stage > 0
    assert (two.metadata.shared - ada >= a_stage) == device.all_stages_in_flight
    assert ("mma.sync" in two.asm["ptx"], "wgmma" in two.asm["ptx"]) == (device.mma_sync, device.wgmma)


@pytest.mark.parametrize("name", KERNELS)
def test_is_compiled(name):
    """No kernel escapes: each has a case of forward and of transposed operations, but for depthwise."""
    applies = [case(layer) for layer in CASES if load(name).space(case(layer), DEVICES[90])]
    assert len(applies) >= 2
    assert any(given.transposed for given in applies) or name == "depthwise"


@pytest.mark.parametrize("capability", [89, 90])
@pytest.mark.parametrize(("layer", "swap"), [("kb50", 0), ("kb54", 1)])
def test_flat_loop_divides_in_32_bits(layer, swap, capability):
    """With three input channels the flat loop has no 16-bit arithmetic that ptxas would get wrong (kernels/shared/ptx.py)."""
    module, device = load("implicit_gemm"), DEVICES[capability]
    given = LAYERS[layer].problem("float32", "tf32", FIRST)
    # One stage: with more, operands that go from registers into wgmma are overwritten, and the code is refused.
    config = module.default(given, device)._replace(LOOP="flat", SWAP=swap, num_stages=1)
    assert not module.valid(given, config, device)
    ptx = compiled(module.signature(given, config), device).asm["ptx"]
    assert ".entry" in ptx
    assert not SHORT_DIVISION.search(ptx)


@pytest.mark.parametrize("capability", [89, 90])
def test_multiplier_divides_in_32_bits(capability):
    """Depthwise with three outputs a channel divides its channels in 32 bits."""
    module, device = load("depthwise"), DEVICES[capability]
    given = problem("conv2d", c=(32, 96), extents=64, k=3, groups=32, layout=LAST)
    ptx = compiled(module.signature(given, module.default(given, device)), device).asm["ptx"]
    assert not SHORT_DIVISION.search(ptx)


@pytest.mark.parametrize("changed", [{}, {"LINES": 2, "TILES": 4}, {"HIGH": 3}])
def test_steps_divide_in_32_bits(changed):
    """Steps of three chunks of channels by three depth taps are told apart in 32 bits."""
    module, device = load("shared_rows"), DEVICES[90]
    given = problem("conv3d", c=(48, 40), extents=(9, 9, 40), k=3, p=1, layout=FIRST, dtype="float16", precision="ieee")  # fmt: skip
    config = module.default(given, device)._replace(BLOCK_K=16, BLOCK_N=128, **changed)
    assert not module.valid(given, config, device)
    ptx = compiled(module.signature(given, config), device).asm["ptx"]
    assert "wgmma" in ptx
    assert not SHORT_DIVISION.search(ptx)


def test_short_division_is_recognised():
    """The pattern knows the instructions in question and no others."""
    assert SHORT_DIVISION.search("mul.lo.s16 \t%rs1, %rs2, 43;")
    assert SHORT_DIVISION.search("shr.u16 %rs1, %rs2, 9;")
    assert not SHORT_DIVISION.search("mov.u16 %rs1, %rs2; mul.lo.s32 %r1, %r2, 3; cvt.u16.u32 %rs1, %r1;")
