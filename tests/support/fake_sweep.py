"""What sweeps of the tests are made of: a recorded landscape in place of kernels, compiler, GPU and model."""

from tunedb.device import by_slug
from tunedb.tune.gpu_process import Limits
from tunedb.tune.workers import Parts

DEVICE = by_slug("h200")
PARTS = Parts(
    "landscape",
    "landscape:compile_candidate",
    "landscape:Bench",
    "landscape:expected",
    "landscape:environment",
    "landscape:torch_us",
)
LIMITS = Limits(compile_s=1.0, prepare_s=30.0, trial_s=1.0, final_s=2.0)


def executed(folder):
    """Return process, problem and config of every trial that was begun."""
    log = folder / "log"
    return [tuple(line.split(maxsplit=2)) for line in log.read_text().splitlines()] if log.exists() else []
