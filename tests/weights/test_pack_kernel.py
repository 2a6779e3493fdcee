"""The kernel that packs is the layout on a GPU: in the interpreter bit for bit torch's evaluation, and it compiles."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from packing_cases import cases

SUPPORT = Path(__file__).parents[1] / "support"


def test_the_kernel_is_the_layout():
    """Every family's layout, in every dtype; all but the large ones also of a strided weight, into memory that is there."""
    command = [sys.executable, "-W", "ignore", str(SUPPORT / "packed_in_interpreter.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"compared": 25, "differ": []}


def test_the_cases_are_awkward_enough():
    """Among the layouts are large ones, rounded ones, and both sizes of an element; every family has one."""
    found = list(cases())
    assert max(layout.elements for _, layout, _ in found) > 2**16
    assert {layout.rounded for _, layout, _ in found} == {True, False}
    assert {dtype for *_, dtype in found} == {"float32", "float16", "bfloat16"}
    assert {name.partition(",")[0] for name, *_ in found} == {
        "tap_major", "column_major", "k_major", "width_major", "window_major", "residue_major", "core_major"
    }  # fmt: skip


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="compiles, so the interpreter must be off"
)
@pytest.mark.parametrize("slug", ["4090", "h200"])
@pytest.mark.parametrize(("pointer", "rounded"), [("*i16", False), ("*i32", False), ("*i32", True)])
def test_compiles(slug, pointer, rounded):
    """One compilation for each size of an element, and one that rounds, without shared memory and without a division."""
    from tunedb.compile import compiled
    from tunedb.device import by_slug
    from tunedb.kernel import Signature
    from tunedb.weights.pack_kernel import BLOCK, pack

    types = dict.fromkeys(pack.arg_names, "i32")
    types |= {"weight_ptr": pointer, "packed_ptr": pointer, "table_ptr": "*i64"}
    types |= {"ROUNDED": "constexpr", "BLOCK": "constexpr"}
    constexprs = {"ROUNDED": rounded, "BLOCK": BLOCK}
    kernel = compiled(Signature(pack, types, constexprs, (), (), (1, 1, 1), 4, 1), by_slug(slug))
    assert kernel.metadata.shared == 0
    assert "div." not in kernel.asm["ptx"]
    assert "rem." not in kernel.asm["ptx"]


def test_nothing_of_a_weight_is_compiled_in():
    """Sizes, strides and alignment are run-time arguments: another weight needs no other code."""
    from tunedb.weights.pack_kernel import pack

    plain = {name for name in pack.arg_names if name.isupper()}
    assert plain == {"ROUNDED", "BLOCK"}
    parameters = {parameter.name: parameter for parameter in pack.params}
    assert all(
        one.do_not_specialize or one.is_constexpr or name.endswith("_ptr") for name, one in parameters.items()
    )
    assert all(
        one.do_not_specialize_on_alignment for name, one in parameters.items() if name.endswith("_ptr")
    )
