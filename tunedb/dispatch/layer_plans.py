"""Plans of one layer and config share the weight's layout: for another length only the launch is made anew."""

from operator import itemgetter
from typing import Any

from tunedb import launch
from tunedb.kernel import Kernel, Run, Signature
from tunedb.problem import Problem
from tunedb.weights.layout import Layout

__all__ = ["clear", "plan"]

LIMIT = 4096  # layers; at so many all are forgotten
_EXTENTS = {"n", "in_d", "in_h", "in_w"}
_layer_of = itemgetter(*(place for place, name in enumerate(Problem._fields) if name not in _EXTENTS))
_layouts: dict[tuple[Any, ...], Layout] = {}


def plan(name: str, kernel: Kernel, problem: Problem, config: Any) -> Run:
    """Return kernel.plan(problem, config, launch.launcher) for the current CUDA device.

    Where the first plan of a layer was no more than one launch and a packed weight, and the kernel says that it packs all
    extents alike (ONE_LAYOUT), the next ones take its layout: making that takes longer than all else.
    """
    if not getattr(kernel, "ONE_LAYOUT", False):
        return kernel.plan(problem, config, launch.launcher)
    key = (name, config, _layer_of(problem))
    layout = _layouts.get(key)
    if layout is not None:
        signature = kernel.signature(problem, config)
        assert signature is not None
        return launch.convolution_plan(problem, launch.launcher(signature), layout)
    made: list[tuple[Signature, Any]] = []

    def launcher(signature: Signature) -> Any:
        found = launch.launcher(signature)
        made.append((signature, found))
        return found

    run = kernel.plan(problem, config, launcher)
    launched, layout = getattr(run, "made_of", (None, None))
    plain = len(made) == 1 and made[0][1] is launched and made[0][0] == kernel.signature(problem, config)
    if plain and isinstance(layout, Layout):
        if len(_layouts) >= LIMIT:
            _layouts.clear()
        _layouts[key] = layout
    return run


def clear() -> None:
    """Forget all layouts."""
    _layouts.clear()
