"""The time model: honest bounds and the direction of every effect it claims."""

import types
from collections import namedtuple
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunedb.device import CATALOGUE, by_slug, floor_us
from tunedb.device.occupancy import residency
from tunedb.kernel import Signature, Work, config_to_json
from tunedb.problem import Problem
from tunedb.record import Measurement
from tunedb.tune.predict import formula as predict

DEVICES = st.sampled_from(CATALOGUE)
WORKS = st.builds(
    Work,
    flops=st.integers(1, 10**9),
    unit=st.sampled_from(["tensor", "fma"]),
    loaded=st.integers(1, 10**8),
    stored=st.integers(1, 10**7),
    k_steps=st.integers(1, 500),
)
GRIDS = st.tuples(st.integers(1, 10**5), st.integers(1, 16), st.integers(1, 16))
WARPS = st.sampled_from([1, 2, 4, 8, 16])
NEEDS = st.builds(
    Measurement,
    status=st.just("ok"),
    shared=st.integers(0, 101376),
    registers=st.one_of(st.none(), st.integers(16, 255)),
    spills=st.one_of(st.none(), st.integers(0, 256)),
)


def problem(**fields):
    base = Problem(
        "conv_transpose2d", "float32", "tf32", "channels_first", 16, 32, 64, 1, 1,
        *(1, 64, 128), *(1, 3, 3), *(1, 2, 2), *(0, 1, 1), *(0, 0, 0), *(1, 1, 1),
    )  # fmt: skip
    return base._replace(**fields)


def signature(grid=(1000, 1, 1), num_warps=4, num_stages=3, **constexprs):
    return Signature(None, {}, constexprs, (), (), grid, num_warps, num_stages)


def model(work, *, grid=(1000, 1, 1), num_warps=4, num_stages=3, needs=None, device=None):
    needs = needs or Measurement("ok", shared=32768, registers=96, spills=0)
    return predict.modelled_us(
        problem(), signature(grid, num_warps, num_stages), work, needs, device or by_slug("4090")
    )


@given(work=WORKS, grid=GRIDS, num_warps=WARPS, num_stages=st.integers(1, 6), needs=NEEDS, device=DEVICES)
def test_no_prediction_is_below_the_floor(work, grid, num_warps, num_stages, needs, device):
    """Whatever a candidate does, the model never promises more than the hardware has."""
    us = model(work, grid=grid, num_warps=num_warps, num_stages=num_stages, needs=needs, device=device)
    assert us >= floor_us(problem(), device) > 0


@given(work=WORKS, grid=GRIDS, num_warps=WARPS, needs=NEEDS, more=st.integers(1, 5000), device=DEVICES)
def test_more_programs_are_not_faster(work, grid, num_warps, needs, more, device):
    """The same work in more programs takes at least as long."""
    few = model(work, grid=grid, num_warps=num_warps, needs=needs, device=device)
    many = model(work, grid=(grid[0] + more, *grid[1:]), num_warps=num_warps, needs=needs, device=device)
    assert many >= few * (1 - 1e-9)


@settings(max_examples=200)
@given(
    work=WORKS,
    needs=NEEDS,
    device=DEVICES,
    field=st.sampled_from(["flops", "loaded", "stored", "k_steps"]),
    more=st.integers(1, 10**6),
)
def test_more_work_is_not_faster(work, needs, device, field, more):
    """More operations, bytes or steps a program never shorten it."""
    larger = work._replace(**{field: getattr(work, field) + more})
    assert model(larger, needs=needs, device=device) >= model(work, needs=needs, device=device) * (1 - 1e-9)


@given(work=WORKS, needs=NEEDS, device=DEVICES, more=st.integers(1, 4096))
def test_spills_are_not_faster(work, needs, device, more):
    """Local memory traffic only adds."""
    spilled = needs._replace(spills=(needs.spills or 0) + more)
    assert model(work, needs=spilled, device=device) >= model(work, needs=needs, device=device) * (1 - 1e-9)


