"""What ptxas assembles wrongly is refused, and ptxas still does."""

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tunedb.compile import MiscompiledError, check_assembly, compile_candidate, compiled
from tunedb.device import by_slug
from tunedb.device.assembler import flaw, overwrites
from tunedb.kernel import config_to_json, load
from tunedb.problem import Problem

# Adds 5 to the lower of two 16-bit numbers and writes it; the upper one gets no addition.
PAIR = """
.version 8.7
.target sm_90a
.address_size 64
.visible .entry pair(.param .u64 out, .param .u32 a)
{
    .reg .b32 %r<9>;  .reg .b64 %rd<2>;  .reg .b16 %rs<9>;
    ld.param.u64 %rd1, [out];  ld.param.u32 %r1, [a];
    cvt.u16.u32 %rs1, %r1;  and.b16 %rs2, %rs1, 15;
    mul.lo.s16 %rs3, %rs2, 171;  shr.u16 %rs4, %rs3, 9;
    mul.lo.s16 %rs5, %rs4, 3;  sub.s16 %rs6, %rs2, %rs5;
    mov.b32 %r2, {%rs6, %rs4};
    mov.b32 %r3, 5;
    add.s16x2 %r4, %r2, %r3;
    mov.b32 {%rs7, _}, %r4;
    cvt.u32.u16 %r5, %rs7;
    st.global.u32 [%rd1], %r5;
    ret;
}
"""
# Three residues in height and width, with unlike paddings: found by random launches, NaN in most of its outputs.
STRIDES_OF_3 = Problem(
    "conv_transpose2d", "bfloat16", "ieee", "channels_first", 1, 96, 48, 1, 1, 1, 56, 5, 1, 5, 5, 1, 3, 3, 0, 4, 5, 0, 0, 0, 1, 1, 1,
)  # fmt: skip
CHANGED = {"LOOP": "taps", "PHASE": "fast", "ORDER": "n", "SWAP": 1, "BLOCK_R": 8, "BLOCK_W": 8, "BLOCK_N": 32, "BLOCK_K": 128, "SPLIT": 1, "DOT": "ieee", "num_warps": 4, "num_stages": 5}  # fmt: skip


def test_ptxas_drops_the_constant(tmp_path):
    """The assembler adds 0 where PTX adds 5. Where this fails it has been mended, and the check may go."""
    from triton import knobs

    source, code = tmp_path / "pair.ptx", tmp_path / "pair.cubin"
    source.write_text(PAIR)
    ptxas = Path(knobs.nvidia.ptxas.path)
    subprocess.run([ptxas, "-arch=sm_90a", source, "-o", code], check=True)
    shown = subprocess.run(
        [ptxas.with_name("nvdisasm"), "-c", code], check=True, capture_output=True, text=True
    )
    (addition,) = (line for line in shown.stdout.splitlines() if "VIADD.16x2" in line)
    assert addition.split(";")[0].rstrip().endswith(", 0x0")


def test_packed_additions_are_refused():
    """No kernel with such an addition is launched; other pairs of 16 bits, such as halves, are fine."""
    for wrong in (PAIR, "\tadd.u16x2 \t%r1, %r2, %r3;"):
        with pytest.raises(MiscompiledError, match="drops constants"):
            check_assembly(wrong)
    check_assembly("\tadd.f16x2 %r1, %r2, %r3; add.s16 %rs1, %rs2, 5; fma.rn.bf16x2 %r1, %r2, %r3, %r4;")


@pytest.mark.parametrize(("device", "status"), [("h200", "compile-error"), ("4090", "ok")])
def test_a_candidate_with_one_is_a_compile_error(device, status):
    """A sweep goes on, and says why; older GPUs have no such instruction."""
    module, device = load("implicit_gemm"), by_slug(device)
    config = module.Config(**CHANGED)
    found = compile_candidate("implicit_gemm", STRIDES_OF_3, config_to_json(config), device)
    assert found.status == status
    if status != "ok":
        assert "in pairs" in found.detail
        with pytest.raises(MiscompiledError):
            compiled(module.signature(STRIDES_OF_3, config), device)


# A step of a pipelined loop: the operand of the product is rounded into %r3, multiplied, and waited for by the next step.
LOOP = """
$L__BB0_1:
    ld.shared.b32 %r2, [%r9];
    {rounding}
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {{%f1,%f2,%f3,%f4}}, {operand}, %rd2, %p1, 1, 1;
    wgmma.commit_group.sync.aligned;
    {behind}
    wgmma.wait_group.sync.aligned {pending};
    @%p18 bra $L__BB0_1;
    wgmma.wait_group.sync.aligned 0;
"""


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, True),
        ({"pending": 0}, False),
        ({"operand": "%rd1"}, False),
        ({"operand": "%rd1", "rounding": "cvt.rna.tf32.f32 %f3, %r2;"}, False),
        ({"pending": 0, "behind": "mov.b32 %r5, %r2;"}, True),
        ({"pending": 0, "behind": "@%p2 ld.shared.v2.b32 {%r7, %r6}, [%r5];"}, True),
        ({"pending": 0, "behind": "st.shared.b32 [%r5], %r2;"}, False),
        ({"rounding": "cvt.rna.tf32.f32 %r8, %r2;"}, False),
    ],
)
def test_operands_must_stay_until_they_are_read(change, wrong):
    """A register of an operand that is written while its product may be under way is refused, in this step or the next one's."""
    given = {
        "rounding": "cvt.rna.tf32.f32 %r3, %r2;",
        "operand": "{%r3,%r4,%r5,%r6}",
        "behind": "",
        "pending": 1,
    }
    assert ("before the matrix unit has read them" in flaw(LOOP.format(**given | change))) is wrong


# 6,912 products a sum, found by a sweep of an H100: one of 793 trials of such configs was off by a quarter more than TF32 is.
VIDEO = Problem(
    "conv3d", "float32", "tf32", "channels_first", 1, 256, 256, 1, 1, 3, 384, 672, 3, 3, 3, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1,
)  # fmt: skip
OVERWRITTEN = {"LOOP": "channels", "PHASE": "slow", "ORDER": "n", "SWAP": 0, "BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 128, "BLOCK_K": 32, "SPLIT": 1, "DOT": "tf32", "num_warps": 8, "num_stages": 3}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "device", "status"),
    [
        ({}, "h100", "compile-error"),
        ({"SWAP": 1}, "h100", "ok"),
        ({"num_warps": 2, "BLOCK_N": 32}, "h100", "ok"),
        ({"num_stages": 1}, "h100", "ok"),
        ({}, "4090", "ok"),
    ],
)
def test_tf32_from_registers_is_overwritten(change, device, status):
    """Triton waits for too little where rounded inputs go from registers into wgmma. Where this fails it has been mended: the check may go."""
    module, device = load("implicit_gemm"), by_slug(device)
    config = module.Config(**OVERWRITTEN | change)
    found = compile_candidate("implicit_gemm", VIDEO, config_to_json(config), device)
    assert found.status == status, found.detail
    assert overwrites("implicit_gemm", config, device.capability) is (status != "ok")
