"""What search, lookup and launch may rely on in every kernel module, for every layer of both suites."""

import inspect
import itertools
import math
import random
import re

import pytest

pytest.importorskip("triton")
import triton
from tunedb.kernels.shared.limits import shared_flaw

from tunedb.device import CATALOGUE, by_slug
from tunedb.kernel import Work, config_from_json, config_to_json, load, names
from tunedb.launch import AXIS_LIMIT, POINTERS
from tunedb.problem import OPS
from tunedb.suite import load_suite, problems

KERNELS = [name for name in names() if name != "aten"]
LAYERS = {suite: load_suite(suite) for suite in ("kernelbench", "models")}
EVERY = [
    (given, device)
    for entries in LAYERS.values()
    for given in [
        *problems(entries, ("float32", "float16", "bfloat16"), ("channels_first", "channels_last")),
        *problems(entries, ("float32",), ("channels_first",), precision="ieee"),
    ]
    for device in CATALOGUE
]
SAMPLE = random.Random(0).sample(EVERY, 1000)
KB = {entry.id: entry.problem("float32", "tf32", "channels_first") for entry in LAYERS["kernelbench"]}


def applicable(name, sample=SAMPLE):
    module = load(name)
    return module, [(given, device) for given, device in sample if module.space(given, device)]


def drawn(module, given, device, seed=0, draws=400):
    """A random valid config and how many draws it took."""
    rng, dims = random.Random(seed), module.space(given, device)
    for count in range(1, draws + 1):
        config = module.Config(**{field: rng.choice(dims[field]) for field in module.Config._fields})
        if not module.valid(given, config, device):
            return config, count
    return None, draws


@pytest.mark.parametrize(
    ("slug", "units"),
    [
        ("a100-sxm4-80gb", ("mma",)), ("a10g", ("mma",)), ("4090", ("mma",)), ("h200-sm89", ("mma",)), ("h100-pcie", ("wgmma",)),
        ("b200", None), ("5090", None),
    ],
)  # fmt: skip
def test_shared_rows_refuses_a_gpu_whose_product_it_does_not_have(slug, units):
    """It multiplies with wgmma or with mma.sync of compute capability 8, and applies to nothing on Blackwell."""
    assert load("shared_rows").space(KB["kb57"], by_slug(slug)).get("UNIT") == units


def test_a_stage_less_fits_where_not_all_are_in_flight():
    """Stages that fill a block exactly on a 5090 fit there, and on a GPU with as much memory that holds them all they do not."""
    elements = by_slug("5090").shared_block // 4 // 3
    assert not shared_flaw(KB["kb57"], by_slug("5090"), 4, elements)
    assert shared_flaw(KB["kb57"], by_slug("h200")._replace(shared_block=101376), 4, elements)


def test_names():
    """The kernels are installed."""
    assert set(names()) >= {"aten", "depthwise", "direct", "implicit_gemm", "kn2row", "packed"}


@pytest.mark.parametrize("name", names())
def test_protocol(name):
    """A module has every part of the protocol, and its config goes through JSON unchanged."""
    module = load(name)
    assert set(module.OPS) <= set(OPS)
    assert len(set(module.OPS)) == len(module.OPS)
    assert issubclass(module.Config, tuple)
    assert set(module.Config.__annotations__.values()) <= {int, str}
    layer = {"depthwise": "kb83", "packed": "kb55", "shared_rows": "kb55"}.get(name, "kb79")
    config = module.default(KB[layer], by_slug("h200"))
    assert config_from_json(module, config_to_json(config)) == config


@pytest.mark.parametrize("name", KERNELS)
def test_default(name):
    """A default is a valid point of the space, or None where the kernel does not apply."""
    module = load(name)
    applied = 0
    for given, device in SAMPLE:
        dims, config = module.space(given, device), module.default(given, device)
        assert (config is None) == (not dims)
        if config is not None:
            applied += 1
            assert not module.valid(given, config, device), (given, config)
            for field, value in config._asdict().items():
                assert type(value) is module.Config.__annotations__[field]
    assert applied > 20