def test_a_second_launch_is_not_for_nothing():
    """A pass that packs the input or adds parts takes an empty kernel's time besides its bytes."""
    work = Work(10**8, "tensor", 10**4, 10**3, 10)
    needs = Measurement("ok", shared=0, registers=64)
    twice = model(work._replace(launches=2), needs=needs)
    assert twice - model(work, needs=needs) == pytest.approx(1e6 * predict.LAUNCH_S)


def test_heavy_spills_are_slower():
    """A loop that spills 256 bytes a thread is visibly slower than one that does not."""
    work = Work(2 * 128 * 128 * 1152, "tensor", 200_000, 65536, 36)
    needs = Measurement("ok", shared=65536, registers=255, spills=0)
    assert model(work, needs=needs._replace(spills=256)) > 1.2 * model(work, needs=needs)


def test_stages_hide_latency_of_a_small_grid():
    """A lone program with a long loop waits less the more loads it has in flight."""
    work = Work(10**6, "tensor", 10**5, 10**4, 200)
    times = [
        model(work, grid=(1, 1, 1), num_stages=stages, needs=Measurement("ok", shared=0, registers=32))
        for stages in (2, 3, 5)
    ]
    floor = floor_us(problem(), by_slug("4090"))
    shares = [
        predict.LAUNCH_S * 1e6 + 2e6 * predict.MEMORY_S + 200 * 1e6 * predict.LOAD_S / flight
        for flight in (1, 2, 4)
    ]
    assert times == pytest.approx([max(floor, share) for share in shares])


# Microseconds of three candidates, computed with the code before capabilities and lanes became fields of Device.
PINNED = {
    "4090": (2488.1153007263924, 148.3136507936508, 6200.547215496369),
    "h200": (704.5960012417911, 96.56716417910448, 1395.3333333333337),
    "h100": (561.925137487945, 96.56716417910448, 1054.070549277902),
    "h200-sm89": (704.5960012417911, 80.80597014925372, 1395.3333333333337),
    "l40s": (1188.1565425338963, 173.03259259259258, 2795.442622950819),
}


@pytest.mark.parametrize("slug", PINNED)
def test_predicted_times_of_known_devices_stay(slug):
    """A product that spills, small programs that fill the blocks of an SM, and loads bound by memory take what they took."""
    tried = [
        (Work(2 * 128 * 128 * 1152, "tensor", 200_000, 65536, 36), 4, 3, Measurement("ok", shared=65536, registers=255, spills=64)),
        (Work(10**6, "fma", 10**4, 4096, 9), 1, 1, Measurement("ok", shared=0, registers=32, spills=0)),
        (Work(10**8, "tensor", 10**6, 10**5, 100), 8, 4, Measurement("ok", shared=32768, registers=96, spills=None)),
    ]  # fmt: skip
    found = [
        model(work, grid=(5000, 1, 1), num_warps=warps, num_stages=stages, needs=needs, device=by_slug(slug))
        for work, warps, stages, needs in tried
    ]
    assert found == pytest.approx(PINNED[slug], rel=1e-12)


def test_partial_waves_are_cheaper_than_full_ones():
    """A last wave with a tenth of the programs does not cost a whole one."""
    work = Work(10**8, "tensor", 10**4, 10**3, 10)
    needs = Measurement("ok", shared=0, registers=64)
    resident = residency(4, 0, 64, by_slug("4090"))
    wave = resident * 128
    one, little, two = (model(work, grid=(size, 1, 1), needs=needs) for size in (wave, wave + 128, 2 * wave))
    assert one < little < one + (two - one) / 2


def test_rereads_hit_l2_only_as_far_as_they_fit():
    """Reading an input three times costs memory traffic where a wave's reads exceed L2, and none where they fit."""
    work = Work(1, "fma", 10**6, 1, 1)
    wide = problem(n=256)
    device = by_slug("h100")
    inputs = predict._input_bytes(wide)
    programs = 3 * inputs // work.loaded
    cached = predict._memory_bytes(wide, work, programs, 1, device._replace(l2_bytes=1 << 40))
    thrashed = predict._memory_bytes(wide, work, programs, 1, device._replace(l2_bytes=0))
    assert cached == pytest.approx(inputs + programs, rel=0.01)
    assert thrashed == pytest.approx(3 * inputs + programs, rel=0.01)
    assert cached < predict._memory_bytes(wide, work, programs, 1, device) < thrashed


