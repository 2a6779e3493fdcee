"""Compilation without a GPU: what a candidate takes, and what a failure is called."""

import os
import re
import subprocess
import sys
import types
from typing import NamedTuple

import pytest

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402

from tunedb import compile as compile_  # noqa: E402
from tunedb.device import by_slug  # noqa: E402
from tunedb.device.occupancy import residency  # noqa: E402
from tunedb.kernel import Signature, config_to_json  # noqa: E402
from tunedb.problem import Problem  # noqa: E402
from tunedb.record import Measurement  # noqa: E402

PROBLEM = Problem(
    "conv1d",
    "float32",
    "ieee",
    "channels_first",
    1,
    1,
    1,
    1,
    0,
    *(1, 1, 64),
    *(1, 1, 1),
    *(1, 1, 1),
    *(0,) * 3,
    *(0,) * 3,
    *(1,) * 3,
)


@triton.jit
def double(x_ptr, y_ptr, n, BLOCK: tl.constexpr, DIM: tl.constexpr):
    tl.static_assert(DIM != 13, "DIM must not be 13")
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)
    if DIM > 1:  # a product in shared memory
        k = tl.arange(0, DIM)
        a = tl.load(x_ptr + k[:, None] * DIM + k[None, :])
        b = tl.load(y_ptr + k[:, None] * DIM + k[None, :])
        x += tl.sum(tl.dot(a, b, input_precision="tf32"))
    tl.store(y_ptr + offs, x * 2, mask=offs < n)


class Config(NamedTuple):
    BLOCK: int
    DIM: int
    WARPS: int


def signature(config, aligned=("x_ptr", "y_ptr")):
    return Signature(
        double,
        {"x_ptr": "*fp32", "y_ptr": "*fp32", "n": "i32", "BLOCK": "constexpr", "DIM": "constexpr"},
        {"BLOCK": config.BLOCK, "DIM": config.DIM},
        aligned,
        (64,),
        (1, 1, 1),
        config.WARPS,
        2,
    )


@pytest.fixture
def fake(monkeypatch):
    """Install a kernel `fake`, whose validity and signature a test may replace."""
    module = types.SimpleNamespace(
        Config=Config,
        valid=lambda _problem, config, _device: "BLOCK must not be 7" if config.BLOCK == 7 else "",
        signature=lambda _problem, config: signature(config),
    )
    monkeypatch.setattr(compile_, "load", lambda *_: module)
    return module


def candidate(slug="h200", **fields):
    config = Config(128, 1, 4)._replace(**fields)
    return compile_.compile_candidate("fake", PROBLEM, config_to_json(config), by_slug(slug))


@pytest.mark.parametrize("slug", ["4090", "h200"])
def test_a_candidate_compiles_for_a_gpu_that_is_absent(fake, slug):
    """A valid config compiles for sm_89 and sm_90 with no GPU, and its registers are known."""
    measurement = candidate(slug)
    assert measurement.status == "ok", measurement.detail
    assert measurement.time_us is None
    assert 8 <= measurement.registers <= 255
    assert measurement.spills == 0
    assert measurement.shared == 0


def test_older_code_is_generated_and_assembled_for_the_gpu():
    """Ada's code for an H200 has mma.sync and no wgmma, as for a 4090, but its machine code is of sm_90."""
    own, ada, older = (
        compile_.compiled(signature(Config(128, 64, 4)), by_slug(slug))
        for slug in ("h200", "4090", "h200-sm89")
    )
    assert [one.metadata.target.arch for one in (own, ada, older)] == [90, 89, 90]
    for one, instruction in ((own, "wgmma.mma_async"), (ada, "mma.sync"), (older, "mma.sync")):
        assert set(re.findall(r"wgmma\.mma_async|mma\.sync", one.asm["ptx"])) == {instruction}
    assert ".target sm_90a" in older.asm["ptx"]
    assert machine(older) == machine(own) != machine(ada)


