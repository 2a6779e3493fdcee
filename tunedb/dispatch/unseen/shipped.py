"""The predictor that comes with tunedb, read once, at the first problem that no record is near enough to."""

import functools
import warnings
from importlib.resources import files
from pathlib import Path

from tunedb.dispatch.unseen.choose import COLUMNS
from tunedb.dispatch.unseen.trees import Predictor, read_predictor
from tunedb.errors import TunedbWarning

__all__ = ["FILE", "shipped_predictor"]

FILE = "predictor.json.gz"


@functools.cache
def shipped_predictor() -> Predictor | None:
    """Return the predictor, or None where it cannot be read: that is said once, and the nearest winners decide in its place."""
    path = Path(str(files("tunedb.db"))) / FILE
    if not path.is_file():
        return None
    try:
        return read_predictor(path, COLUMNS)
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(
            f"The predictor {path} is left aside: {error}. Install tunedb again.",
            TunedbWarning,
            stacklevel=2,
        )
        return None
