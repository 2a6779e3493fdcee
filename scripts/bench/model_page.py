"""What bench_models found, as a page and as a summary."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench.model_rows import DTYPES, LAYOUTS, MODES, Row
from bench.report import mean, table
from bench.results import heading

__all__ = ["below", "faster_layouts", "means", "page", "summary"]

KINDS = ("audio", "image", "video", "volume")
LEAST, LEAST_IN_NOISE = 0.98, 0.97  # of torch's speed, and where torch differs that much from itself
NOISY = 0.98
WORTH_MS = 0.2  # a smaller saving is lost in the noise
ARRIVES = (0.8, 1.2)


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """Return, in few words, the means of each group, what is slower than torch, and savings that did not arrive."""
    rows = list(rows)
    slow, off = below(rows), [row for row in savings(rows) if not _arrived(row)]
    return {
        "rows": len(rows),
        "means": {
            f"{_swept(one['swept'])} {one['mode']} {one['dtype']} {one['layout']}": one["all"] for one in means(rows)
        },
        "torchs_faster_layout": {
            f"{_swept(one['swept'])} {one['mode']} {one['dtype']}": one["all"]
            for one in faster_layout_means(faster_layouts(rows))
        },
        "below": [f"{_named(row)}: {row.ratio:.3f}, noise {row.noise:.3f}" for row in slow],
        "savings_off": [f"{_named(row)}: {row.achieved:.2f}" for row in off],
    }  # fmt: skip


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return geometric means of torch's time over tunedb's, torch in the same layout, a group each sweep, mode, dtype, layout."""
    found = []
    for swept in (True, False):
        for mode in MODES:
            for dtype in DTYPES:
                for layout in LAYOUTS:
                    timed = [
                        row
                        for row in rows
                        if (row.swept, row.mode, row.dtype, row.layout) == (swept, mode, dtype, layout)
                        and row.ratio
                    ]
                    if timed:
                        lowest = min(timed, key=lambda row: row.ratio or 0)
                        found.append({
                            "swept": swept, "mode": mode, "dtype": dtype, "layout": layout,
                            "all": _mean(timed), "decoders": _mean([row for row in timed if row.decoder]),
                            **{kind: _mean([row for row in timed if row.kind == kind]) for kind in KINDS},
                            "lowest": [lowest.model, round(lowest.ratio or 0, 3)],
                        })  # fmt: skip
    return found


def _mean(rows: Sequence[Row]) -> tuple[float, int] | None:
    """Return the geometric mean, and of how many."""
    value = mean([row.ratio for row in rows if row.ratio])
    return None if value is None else (value, len(rows))


def faster_layouts(rows: Sequence[Row]) -> list[tuple[Row, Row, float]]:
    """Return a model's rows in channels_first and in channels_last, and torch's faster time over tunedb's faster one."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row.ratio:
            found.setdefault((row.model, row.swept, row.dtype, row.mode), {})[row.layout] = row
    pairs = [
        tuple(pair[layout] for layout in LAYOUTS) for pair in found.values() if len(pair) == len(LAYOUTS)
    ]
    return [
        (first, last, min(first.torch_ms or 0, last.torch_ms or 0) / min(first.tunedb_ms or 0, last.tunedb_ms or 0))
        for first, last in pairs
    ]  # fmt: skip


def faster_layout_means(pairs: Sequence[tuple[Row, Row, float]]) -> list[dict[str, Any]]:
    """Return the geometric mean of each sweep, mode and dtype."""
    groups: dict[tuple[bool, str, str], list[float]] = {}
    for row, _, ratio in pairs:
        groups.setdefault((row.swept, row.mode, row.dtype), []).append(ratio)
    return [
        {"swept": swept, "mode": mode, "dtype": dtype, "all": (mean(ratios), len(ratios))}
        for (swept, mode, dtype), ratios in sorted(groups.items(), reverse=True)
    ]


def below(rows: Sequence[Row]) -> list[Row]:
    """Return what is slower than torch by more than is allowed, the slowest first."""
    found = [row for row in rows if row.ratio and row.ratio < _least(row)]
    return sorted(found, key=lambda row: row.ratio or 0)


def _slow(row: Row) -> str:
    alike = "; no layer was switched, both sides are torch" if row.layers_tunedb == 0 else ""
    return f"{_named(row)}: {row.ratio:.3f}; torch against torch {row.noise:.3f}{alike}"


def _least(row: Row) -> float:
    noise = row.noise or 1.0
    return LEAST_IN_NOISE if min(noise, 1 / noise) < NOISY else LEAST


def savings(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of CUDA graphs of which a saving is expected that can be measured."""
    return [
        row
        for row in rows
        if row.mode == "graph" and row.achieved is not None and (row.expected_saved_ms or 0) > WORTH_MS
    ]


