"""A model as nobody has swept it: its records left out of the shipped databases, and answered by a predictor that has not seen them."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from predictor.tiers import without
from trials.models import of_networks
from trials.table import Row, read

from tunedb.dispatch import unswept
from tunedb.dispatch.unseen.choose import COLUMNS
from tunedb.dispatch.unseen.trees import read_predictor
from tunedb.store import files

__all__ = ["predictor_of", "unseen"]

TABLES = Path(__file__).parents[2] / "benchmarks" / "trials"


@contextlib.contextmanager
def unseen(model: str, folder: Path) -> Iterator[None]:
    """Let lookups answer as if no layer of a model, and of what is the same network, had been swept on any device, at any size.

    `folder` has a predictor for each model that scripts/fit_predictor.py --leave-out has fitted without it.
    """
    held = of_networks(_trials(), [model])
    predictor = read_predictor(predictor_of(model, folder), COLUMNS)
    patched = mock.patch.object(unswept, "shipped_predictor", return_value=predictor)
    with without(files.shipped_files(), held), patched:
        yield


def predictor_of(model: str, folder: Path) -> Path:
    return folder / f"{model}.json.gz"


@functools.cache
def _trials() -> list[Row]:
    return [row for path in sorted(TABLES.glob("*.csv.gz")) for row in read(path)]
