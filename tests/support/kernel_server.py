"""Runs kernels on request, in a process of its own: Triton's interpreter is chosen before a kernel is imported.

Each line of standard input is a JSON object with kernel, problem, config; each line of output the answer:
error, ||out - ref|| / ||ref|| against float64 (or ||out|| where the reference is all zero), and unwritten,
the number of outputs still NaN, and digest, a hash of the bytes of the outputs. With the argument "plain" Triton's
interpreter is left as it is. With TUNEDB_CUDNN_ON_CPU set the CPU computes what kernels ask cuDNN for.
"""

import hashlib
import json
import os
import sys
import warnings

import cudnn_on_cpu
import fast_interpreter
import gluon_interpreter
import torch

from tunedb.kernel import config_from_json, load
from tunedb.launch import launcher
from tunedb.measure.baseline import empty_output, make_tensors
from tunedb.problem import Problem


def run(kernel: str, problem: Problem, config: str, place: torch.device) -> dict[str, float | str]:
    x, weight, bias = make_tensors(problem, place)
    module = load(kernel)
    exact = [None if tensor is None else tensor.double().contiguous() for tensor in (x, weight, bias)]
    reference = load("aten").plan(problem, (), launcher)(*exact)
    out = empty_output(problem, place).fill_(float("nan"))
    result = module.plan(problem, config_from_json(module, config), launcher)(x, weight, bias, out=out)
    assert result is out
    scale = float(reference.norm()) or 1.0
    deviation = float((out.double() - reference).norm()) if out.numel() else 0.0
    raw = out.cpu().contiguous().view(torch.uint8).numpy().tobytes() if out.numel() else b""
    return {
        "error": deviation / scale,
        "unwritten": int(out.isnan().sum()),
        "digest": hashlib.sha256(raw).hexdigest(),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    place = torch.device(sys.argv[1])
    if os.environ.get("TUNEDB_CUDNN_ON_CPU"):
        cudnn_on_cpu.install()
    if os.environ.get("TRITON_INTERPRET") == "1":
        if "plain" not in sys.argv[2:]:
            fast_interpreter.install()
        for name in ("shared_rows.layouts", "shared_rows.io", "shared_rows.jit"):
            gluon_interpreter.imported(f"tunedb.kernels.{name}")
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = run(case["kernel"], Problem(*case["problem"]), case["config"], place)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
