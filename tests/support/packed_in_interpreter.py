"""Packs weights of every layout with the kernel in Triton's interpreter, in a process of its own; prints what differs.

The last line is a JSON object: how many were compared, and the names of those that differ from torch's evaluation.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import fast_interpreter
import torch
from packing_cases import cases, weight_of
from small_layout import same_bits

from tunedb.weights import pack_kernel, press
from tunedb.weights.layout import pack_with_torch


def strided(weight):
    """Return the same weight in another order of memory, with gaps."""
    room = torch.zeros((*reversed(weight.shape), 2), dtype=weight.dtype)
    view = room[..., 1].permute(*reversed(range(weight.ndim)))
    return view.copy_(weight)


def main():
    fast_interpreter.install()
    press._by_kernel = lambda *_: True
    pack_kernel.BLOCK = 8192  # the interpreter's time goes by operations, not by elements
    compared, differ = 0, []
    for name, layout, dtype in cases():
        packs, weight = press.Press(layout), weight_of(layout, dtype)
        expected = pack_with_torch(layout, weight)
        made = {"fresh": packs(weight)}
        into = torch.full(layout.shape, float("nan"), dtype=weight.dtype)
        if layout.elements < 2**16:
            made["of a strided weight, into memory that is there"] = packs.kept(strided(weight), into)
            assert made["of a strided weight, into memory that is there"] is into
        compared += len(made)
        differ += [f"{name}, {how}" for how, found in made.items() if not same_bits(found, expected)]
    print(json.dumps({"compared": compared, "differ": differ}))


if __name__ == "__main__":
    main()
