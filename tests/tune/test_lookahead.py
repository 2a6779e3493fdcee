"""How many candidates are under way."""

from tunedb.tune.lookahead import Pace


def test_the_depth_follows_compile_and_trial_times():
    """Compiling 0.5 s for trials of 0.1 s needs 5 under way and a few in reserve; before that is known, all.

    A slow candidate counts for a while after it.
    """
    pace = Pace()
    assert pace.depth(20) == 20
    pace.compiled(0.5)
    pace.timed(0.1)
    assert pace.depth(20) == 8
    assert pace.depth(4) == 4
    pace.compiled(2.0)
    pace.compiled(0.1)
    assert pace.depth(40) == 18 + 3
