"""What a new length of a layer costs: the time of its plan, compilations, wrong answers, and memory.

    python scripts/bench_lengths.py --out benchmarks/h100/lengths.md

Each layer is one that an audio model calls with inputs of any length. It is called with 1,000 different lengths, from half the
recorded one to twice it, in random order; each result is compared with torch's in float64. A second pass, over 10,000 lengths,
makes plans alone: it says what memory the last 5,000 of them take.
"""

import argparse
import gc
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tunedb
from tunedb import launch
from tunedb.describe import table
from tunedb.dispatch import calls
from tunedb.measure.versions import environment
from tunedb.torch_internals import CONVOLUTIONS

LENGTHS, PLANS = 1_000, 10_000
TOLERANCE = 4e-3  # of the largest result, in float16 and TF32
LIMIT_US = 200.0  # of a new length's plan


class Layer(NamedTuple):
    """A layer and the length around which it is called; sizes are stride, padding, output_padding, groups, dilation."""

    name: str
    op: str
    weight: tuple[int, int, int]
    length: int
    sizes: tuple[int, int, int, int, int]
    bias: bool = True

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels."""
        first, second = self.weight[0], self.weight[1] * self.sizes[3]
        return (first, second) if "transpose" in self.op else (second, first)


LAYERS = (
    Layer("HiFi-GAN residual block, 64 channels", "conv1d", (64, 64, 11), 12800, (1, 5, 0, 1, 1)),
    Layer("HiFi-GAN residual block, 32 channels", "conv1d", (32, 32, 3), 51200, (1, 1, 0, 1, 1)),
    Layer("HiFi-GAN upsampler", "conv_transpose1d", (256, 128, 8), 800, (4, 2, 0, 1, 1)),
    Layer("HiFi-GAN upsampler, the last", "conv_transpose1d", (64, 32, 4), 55168, (2, 1, 0, 1, 1)),
    Layer("TasNet encoder", "conv1d", (512, 1, 16), 32000, (8, 8, 0, 1, 1), bias=False),
    Layer("TasNet depthwise", "conv1d", (512, 1, 3), 4001, (1, 2, 0, 512, 2)),
)


class Row(NamedTuple):
    layer: str
    kernels: str
    plan_us: float  # of a new length: the median
    plan_us_99: float
    first_compilations: int  # in the first 50 lengths
    compilations: int  # in all
    last_compilation: int  # the number of the length that compiled last
    wrong: int
    host_kb: float  # that 5,000 further lengths take
    gpu_kb: float


def lengths_of(layer: Layer, count: int) -> list[int]:
    """Return that many lengths around the layer's own, all different where there are enough."""
    choice = range(max(layer.weight[2] * layer.sizes[4], layer.length // 2), layer.length * 2)
    generator = random.Random(layer.name)
    return generator.sample(choice, count) if count <= len(choice) else generator.choices(choice, k=count)


def measured(
    layer: Layer,
    make: Callable[..., Any],
    *,
    count: int = LENGTHS,
    plans: int = PLANS,
    wrong: "Callable[[Layer, Any, Any, Any], bool] | None" = None,
) -> Row:
    """Call a layer with `count` lengths, then plan `plans` more; `make` gives a tensor of a shape.

    `wrong` says of input, weight and bias whether tunedb's result is wrong; where it is None no result is asked for.
    """
    tunedb.clear()
    c_in, c_out = layer.channels
    weight, bias = make(layer.weight), make((c_out,)) if layer.bias else None
    times, compiled, mistakes = [], [], 0
    kernels: Counter[str] = Counter()
    for length in lengths_of(layer, count):
        x = make((1, c_in, length))
        begin = time.perf_counter()
        plan = calls.planned(layer.op, x, weight, bias, layer.sizes)
        times.append((time.perf_counter() - begin) * 1e6)
        compiled.append(len(launch.loaded()))
        kernels["torch" if plan is None or plan.run is None else plan.tier] += 1
        mistakes += wrong is not None and wrong(layer, x, weight, bias)
    host_kb, gpu_kb = memory_kb(layer, make, weight, bias, plans)
    ordered = sorted(times)
    tiers = ", ".join(f"{name} {number}" for name, number in kernels.most_common())
    names = "+".join(sorted(set(launch.loaded()))) or "torch"
    return Row(
        layer.name, f"{names} ({tiers})", statistics.median(times), ordered[len(ordered) * 99 // 100],
        compiled[min(50, count) - 1], compiled[-1], 1 + compiled.index(compiled[-1]), mistakes, host_kb, gpu_kb,
    )  # fmt: skip


def memory_kb(
    layer: Layer, make: Callable[..., Any], weight: Any, bias: Any, plans: int
) -> tuple[float, float]:
    """Return what the second half of that many new plans takes, on the host and on the GPU, in KB of 1,000 bytes."""
    held: list[tuple[int, int]] = []
    lengths = lengths_of(layer, plans)
    half = len(lengths) // 2
    tracemalloc.start()
    try:
        for some in (lengths[:half], lengths[half:]):
            for length in some:
                calls.planned(layer.op, make((1, layer.channels[0], length)), weight, bias, layer.sizes)
            gc.collect()
            gpu = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
            held.append((tracemalloc.get_traced_memory()[0], gpu))
    finally:
        tracemalloc.stop()
    (host, gpu), (host_later, gpu_later) = held
    return (host_later - host) / 1e3, (gpu_later - gpu) / 1e3


def is_wrong(layer: Layer, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Return whether tunedb's result is not that of float64."""
    stride, padding, output_padding, groups, dilation = layer.sizes
    given = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
    if "transpose" in layer.op:
        given["output_padding"] = output_padding
    result = getattr(tunedb, layer.op)(x, weight, bias, **given)
    right = CONVOLUTIONS[layer.op](
        x.double(), weight.double(), None if bias is None else bias.double(), **given
    )
    largest = float(right.abs().max())
    return bool(result.shape != right.shape or not float((result - right).abs().max()) <= TOLERANCE * largest)


def page(rows: list[Row], where: str, command: str) -> str:
    """Return the figures as Markdown."""
    names = ("layer", "answered by", "plan us", "99 %", "compiled in 50", "in all", "last at", "wrong", "host KB", "GPU KB")  # fmt: skip
    cells = [
        (one.layer, one.kernels, f"{one.plan_us:.0f}", f"{one.plan_us_99:.0f}",
         *map(str, one[4:8]), f"{one.host_kb:.0f}", f"{one.gpu_kb:.0f}")
        for one in rows
    ]  # fmt: skip
    within = sum(one.plan_us <= LIMIT_US for one in rows)
    said = (
        f"The plan of a new length takes at most {LIMIT_US:g} us in the median for {within} of {len(rows)} layers; "
        f"{sum(one.wrong for one in rows)} results are wrong. KB are what the last {PLANS // 2:,} of {PLANS:,} new lengths take."
    )
    return "\n".join([f"# A new length of a layer\n\n{where} (`{command}`)\n", f"{said}\n", "```", table(names, cells), "```", ""])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--lengths", type=int, default=LENGTHS, help="of each layer that are called")
    given = parser.parse_args()

    def make(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, device="cuda", dtype=torch.float16)

    with torch.no_grad():
        rows = [measured(layer, make, count=given.lengths, wrong=is_wrong) for layer in LAYERS]
    facts = ", ".join(f"{name} {value}" for name, value in environment().items() if value)
    where = f"{torch.cuda.get_device_name()}, {facts}, {time.strftime('%Y-%m-%d')}"
    command = "python scripts/bench_lengths.py" + (f" --out {given.out}" if given.out else "")
    text = page(rows, where, command)
    if given.out:
        given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