def machine(kernel):
    """The version and architecture of a cubin: the last field but one of an ELF header of 64 bits, its flags."""
    return kernel.asm["cubin"][:4], kernel.asm["cubin"][48:52]


def test_older_code_keeps_to_the_older_shared_memory(fake):
    """On an H200 that runs Ada's code a tile beyond 99 KB is dropped, and the launch finds the others compiled."""
    measurement = candidate("h200-sm89", DIM=128, WARPS=8)
    assert measurement.status == "out-of-resources"
    assert "h200-sm89 gives a block 101376" in measurement.detail
    assert candidate("h200-sm89", DIM=64).shared == candidate("4090", DIM=64).shared


def test_older_code_is_a_hit_for_the_launch(fake, monkeypatch):
    """What a pool compiled for h200-sm89 is what an H200 loads when it is asked for sm89."""
    from tunedb import device, launch

    assert candidate("h200-sm89", DIM=32).status == "ok"
    hits = []
    monkeypatch.setattr(triton.knobs.compilation, "listener", lambda **facts: hits.append(facts["cache_hit"]))
    monkeypatch.setattr(device, "current", lambda _: by_slug("h200"))
    monkeypatch.setattr(launch, "_handles", {})
    loaded = launch._handle(signature(Config(128, 32, 4)), 0, "sm89")
    assert hits == [True]
    assert "mma.sync" in loaded.asm["ptx"]
    # A 4090 holds 12 blocks of 4 warps, an H200 16 of them: each asks for so much shared memory that it holds 12 too.
    used = candidate("h200-sm89", DIM=32).shared
    assert loaded.metadata.shared == loaded.packed_metadata[2] > used
    assert by_slug("h200").shared_sm // (loaded.metadata.shared + 1024) == residency(
        4, used, None, by_slug("4090")
    )


