"""Instructions of compiled candidates: counted, told to the time model, and left out where they are not needed."""

import math
import subprocess

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.device.sustained import sustained
from tunedb.kernel import config_to_json, load
from tunedb.record import Measurement
from tunedb.suite import load_suite
from tunedb.tune.predict import expected as module
from tunedb.tune.predict import instructions
from tunedb.tune.predict.expected import expected
from tunedb.tune.predict.instructions import TOLD, counted, told
from tunedb.tune.predict.time_model import COLUMNS, expected_log, time_model
from tunedb.tune.workers import Parts, resolve

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
ADA = by_slug("4090")
ASKED = next(entry for entry in load_suite("kernelbench") if entry.id == "kb57").problem("float16")


def test_the_loop_with_the_most_products_is_counted():
    """Kinds, products of one warp, and cycles of shared memory's port; the branch to itself at a kernel's end is no loop."""
    whole, loop = counted(CODE)
    products = 16 * 8 * 16 + 64 * 128 * 16 // 4
    assert whole == {
        "integer": 1,
        "lds": 2,
        "mma": 2,
        "control": 2,
        "stg": 1,
        "products": products,
        "port": 8,
    }
    assert loop == {"lds": 2, "mma": 2, "control": 1, "products": products, "port": 8}
    assert counted(CODE.replace("(.L_x_0)", "(.L_x_9)"))[1] is None


def test_what_the_trees_see():
    """Issue slots and shared memory's cycles of the problem's products over the floor, then shares of the loop, then sizes."""
    whole = {"integer": 60, "lds": 20, "mma": 16, "local": 4, "products": 4096, "port": 40}
    loop = {"integer": 10, "lds": 5, "sts": 1, "mma": 4, "products": 2048, "port": 20}
    facts = sustained(ADA)
    rounds = ASKED.flops / (2 * 2048)
    clocks = facts.sm_count * facts.clock / 1e6
    found = told(ASKED, ADA, 1000, 4, whole, loop)
    assert len(found) == TOLD
    assert 2 ** found[0] * floor_us(ASKED, facts) == pytest.approx(rounds * 20 / 4 / clocks)
    assert 2 ** found[1] * floor_us(ASKED, facts) == pytest.approx(rounds * 20 / clocks)
    assert 2 ** found[2] * floor_us(ASKED, facts) == pytest.approx(1000 * 4 * 100 / 4 / clocks)
    assert found[3:8] == pytest.approx([0.5, 0.3, 0.2, 0.0, 0.0])
    assert found[8:] == pytest.approx([0.04, math.log2(100), math.log2(20)])
    # Where the loop has a fifth of the products or less, they are unrolled outside of it: all of the code counts.
    assert told(ASKED, ADA, 1000, 4, whole, loop | {"products": 100}) == told(
        ASKED, ADA, 1000, 4, whole, None
    )
    assert told(ASKED, ADA, 1, 1, {"products": 0, "port": 0}, None)[:2] == [0.0, 0.0]


def test_a_candidate_is_judged_by_its_instructions(monkeypatch):
    """One that no proxy has timed is compiled and disassembled; its time is the mean of what both kinds of trees say."""
    monkeypatch.setattr(module, "timed", lambda *_: {})
    kernel = load("implicit_gemm")
    parsed = kernel.default(ASKED, ADA)
    config = config_to_json(parsed)
    found = module.compile_and_expect("implicit_gemm", ASKED, config, ADA)
    code = module._told_of("implicit_gemm", ASKED, config, ADA)
    assert code is not None
    needs = found._replace(time_us=None, time_us_low=None, time_us_high=None)
    assert found == expected(ASKED, "implicit_gemm", config, needs, ADA, code)
    assert found.time_us != expected(ASKED, "implicit_gemm", config, needs, ADA).time_us
    model, spills = time_model(), found.spills
    alone, both = (
        expected_log(model, ASKED, ADA, "implicit_gemm", parsed, spills, one) for one in (None, code)
    )
    assert len(code) == COLUMNS["code"] - COLUMNS["time"] == TOLD
    assert abs(both - alone) < 2.0


def test_nothing_is_disassembled_in_vain(monkeypatch):
    """Not what a proxy has timed, nor what does not compile; where nvdisasm fails the sizes alone say what is expected."""
    asked: list[bytes] = []

    def fails(code):
        asked.append(code)
        raise subprocess.SubprocessError

    monkeypatch.setattr(instructions, "disassembled", fails)
    kernel = load("implicit_gemm")
    config = config_to_json(kernel.default(ASKED, ADA))
    choice = next(one for one in module.timed(ASKED, ADA) if one.kernel != "aten")
    assert module.compile_and_expect(choice.kernel, ASKED, choice.config, ADA).detail.startswith("by proxy")
    monkeypatch.setattr(module, "compile_candidate", lambda *_: Measurement("spilled"))
    assert module.compile_and_expect("implicit_gemm", ASKED, config, ADA) == Measurement("spilled")
    assert asked == []
    monkeypatch.setattr(module, "compile_candidate", lambda *_: Measurement("ok", spills=0))
    monkeypatch.setattr(module, "timed", lambda *_: {})
    found = module.compile_and_expect("implicit_gemm", ASKED, config, ADA)
    assert len(asked) == 1
    assert found == expected(ASKED, "implicit_gemm", config, Measurement("ok", spills=0), ADA)


def test_only_predictions_count_instructions():
    """A sweep that measures has no use for them."""
    assert resolve(Parts().predictor) is module.compile_and_expect
    assert Parts().compiler == "tunedb.compile:compile_candidate"
