"""The interpreter that the tests run kernels in computes what Triton's own does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

import torch
from awkward import AWKWARD

from tunedb.device import by_slug
from tunedb.kernel import config_to_json, load, names

SUPPORT = Path(__file__).parents[1] / "support"
DEVICE = by_slug("h200")
# The first of these that a kernel applies to is run: float32 with groups and a bias, float16, bfloat16 and channels_last.
CASES = ("groups", "k = s", "shared rows, last", "output padding", "depthwise", "depthwise, last", "depthwise with dilation", "residues joined")  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels run on the GPU, not in the interpreter")
@pytest.mark.parametrize("name", [name for name in names() if name != "aten"])
def test_every_bit_is_the_same(name, run_kernel, run_kernel_plainly):
    """Two problems of each kernel give the same bytes in the interpreter as it comes and in the faster one."""
    module = load(name)
    applies = [AWKWARD[case] for case in CASES if module.space(AWKWARD[case], DEVICE)][:2]
    assert len(applies) == 2
    for problem in applies:
        config = config_to_json(module.default(problem, DEVICE))
        assert run_kernel(name, problem, config) == run_kernel_plainly(name, problem, config)


def test_every_step_is_installed():
    """With this Triton none of the three steps is left out for want of a private name."""
    code = f"import sys; sys.path.insert(0, {str(SUPPORT)!r}); import fast_interpreter as it; print(it.install())"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    assert done.stdout.strip() == "3"