def test_what_a_pool_compiled_is_a_hit_for_the_process_that_launches(tmp_path, monkeypatch):
    """Another process finds in the on-disk cache what a pool process has compiled ahead."""
    code = (
        "import importlib.util as u\n"
        f"spec = u.spec_from_file_location('pool', {__file__!r})\n"
        "module = u.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.compile_.compiled(module.signature(module.Config(256, 1, 4)), module.by_slug('4090'))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    )
    hits = []
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(triton.knobs.compilation, "listener", lambda **facts: hits.append(facts["cache_hit"]))
    compile_.compiled(signature(Config(256, 1, 4)), by_slug("4090"))
    compile_.compiled(signature(Config(256, 1, 8)), by_slug("4090"))
    assert hits == [True, False]


def test_alignment_is_part_of_what_is_compiled():
    """Only arguments named in `aligned` are taken to be divisible by 16."""
    aligned = compile_.compiled(signature(Config(512, 1, 4)), by_slug("4090"))
    free = compile_.compiled(signature(Config(512, 1, 4), aligned=()), by_slug("4090"))
    assert "tt.divisibility" in aligned.asm["ttir"]
    assert "tt.divisibility" not in free.asm["ttir"]


def test_an_invalid_config_is_not_compiled(fake):
    """What `valid` refuses is reported with its reason and never reaches Triton."""
    fake.signature = lambda *_: pytest.fail("compiled")
    assert candidate(BLOCK=7)[::8] == ("invalid", "BLOCK must not be 7")


def test_a_foreign_config_is_invalid(fake):
    """A config that is not the kernel's own is one invalid trial, not a crash of the sweep."""
    measurement = compile_.compile_candidate("fake", PROBLEM, '{"TILE": 3}', by_slug("h200"))
    assert measurement.status == "invalid"
    assert "BLOCK, DIM, WARPS" in measurement.detail


def test_a_kernel_that_triton_refuses_is_a_compile_error(fake, capfd):
    """A compilation that fails costs one trial, says why in a line and prints nothing."""
    measurement = candidate(DIM=13)
    assert measurement.status == "compile-error"
    assert "DIM must not be 13" in measurement.detail
    assert "\n" not in measurement.detail
    assert capfd.readouterr() == ("", "")


def test_a_refusal_by_ptxas_is_a_compile_error(fake, monkeypatch, capfd):
    """What ptxas refuses is reported by its own line, and the PTX is not printed."""
    from triton.runtime.errors import PTXASError

    def refuse(*_args):
        sys.stdout.write("thousands of lines")
        raise PTXASError("`ptxas` failed with error code 255\nptxas fatal : Memory allocation failure")

    monkeypatch.setattr(compile_, "compiled", refuse)
    assert candidate() == Measurement(
        "compile-error", detail="PTXAS error: `ptxas` failed with error code 255"
    )
    assert capfd.readouterr() == ("", "")


def test_a_failed_pass_is_reported_with_mlirs_reason(fake, monkeypatch):
    """MLIR says why a pass failed on stderr only; the detail carries it."""

    def refuse(*_args):
        os.write(2, b"kernel.py:7:3: error: operand #0 must be a tensor\nnote: see operation\n")
        raise RuntimeError("PassManager::run failed")

    monkeypatch.setattr(compile_, "compiled", refuse)
    measurement = candidate()
    assert measurement.status == "compile-error"
    assert "operand #0 must be a tensor" in measurement.detail


def test_errors_of_our_own_propagate(fake, monkeypatch):
    """A programming error in a kernel module is not counted as a failed trial."""
    fake.signature = lambda *_: {}["missing"]
    with pytest.raises(KeyError):
        candidate()

    def refuse(*_args):
        raise TypeError("bad call")

    fake.signature = lambda _problem, config: signature(config)
    monkeypatch.setattr(compile_, "compiled", refuse)
    with pytest.raises(TypeError):
        candidate()


def test_too_much_shared_memory_is_out_of_resources(fake):
    """A tile that fits an H200 block and not a 4090 block is dropped on the 4090, with both numbers."""
    needs = candidate("4090", DIM=128).shared
    measurement = candidate("4090", DIM=128, WARPS=8)
    assert needs > by_slug("4090").shared_block
    assert measurement.status == "out-of-resources"
    assert "101376" in measurement.detail
    assert str(measurement.shared) in measurement.detail
    assert candidate("h200", DIM=128, WARPS=8).status == "ok"


@pytest.mark.parametrize(("spills", "status"), [(0, "ok"), (256, "ok"), (257, "spilled"), (None, "ok")])
def test_heavy_spills_are_dropped(fake, monkeypatch, spills, status):
    """Local memory above the limit is not worth timing; up to it, or unknown, it is."""
    monkeypatch.setattr(compile_, "resources", lambda *_: compile_.Resources(0, 255, spills))
    measurement = candidate()
    assert (measurement.status, measurement.spills) == (status, spills)


def test_a_kernel_that_triton_does_not_compile_is_ok(fake):
    """Torch's own kernel has no signature and nothing to compile."""
    fake.signature = lambda *_: None
    assert candidate().status == "ok"


def test_usage_takes_the_worst_function():
    """Registers and spills are the most of any function in the code; text without them is unknown."""
    text = " Function a:\n  REG:40 STACK:8 SHARED:0 LOCAL:0 TEXTURE:0\n Function b:\n  REG:32 STACK:16 SHARED:0 LOCAL:24 X:1\n"
    assert compile_.parse_usage(text) == (40, 40)
    assert compile_.parse_usage("") == (None, None)


def test_without_cuobjdump_the_registers_are_unknown(monkeypatch):
    """A wheel without cuobjdump costs knowledge, not the trial."""
    monkeypatch.setattr(compile_, "cuobjdump", lambda: None)
    assert compile_._usage(b"") == (None, None)


def test_import_is_light():
    """The modules that a pool process starts from import without triton, which it needs only to compile."""
    code = "import sys, tunedb.compile, tunedb.tune.predict, tunedb.measure.bench; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
