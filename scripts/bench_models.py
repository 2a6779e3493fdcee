"""Measure real models with tunedb beside torch: three lines of a user's code, in every mode that people run models in.

    python scripts/bench_models.py --model hifigan,unet_sd15 --dtype float16 --suites out/suites --db out/h100.sqlite \
        --tune-minutes 3
    python scripts/bench_models.py --model hifigan,unet_sd15 --dtype float16 --mode graph,eager --db out/h100.sqlite \
        --json benchmarks/h100/models.json --gpus all --seconds 520
    python scripts/bench_models.py --json benchmarks/h100/models.json --report

The first captures the models and sweeps their layers, those with the most time to win first (--capture stops before that; it
needs a GPU for channels_last only). The second measures: torch with cudnn.benchmark=True against a copy that tunedb.use has
switched, in turns. Rows are written as they come, and those that the file has are not measured again. Each model has a process
of its own, and so have `--swept no` (the shipped database alone) and `--swept yes` (with --db in front). The third writes page
and plot again. The last line of stdout is one JSON object. Status 1: a row failed, or was not reached in time.
"""

import argparse
import contextlib
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bench.gpu_shards import chosen_gpus, dealt
from bench.model_page import page, summary
from bench.model_plot import plot
from bench.model_rows import DTYPES, LAYOUTS, MODES, SWEPT, Key, Row, read, wanted, write
from bench.model_tuning import captured, swept_command, tuned
from bench.model_work import own_command, today, work

MARGIN_S = 10.0  # before --seconds, for a child that is ended