@pytest.mark.parametrize(
    ("fields", "constexprs", "expected"),
    [
        # 64 x 64 outputs over 32 x 9 / 4 = 72 useful products (73 with the border), in steps of 32
        ({}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32},
         Work(2 * 64 * 64 * 96, "tensor", 128 * 96 * 4, 64 * 64 * 4 * 2, 3)),
        ({"layout": "channels_last"}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32},
         Work(2 * 64 * 64 * 96, "tensor", 128 * 96 * 4, 64 * 64 * 4, 3)),
        ({}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32, "PHASE": "mask"},
         Work(2 * 64 * 64 * 288, "tensor", 128 * 288 * 4, 64 * 64 * 4, 9)),
        ({}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32, "DOT": "tf32x3"},
         Work(6 * 64 * 64 * 96, "tensor", 128 * 96 * 4, 64 * 64 * 4 * 2, 3)),
        ({"precision": "ieee"}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32},
         Work(2 * 64 * 64 * 96, "fma", 128 * 96 * 4, 64 * 64 * 4 * 2, 3)),
        ({"dtype": "float16", "precision": "ieee"}, {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32},
         Work(2 * 64 * 64 * 96, "tensor", 128 * 96 * 2, 64 * 64 * 2 * 2, 3)),
        ({}, {"BLOCK_T": 128}, Work(2 * 128 * 73, "fma", 129 * 73 * 4, 128 * 4 * 2, 73)),
    ],
)  # fmt: skip
def test_work_is_read_off_the_conventional_names(fields, constexprs, expected):
    """Tile, padding, residues and precision are read from the constexprs, or from CONFIG, of a kernel that says no more."""
    given_problem = problem(**fields)
    outputs = given_problem.n * given_problem.c_out
    for extent in given_problem.out_extents:
        outputs *= extent
    assert predict.work_from_tile(given_problem, signature((outputs, 1, 1), **constexprs)) == expected
    config = namedtuple("Config", constexprs)(**constexprs)  # noqa: PYI024 (its fields are the case's)
    assert predict.work_from_tile(given_problem, signature((outputs, 1, 1), CONFIG=config)) == expected


def test_a_streaming_program_is_given_its_share():
    """A persistent program with a small tile still does its even share of the outputs."""
    work = predict.work_from_tile(problem(), signature((128, 1, 1), BLOCK_W=64, BLOCK_N=64, BLOCK_K=32))
    assert 128 * work.stored >= problem().n * 64 * 4 * problem().out_extents[1] * problem().out_extents[2]


class Config(NamedTuple):
    BLOCK_W: int
    num_warps: int


def test_a_kernel_may_say_its_own_work(monkeypatch):
    """Where a kernel module defines `work`, that is believed over the names of its constexprs."""
    given_work = Work(10**8, "fma", 10**6, 10**5, 7)
    module = types.SimpleNamespace(
        Config=Config,
        signature=lambda _problem, config: signature((500, 1, 1), config.num_warps, BLOCK_W=config.BLOCK_W),
        work=lambda *_: given_work,
    )
    monkeypatch.setattr(predict, "load", {"fake": module}.__getitem__)
    needs = Measurement("ok", shared=0, registers=64)
    text = config_to_json(Config(64, 4))
    told = predict.predict_us(problem(), "fake", text, needs, by_slug("4090"))
    assert told == model(given_work, grid=(500, 1, 1), needs=needs)
    del module.work
    assert predict.predict_us(problem(), "fake", text, needs, by_slug("4090")) != told


def test_torchs_own_kernel_cannot_be_predicted(monkeypatch):
    """A kernel without a signature is refused, not given a made-up time."""
    module = types.SimpleNamespace(Config=Config, signature=lambda *_: None)
    monkeypatch.setattr(predict, "load", {"aten": module}.__getitem__)
    with pytest.raises(ValueError, match="'aten'"):
        predict.predict_us(
            problem(), "aten", config_to_json(Config(1, 1)), Measurement("ok"), by_slug("4090")
        )