@pytest.mark.parametrize("name", KERNELS)
def test_space(name):
    """A space names exactly the fields of Config, each with different choices of the field's own type."""
    module, sample = applicable(name)
    for given, device in sample:
        dims = module.space(given, device)
        assert set(dims) == set(module.Config._fields), given
        for field, choices in dims.items():
            assert choices, (given, field)
            assert len(set(choices)) == len(choices)
            assert {type(choice) for choice in choices} == {module.Config.__annotations__[field]}


@pytest.mark.parametrize("name", KERNELS)
def test_valid_configs_are_found(name):
    """No problem has a space in which a valid config is hard to find: 40 random draws hold one."""
    module, sample = applicable(name)
    for given, device in sample:
        config, _ = drawn(module, given, device, draws=40)
        assert config is not None, (given, device.slug)


@pytest.mark.parametrize("name", KERNELS)
def test_valid_is_for_any_values(name):
    """Whatever numbers and words a config holds, `valid` gives a sentence or an empty string, and raises nothing."""
    module, sample = applicable(name)
    rng = random.Random(1)
    odd = {
        int: (-(2**63), -1, 0, 1, 2, 3, 5, 8, 96, 4096, 2**40),
        str: ("", "rows", "m", "slow", "\x00", "x" * 999),
    }
    refused = 0
    for given, device in sample:
        dims = module.space(given, device)
        values = {field: rng.choice((*odd[kind], *dims[field])) for field, kind in module.Config.__annotations__.items()}  # fmt: skip
        why = module.valid(given, module.Config(**values), device)
        assert isinstance(why, str)
        refused += bool(why)
    assert refused > len(sample) // 2


@pytest.mark.parametrize("name", KERNELS)
def test_signature(name):
    """A signature names each argument once, constants exactly where their type says so, and a grid that can be launched."""
    module, sample = applicable(name)
    for seed, (given, device) in enumerate(sample):
        for config in (module.default(given, device), drawn(module, given, device, seed)[0]):
            found = module.signature(given, config)
            assert list(found.types) == found.fn.arg_names
            assert set(found.types.values()) <= {"constexpr", "i32", "*fp32", "*fp16", "*bf16"}
            constant = {argument for argument, kind in found.types.items() if kind == "constexpr"}
            assert set(found.constexprs) == constant
            declared = {
                argument for argument, parameter in inspect.signature(found.fn.fn).parameters.items()
                if parameter.annotation is triton.language.constexpr
            }  # fmt: skip
            assert declared <= constant
            pointers = {argument for argument, kind in found.types.items() if kind.startswith("*")}
            assert pointers == set(POINTERS if given.bias else POINTERS[:2] + POINTERS[3:])
            assert len(found.scalars) == sum(kind == "i32" for kind in found.types.values())
            assert all(0 <= value < 2**31 for value in found.scalars)
            assert set(found.aligned) <= set(found.types) - constant
            assert len(found.grid) == 3
            assert all(type(size) is int and size >= 1 for size in found.grid)
            assert found.grid[0] < 2**31
            assert max(found.grid[1:]) <= AXIS_LIMIT
            assert found.num_warps in (1, 2, 4, 8, 16)
            assert 1 <= found.num_stages <= 8


def large(found):
    """Whether a signature's offsets have 64 bits."""
    return found.constexprs["PROBLEM"].large if "PROBLEM" in found.constexprs else found.constexprs["LARGE"]


@pytest.mark.parametrize("name", KERNELS)
def test_batch_and_extents_are_run_time_arguments(name):
    """Problems that differ in batch and extents alone share their constants, so that they share a compilation."""
    module, sample = applicable(name)
    compared = 0
    for given, device in sample:
        config = module.default(given, device)
        longer = given._replace(n=given.n + 16, in_w=given.in_w + 16 * given.stride_w)
        if config is None or module.valid(longer, config, device):
            continue
        if name == "direct" and module.launch.folded(given) != given:
            continue  # rows that are made one have their length in the code
        one, other = module.signature(given, config), module.signature(longer, config)
        if large(one) == large(other):
            compared += 1
            assert one.constexprs == other.constexprs
            assert one.types == other.types
            assert one.scalars != other.scalars
    assert compared > 20