def _arrived(row: Row) -> bool:
    return row.achieved is not None and ARRIVES[0] <= row.achieved <= ARRIVES[1]


def page(rows: Sequence[Row], drawing: str | None) -> str:
    """Return the whole as Markdown; `drawing` is the name of the plot beside it."""
    slow = [f"- {_slow(row)}" for row in below(rows)]
    failures = [f"- {_named(row)}: {row.failure}" for row in rows if row.failure]
    notes = [f"- {_named(row)}: {note}" for row in rows for note in row.notes]
    commands = [f"- `{one}`" for one in dict.fromkeys(row.command for row in rows)]
    return "\n\n".join([
        "# Real models: tunedb beside torch", "\n".join(_headings(rows)), _EXPLAINED,
        *([] if drawing is None else [f"![Torch's time over tunedb's of every model]({drawing})"]),
        "## Geometric means, torch in the same layout", _means_table(rows),
        "## Against torch's faster layout", _LAYOUTS_EXPLAINED, *_faster_tables(rows),
        "## What was promised and what arrived", _ARRIVED_EXPLAINED, _savings_table(rows),
        "## Slower than torch", "\n".join(slow) or "None.",
        "## Failures", "\n".join(failures) or "None.",
        *(["## What tunedb warned of", "\n".join(notes)] if notes else []),
        *(part for model in dict.fromkeys(row.model for row in rows) for part in _model(model, rows)),
        "## Commands", "\n".join(commands) or "None.",
    ]) + "\n"  # fmt: skip


_EXPLAINED = f"""Wall time a forward pass, host waiting to host waiting, medians of turns with 20th and 80th percentile. Torch
(`cudnn.benchmark=True`, TF32 allowed) and tunedb (`tunedb.use` on a copy of the model) take turns in one process, torch twice
in each turn, each behind a call of its own that is not timed; *noise* is the one of torch's series over the other, and both ratios
are medians over the turns. *graph* is captured by torch's usual recipe (warmed up on a
side stream, `torch.cuda.graph`), *compiled* is `torch.compile`, *compiled_graph* its `reduce-overhead`; compiled is compared
with compiled, and so on. *Unswept* is the shipped database alone, as if nobody had swept the model on any device: without the
records of its network, and with a predictor that was fitted without them (`--unseen` in the commands); *swept* has the model's own
sweep in front. First calls are
seconds from a model on the GPU to its first result, in eager mode, with the making of the graph or the compilation added; what
torch and Triton keep on disk is as the machine had it. Peaks are the model's own memory with a call's or a capture's on top.
Errors are relative to float32 without TF32; tunedb's may be 1.1 times torch's in the same or in eager mode or, in
float32, what rounding the factors of every convolution to TF32 gives. Slower than torch: below {LEAST}, or below
{LEAST_IN_NOISE} where torch differs from itself by 2 %. Weights are random."""

_LAYOUTS_EXPLAINED = (
    """Image and video models: the faster of torch's two layouts over the faster of tunedb's."""
)

_ARRIVED_EXPLAINED = f"""CUDA graphs of which the records promise more than {WORTH_MS} ms: the saving a forward pass by `tunedb report`, and what arrived."""


