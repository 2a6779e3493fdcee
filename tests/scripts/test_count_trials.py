"""The script that counts how many trials a sweep's answers took."""

import json

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.record import Measurement, Tried
from tunedb.tune.journal import History
from tunedb.tune.space import Space

CONFIG = '{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":1}'
PROBLEM = landscape.problem("conv2d", in_w=64, n=1)
SPACE = Space(PROBLEM, by_slug("h200"), landscape.KERNELS)


@pytest.fixture
def history(tmp_path):
    """Write searches, each torch's time and the times of its trials (None: one that failed), and return the file."""

    def written(*searches):
        path = tmp_path / "sweep.history.log"
        opened = History(str(path))
        for number, (torch_us, times) in enumerate(searches):
            past = opened.past(f"study {number}", {"problem": PROBLEM._replace(n=number + 1)._asdict()})
            for time_us in times:
                status = "ok" if time_us else "compile-error"
                past.append(Tried("alpha", CONFIG, Measurement(status, time_us)), SPACE)
            past.finish("done", result={"record": {"aten_us": torch_us}})
        return path

    return written


def test_what_the_first_trials_give(scripts, history, capsys):
    """The best so far against the best of all; torch's kernel counts from the start, and failed trials count as trials."""
    path = history((20.0, [40.0, None, 10.0, 5.0]), (8.0, [9.0, 10.0, 9.0, 9.0]))
    assert scripts("count_trials").main([str(path), "--least", "4"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["problems"] == 2
    assert said["after"]["1"] == {"share": 0.5, "lowest": 0.25}
    assert said["after"]["4"] == {"share": 1.0, "lowest": 1.0}
    assert said["trials_to"]["95%"] == {"median": 2.5, "of_nine_in_ten": 4}


def test_a_history_of_short_searches(scripts, history):
    """Nothing can be said; the remedy is named."""
    with pytest.raises(SystemExit, match="at least 40 trials, but none has: give a smaller --least"):
        scripts("count_trials").main([str(history((20.0, [10.0])))])
