"""Which winners a search tries first."""

import landscape

from tunedb.record import Choice
from tunedb.tune.warm_start import nearest


def test_nearest_prefers_the_same_operation_and_size():
    """Winners of the same direction and dtype are offered, the closest sizes first, each config once."""
    asked = landscape.problem("conv2d", in_w=64)
    winners = {
        landscape.problem("conv2d", in_w=512): Choice("alpha", "far"),
        landscape.problem("conv2d", in_w=128): Choice("alpha", "close"),
        landscape.problem("conv2d", in_w=130): Choice("alpha", "close"),
        landscape.problem("conv1d", in_w=64): Choice("alpha", "other op"),
        landscape.problem("conv_transpose2d", in_w=64): Choice("alpha", "other direction"),
    }
    assert [choice.config for choice in nearest(asked, winners)][:1] == ["close"]
    assert {choice.config for choice in nearest(asked, winners)} == {"close", "far", "other op"}
