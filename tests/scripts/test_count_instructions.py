"""Counting what machine code is made of, and what trees may see of it."""

import json

import pytest

pytest.importorskip("triton")

CODE = """
	.text.kernel:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDSM.16.M88.4 R4, [R2] ;
        /*0020*/              @!P0 LDS.128 R8, [R3] ;
        /*0030*/                   HMMA.16816.F32 R12, R4, R8, R12 ;
        /*0040*/                   HGMMA.64x128x16.F32 R24, gdesc[UR8], R24 ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/                   STG.E R12, [R2] ;
.L_x_1:
        /*0070*/                   BRA `(.L_x_1);
"""


def test_the_loop_with_the_most_products_is_counted(scripts):
    """Kinds, products of one warp, and cycles of shared memory's port; the branch to itself at a kernel's end is no loop."""
    module = scripts("instructions.sass")
    whole, loop = module.counted(CODE)
    assert whole.kinds == {"integer": 1, "lds": 2, "mma": 2, "control": 2, "stg": 1}
    assert loop.kinds == {"lds": 2, "mma": 2, "control": 1}
    assert loop.products == whole.products == 16 * 8 * 16 + 64 * 128 * 16 // 4
    assert (loop.port, loop.total, whole.total) == (8, 5, 8)
    assert module.counted(CODE.replace("(.L_x_0)", "(.L_x_9)"))[1] is None


def test_a_kept_trial_is_compiled_and_counted(scripts):
    """The line of a real trial: its code for sm_89 multiplies by mma.sync in a loop."""
    module = scripts("count_instructions")
    table = module.Path(__file__).parents[2] / "benchmarks" / "trials" / "h100-sm89.csv.gz"
    row = next(one for one in module.wanted([table]) if one.kernel == "implicit_gemm" and one.problem.dtype == "float16")  # fmt: skip
    found = json.loads(module.line_of(row))
    assert (found["device"], found["kernel"], found["config"]) == ("h100-sm89", row.kernel, row.config)
    assert found["loop"]["mma"] > 0
    assert found["all"]["products"] >= found["loop"]["products"] > 0
    assert module.line_of(row._replace(config='{"no":1}')) is None
