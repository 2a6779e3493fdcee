"""Time the four kernels that tunedb replaces against its answers, on the GPU at hand.

    python scripts/bench_replaced.py --out benchmarks/h200/replaced.md

Each was one strategy with fixed blocks and grid, written for an RTX 4090; each runs as the config of a kernel here
that is nearest to it (the first with phases for its masks). `before` is what the original itself took on an H200 (float32 NCHW, TF32), measured when the work
began with torch 2.11, Triton 3.6 and cuDNN 9.19. Candidates, tunedb's answer and torch are timed in turn, L2 cold.
The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.items import command
from bench.results import heading_here

# Suite id, the original's name, what it took (µs), kernel and the fields in which its config is not the default.
REPLACED = (
    (
        "kb79",
        "conv1d_transpose",
        12100.0,
        "direct",
        {"COLS": 1, "BLOCK_N": 1, "num_warps": 4},
    ),
    ("kb76s", "conv1d", 4530.0, "implicit_gemm", {"LOOP": "taps", "ORDER": "m"}),
    ("kb81", "conv_transpose2d", 7650.0, "implicit_gemm", {"LOOP": "flat", "PHASE": "mask", "ORDER": "m"}),
    ("kb57", "conv_transpose2d_full", 34500.0, "implicit_gemm", {"LOOP": "taps", "ORDER": "m"}),
)
BLOCKS = {"BLOCK_R": 1, "BLOCK_W": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4, "num_stages": 2}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="Markdown file for the table (default: stdout)")
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit("bench_replaced needs a CUDA GPU, but torch sees none.")
    from tunedb.suite import load_suite

    entries = {entry.id: entry for entry in load_suite("kernelbench")}
    rows = [
        timed(entries[layer].problem("float32", "tf32", "channels_first"), *rest) for layer, *rest in REPLACED
    ]
    for (layer, *_), row in zip(REPLACED, rows, strict=True):
        row["problem"] = layer
    text = f"{heading_here()}\n\n{table(rows)}\n"
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(f"`{command(sys.argv)}`: {text}", encoding="utf-8")
    print(json.dumps({row["problem"]: round(row["before_us"] / row["tunedb_us"], 2) for row in rows}))
    return 0


def timed(
    problem: Any, original: str, before_us: float, kernel: str, fields: dict[str, Any]
) -> dict[str, Any]:
    """Time one original's config, tunedb's answer and torch in one run; medians in microseconds."""
    import torch

    import tunedb
    from tunedb.device import current
    from tunedb.kernel import load
    from tunedb.launch import launcher
    from tunedb.measure.baseline import Yardstick
    from tunedb.measure.timing import GpuClock, rounds_within, spread

    clock = GpuClock(0)
    yardstick = Yardstick(problem, clock)
    x, weight, bias = yardstick.torch_tensors
    module = load(kernel)
    given = module.default(problem, current(0))._asdict() | fields
    if kernel == "implicit_gemm":
        given |= BLOCKS
    config = module.Config(**given)
    assert not module.valid(problem, config, current(0))
    run = module.plan(problem, config, launcher)
    sizes = problem.torch_sizes

    def answer() -> Any:
        with yardstick.settings():
            return getattr(tunedb, problem.op)(x, weight, bias, **sizes)

    def replaced() -> Any:
        return run(x, weight, bias)

    with torch.no_grad():
        answer()
        # Right as TF32 goes: torch's kernel of one mode computes kb81 in IEEE float32, which these did not.
        error = yardstick.judge(replaced()).error
        assert error is not None
        assert error < 1e-3
        calls = [replaced, answer, yardstick.torch_call]
        medians = [
            spread(times)[0]
            for times in clock.times_us(calls, rounds_within(3e6, clock.times_us(calls, 1), (7, 25)))
        ]
        found = tunedb.explain(problem.op, x, weight, bias, **sizes).answer
    names = ("config_us", "tunedb_us", "aten_us")
    return {
        "original": original,
        "before_us": before_us,
        "kernel": found.kernel,
        **dict(zip(names, medians, strict=True)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| problem | replaced kernel | before, ms | its config here, ms | tunedb, ms | by | torch, ms | before / tunedb |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        times = [f"{row[name] / 1e3:.3f}" for name in ("before_us", "config_us", "tunedb_us", "aten_us")]
        ratio = f"{row['before_us'] / row['tunedb_us']:.1f}"
        lines.append(
            f"| {row['problem']} | {row['original']} | {times[0]} | {times[1]} | {times[2]} | {row['kernel']} | {times[3]} | {ratio} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