def main() -> int:
    arguments = parsed(sys.argv[1:])
    from bench.real_models import FAKE, MODELS

    models = chosen(FAKE if arguments.fake else MODELS, arguments.model)
    keys = wanted(models, *(getattr(arguments, name) for name in ("dtype", "layout", "mode", "swept")))
    if arguments.work:
        return work([keys[int(index)] for index in arguments.work.split(",")], keys, models, arguments)
    if arguments.capture or arguments.tune_minutes:
        place = here(fake=arguments.fake)
        suites = captured(models, arguments.dtype, arguments.layout, arguments.suites, place)
        if arguments.capture:
            print(json.dumps({"suites": [str(path) for path in suites]}))
            return 0
        return tuned(
            swept_command(suites, arguments.db, arguments.tune_minutes, arguments.gpus, together=arguments.together),
            time.monotonic() + arguments.seconds - MARGIN_S,
        )  # fmt: skip
    rows = {row.key: row for row in read(arguments.json)}
    if not arguments.report:
        measure(keys, rows, {model.name: model for model in models}, arguments)
    report(list(rows.values()), arguments.json)
    missing = [] if arguments.report else [key for key in keys if key not in rows]
    failures = [f"{' '.join(map(str, row.key))}: {row.failure}" for row in rows.values() if row.failure]
    print(json.dumps(summary(rows.values()) | {"failures": failures, "unmeasured": len(missing)}))
    return int(bool(failures or missing))


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=_list, help="names, as in hifigan,unet_sd15 (default: all)")
    for name, known in (("dtype", DTYPES), ("layout", LAYOUTS), ("mode", MODES), ("swept", SWEPT)):
        parser.add_argument(f"--{name}", type=_list_of(known), default=known, help=f"of {','.join(known)} (default: all)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="file of the rows; page and plot go beside it")
    parser.add_argument(
        "--db", type=Path, help="what --tune-minutes writes, and `--swept yes` is answered by"
    )
    parser.add_argument(
        "--suites", type=Path, default=Path("out/suites"), help="where captured suites are kept (default: %(default)s)"
    )  # fmt: skip
    parser.add_argument(
        "--capture", action="store_true", help="write the suites only; without a GPU in channels_first"
    )
    parser.add_argument("--tune-minutes", type=float, help="capture and sweep, so long for each model")
    parser.add_argument(
        "--together",
        action="store_true",
        help="sweep all suites at once: time goes to the layers that gain most",
    )
    parser.add_argument("--without", help="`--swept no` leaves the shipped file of this device out, as in h100: it holds these layers")  # fmt: skip
    parser.add_argument("--unseen", type=Path, metavar="FOLDER", help="`--swept no` answers each model as if it had never been swept on any device, by the predictors of this folder, which scripts/fit_predictor.py --leave-out NAME --out FOLDER/NAME.json.gz writes")  # fmt: skip
    parser.add_argument("--again", action="store_true", help="measure what --json has too")
    parser.add_argument("--failed", action="store_true", help="measure what failed again")
    parser.add_argument("--report", action="store_true", help="measure nothing, write page and plot")
    parser.add_argument("--gpus", default="0", help="all, or indices as in 0,1 (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=540.0, help="end before that (default: %(default)s)")
    parser.add_argument("--one-process", action="store_true", help="measure all models in one process after the other: half the time, but first calls find what earlier models have loaded")  # fmt: skip
    parser.add_argument("--fake", action="store_true", help="tiny models on the CPU, to try the script")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of keys: what a child is started with
    arguments = parser.parse_args(argv)
    if arguments.json is None and not (arguments.capture or arguments.tune_minutes):
        parser.error("rows must have a file: give --json.")
    if arguments.db is None and (arguments.tune_minutes or _needs_db(arguments)):
        parser.error("swept answers must have a database: give --db, or measure `--swept no` alone.")
    if _needs_db(arguments) and not arguments.tune_minutes and not arguments.db.is_file():
        parser.error(f"--db must be what --tune-minutes wrote, but there is no {arguments.db}: tune first.")
    return arguments


def _needs_db(arguments: argparse.Namespace) -> bool:
    return not (arguments.report or arguments.capture or arguments.fake) and "yes" in arguments.swept


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _list_of(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        if unknown := sorted(set(_list(text)) - set(known)):
            raise argparse.ArgumentTypeError(f"must be of {', '.join(known)}, but got {', '.join(unknown)}.")
        return _list(text)

    return parse


def chosen(models: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    """Return the models of these names, in the list's order.

    Raises SystemExit: for unknown ones.
    """
    known = [model.name for model in models]
    if unknown := sorted(set(names or ()) - set(known)):
        sys.exit(f"--model must name some of {', '.join(known)}, but got {', '.join(unknown)}.")
    return [model for model in models if not names or model.name in names]


def measure(
    keys: Sequence[Key], rows: dict[Key, Row], models: Mapping[str, Any], arguments: argparse.Namespace
) -> None:
    """Measure what is open, a process a model, on all GPUs; rows are written as they come.

    With --one-process a GPU has one process, which begins anew behind a row that failed.
    """
    deadline = time.monotonic() + arguments.seconds - MARGIN_S
    gpus = [0] if arguments.fake else chosen_gpus(arguments.gpus)
    jobs: dict[tuple[int, bool], list[int]] = {}
    for index, key in enumerate(keys):
        if arguments.again or key not in rows or (arguments.failed and rows[key].failure):
            number = list(models).index(key.model)
            jobs.setdefault((number % len(gpus) if arguments.one_process else number, key.swept), []).append(index)  # fmt: skip
    waiting: SimpleQueue[list[int]] = SimpleQueue()
    for job in jobs.values():
        waiting.put(job)
    gate = threading.Lock()

    def take(found: dict[str, Any]) -> None:
        key = keys[found["index"]]
        row = row_of(found, key, models[key.model], rows.get(key))
        with gate:
            rows[key] = row
            write(arguments.json, rows.values())
        print(said(row), file=sys.stderr, flush=True)

    def serve(gpu: int) -> None:
        with contextlib.suppress(Empty):
            while time.monotonic() < deadline:
                dealt([__file__, *sys.argv[1:]], waiting.get_nowait(), [gpu], deadline, take)

    with ThreadPoolExecutor(len(gpus)) as threads:
        list(threads.map(serve, gpus))


def row_of(found: dict[str, Any], key: Key, model: Any, earlier: Row | None) -> Row:
    """Return what a child answered; a row that was measured before outlasts a failure."""
    if "row" in found:
        return Row.of(found["row"])
    if earlier is not None and not earlier.failure:
        return earlier
    empty = dict.fromkeys(Row._fields)
    facts = {
        "kind": model.kind,
        "decoder": model.decoder,
        "notes": [],
        "device": "",
        "versions": {},
        "command": own_command(),
    }
    return Row(**{**empty, **key._asdict(), **facts, "date": today(), "failure": found["died"]})


def here(*, fake: bool) -> Any:
    """Return where models are captured: on the GPU, if there is one."""
    import torch
    from bench.model_modes import Cpu, Gpu, Meta

    if fake:
        return Cpu()
    return Gpu() if torch.cuda.is_available() else Meta()


def said(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.torch_ms:8.3f} / {row.tunedb_ms:8.3f} ms = {row.ratio:.2f}"
    swept = "swept" if row.swept else "unswept"
    return f"{row.model:18}{row.dtype:9}{row.layout:15}{row.mode:15}{swept:8}{ratio}  {row.failure}"


def report(rows: Sequence[Row], path: Path) -> None:
    drawing = path.with_suffix(".svg")
    drawing.write_text(plot(rows), encoding="utf-8")
    path.with_suffix(".md").write_text(page(rows, drawing.name), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
