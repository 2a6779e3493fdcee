"""The script that times layers with a cold and a warm L2."""

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="times layers where there is a GPU")
def test_without_a_gpu_nothing_is_timed(scripts, monkeypatch):
    """It says so and ends."""
    module = scripts("bench_warm")
    monkeypatch.setattr("sys.argv", ["bench_warm.py", "suite.json"])
    with pytest.raises(SystemExit, match="has none"):
        module.main()
