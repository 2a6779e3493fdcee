"""What the six operations take after input and weight: torch's names, order and defaults, stated once.

`tunedb.ops` writes the signatures out, since Python has no other way, and a test holds them against this table.
"""

from typing import Any

__all__ = ["AXIS_SIZES", "DEFAULTS", "bound", "names"]

# Sizes that an operation has for each spatial axis, with their defaults.
AXIS_SIZES = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
DEFAULTS: dict[str, Any] = {"bias": None, **AXIS_SIZES, "groups": 1}

_FORWARD = ("bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("bias", "stride", "padding", "output_padding", "groups", "dilation")


def names(op: str) -> tuple[str, ...]:
    """Return the arguments of an operation after input and weight, in torch's order."""
    return _TRANSPOSED if op.startswith("conv_transpose") else _FORWARD


def bound(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the value of every argument of DEFAULTS in a call of an operation.

    Raises TypeError: for an argument that the operation does not take, or that is given twice.
    """
    known = names(op)
    # A forward operation has an output_padding too: 0, which a problem checks.
    allowed = {*known, "output_padding"}
    positional = dict(zip(known, args, strict=False))
    if twice := positional.keys() & kwargs.keys():
        raise TypeError(
            f"an argument must be given once, but got {', '.join(sorted(twice))} by position and by name."
        )
    if len(args) > len(known) or not kwargs.keys() <= allowed:
        raise TypeError(
            f"a {op} takes {', '.join(known)} after input and weight, but got {len(args)} arguments and {', '.join(kwargs) or 'no names'}."
        )
    return {**DEFAULTS, **positional, **kwargs}