@pytest.mark.parametrize("name", [name for name in KERNELS if hasattr(load(name), "work")])
def test_work(name):
    """The work of a program is positive, done by a unit that exists, and no less than the useful work of the launch."""
    module, sample = applicable(name)
    for seed, (given, device) in enumerate(sample):
        config = drawn(module, given, device, seed)[0]
        found = module.work(given, config)
        assert isinstance(found, Work)
        assert min(found.flops, found.loaded, found.stored, found.k_steps) > 0, (given, config, found)
        assert found.unit in {"tensor", "fma"}
        grid = module.signature(given, config).grid
        # A strided transposed output meets its kernel's taps over its strides, on the average of its residues.
        taps = math.prod(given.kernel) / (math.prod(given.stride) if given.transposed else 1)
        useful = 2 * math.prod(given.output_shape) * (given.c_in // given.groups) * taps
        assert found.flops * math.prod(grid) >= 0.95 * useful, (given, config, found)


# Strategy, blocks and grid of the four kernels that tunedb replaces (design: kernels.md section 1), as far as
# each names them. Masks where residues would do never won and are not searched: the first has residues instead, the third
# is valid still.
REPLACED = {
    "conv1d_transpose": ("kb79", "direct", {"COLS": 1, "BLOCK_N": 1, "num_warps": 4}),
    "conv1d": ("kb76s", "implicit_gemm", {"ORDER": "m", "num_warps": 4, "num_stages": 2}),
    "conv_transpose2d": ("kb81", "implicit_gemm", {"LOOP": "flat", "PHASE": "mask"}),
    "conv_transpose2d_full": ("kb57", "implicit_gemm", {"LOOP": "taps"}),
}


@pytest.mark.parametrize("replaced", REPLACED)
def test_replaced_kernels_are_points_of_the_space(replaced):
    """Each of the four kernels is a valid point of the space for its problem on the 4090."""
    layer, name, fixed = REPLACED[replaced]
    given, device, module = KB[layer], by_slug("4090"), load(name)
    dims = module.space(given, device)
    for field, value in fixed.items():
        assert value in dims[field] or value == "mask"
    free = [field for field in dims if field not in fixed]
    found = []
    for values in itertools.product(*(dims[field] for field in free)):
        config = module.Config(**fixed, **dict(zip(free, values, strict=True)))
        if name == "implicit_gemm":
            tile = (config.BLOCK_R * config.BLOCK_W, config.BLOCK_N, config.BLOCK_K)
            if tile != (64, 64, 32):
                continue
        if not module.valid(given, config, device):
            found.append(config)
    assert found


def test_replaced_grid():
    """The grid of the replaced conv1d is as it was: (M / 64, C_out / 64)."""
    device, gemm = by_slug("4090"), load("implicit_gemm")
    config = gemm.default(KB["kb76s"], device)._replace(
        PHASE="slow", ORDER="m", BLOCK_R=1, BLOCK_W=64, BLOCK_N=64, BLOCK_K=32
    )
    assert not gemm.valid(KB["kb76s"], config, device)
    tiles = 64 * -(-KB["kb76s"].out_extents[2] // 64)
    assert gemm.signature(KB["kb76s"], config).grid == (tiles, 2, 1)


@pytest.mark.parametrize("name", KERNELS)
def test_constants_are_written_in_caps(name):
    """A kernel's compile-time arguments are in CAPS and its run-time arguments are not."""
    module, sample = applicable(name)
    fn = module.signature(sample[0][0], module.default(*sample[0])).fn
    for argument, parameter in inspect.signature(fn.fn).parameters.items():
        constant = parameter.annotation is triton.language.constexpr
        assert bool(re.fullmatch(r"[A-Z][A-Z0-9_]*", argument)) == constant
