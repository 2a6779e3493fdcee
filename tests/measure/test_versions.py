"""The versions beside a record."""

import subprocess

import pytest
import torch

from tunedb.measure import versions as env


def test_every_version_is_text():
    """Triton and torch are always named; what is not there is an empty text, never None."""
    found = env.environment()
    assert list(found) == ["triton", "torch", "cudnn", "driver"]
    assert all(type(text) is str for text in found.values())
    assert found["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("number", "text"), [(91900, "9.19.0"), (90100, "9.1.0"), (8902, "8.9.2"), (None, ""), (0, "")]
)
def test_cudnns_number_is_written_with_dots(number, text):
    """CuDNN's integer is split as its version has it: version 9 has two digits more."""
    assert env._dotted(number) == text


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 30),
    ],
)
def test_no_driver_is_no_error(monkeypatch, error):
    """A machine without a driver, or with a broken one, has an empty driver version."""

    def run(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert env._driver() == ""


def test_the_driver_of_several_gpus_is_one(monkeypatch):
    """The tool answers a line for each GPU; the driver is the same."""
    done = subprocess.CompletedProcess([], 0, stdout="580.159.04\n580.159.04\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: done)
    assert env._driver() == "580.159.04"