def _headings(rows: Sequence[Row]) -> list[str]:
    """Return a line for each machine and day, with all packages that were measured there."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        if row.device:
            found.setdefault((row.device, row.date), {}).update(row.versions)
    return [f"- {heading(device, versions, date)}" for (device, date), versions in found.items()] or [
        "No rows."
    ]


def _named(row: Row) -> str:
    return f"{row.model} {row.dtype} {row.layout} {row.mode} {_swept(row.swept)}"


def _swept(swept: bool) -> str:
    return "swept" if swept else "unswept"


def _means_table(rows: Sequence[Row]) -> str:
    heads = ["", "mode", "dtype", "layout", "all", "vocoders and VAE decoders", *KINDS, "lowest"]
    lines = [
        [_swept(one["swept"]), one["mode"], one["dtype"], one["layout"], _times(one["all"]), _times(one["decoders"]),
         *(_times(one[kind]) for kind in KINDS), f"{one['lowest'][1]:.2f} ({one['lowest'][0]})"]
        for one in means(rows)
    ]  # fmt: skip
    return table(heads, lines)


def _faster_tables(rows: Sequence[Row]) -> list[str]:
    pairs = faster_layouts(rows)
    heads = [
        "model",
        "dtype",
        "mode",
        "",
        "torch first / last ms",
        "tunedb first / last ms",
        "torch's faster",
        "ratio",
    ]
    lines = [
        [first.model, first.dtype, first.mode, _swept(first.swept), f"{first.torch_ms:.3f} / {last.torch_ms:.3f}",
         f"{first.tunedb_ms:.3f} / {last.tunedb_ms:.3f}",
         first.layout if (first.torch_ms or 0) <= (last.torch_ms or 0) else last.layout, f"{ratio:.2f}"]
        for first, last, ratio in pairs
    ]  # fmt: skip
    summed = [
        [_swept(one["swept"]), one["mode"], one["dtype"], _times(one["all"])] for one in faster_layout_means(pairs)
    ]  # fmt: skip
    return [table(["", "mode", "dtype", "all"], summed), table(heads, lines)]


def _savings_table(rows: Sequence[Row]) -> str:
    heads = ["model", "dtype", "layout", "", "expected ms", "arrived ms", "arrived / expected"]
    lines = [
        [row.model, row.dtype, row.layout, _swept(row.swept), f"{row.expected_saved_ms:.3f}",
         f"{(row.torch_ms or 0) - (row.tunedb_ms or 0):.3f}", f"{row.achieved:.2f}{'' if _arrived(row) else ' **off**'}"]
        for row in savings(rows)
    ]  # fmt: skip
    return table(heads, lines)


def _model(model: str, rows: Sequence[Row]) -> list[str]:
    own = [row for row in rows if row.model == model and row.ratio]
    heads = [
        *("dtype", "layout", "mode", "", "torch ms", "tunedb ms", "torch / tunedb", "noise", "expected saving ms", "layers by tunedb"),
        *("first call s (torch)", "peak MB (torch)", "error (torch)"),
    ]  # fmt: skip
    lines = [
        [row.dtype, row.layout, row.mode, _swept(row.swept), _spread(row.torch_ms, row.torch_ms_spread),
         _spread(row.tunedb_ms, row.tunedb_ms_spread), f"{row.ratio:.2f}", _number(row.noise, ".3f"),
         _number(row.expected_saved_ms, ".3f"), f"{row.layers_tunedb} of {row.layers}",
         f"{_number(row.first_call_s, '.1f')} ({_number(row.torch_first_call_s, '.1f')})",
         f"{_number(row.peak_mb, '.0f')} ({_number(row.torch_peak_mb, '.0f')})",
         f"{_number(row.error, '.2e')} ({_number(row.torch_error, '.2e')})"]
        for row in own
    ]  # fmt: skip
    return [f"## {model}", table(heads, lines)] if own else []


def _times(found: tuple[float | None, int] | None) -> str:
    return "" if found is None or found[0] is None else f"{found[0]:.2f}x ({found[1]})"


def _number(value: float | None, form: str) -> str:
    return "not finite" if value is None else format(value, form)


def _spread(median: float | None, spread: tuple[float, float] | None) -> str:
    return "" if median is None or spread is None else f"{median:.3f} ({spread[0]:.3f} to {spread[1]:.3f})"
