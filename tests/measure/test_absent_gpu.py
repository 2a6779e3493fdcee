"""Why there is no GPU: a machine without one is as it should be, one that cannot use its own is not."""

import pytest
import torch

from tunedb.measure import absent_gpu
from tunedb.measure.absent_gpu import absence


@pytest.fixture
def machine(monkeypatch):
    """A machine as the test describes it: with a driver or not, and a torch that is built for CUDA or not."""

    def make(*, driver, cuda="13.0", usable=False, cause=""):
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
        monkeypatch.setattr(absent_gpu, "_driver_is_here", lambda: driver)
        monkeypatch.setattr(absent_gpu, "_cause", lambda: cause)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return make


def test_a_machine_without_a_gpu_is_as_it_should_be(machine):
    """No driver, no remedy; with a GPU that works there is no absence."""
    machine(driver=False)
    assert absence() == ("this machine has no NVIDIA GPU", "")
    machine(driver=True, usable=True)
    assert absence() is None


def test_a_broken_driver_has_its_cause_and_remedy(machine):
    """What torch says of the driver is repeated, with what to do."""
    machine(driver=True, cause="The NVIDIA driver on your system is too old.")
    found = absence()
    assert (
        found.why
        == "an NVIDIA driver is here, but CUDA cannot use it: The NVIDIA driver on your system is too old"
    )
    assert "nvidia-smi" in found.remedy


def test_a_torch_without_cuda_beside_a_driver_is_named(machine):
    """A build of torch for CPUs on a machine with a driver is a mistake in installation."""
    machine(driver=True, cuda=None)
    assert "is built without CUDA" in absence().why
    assert absence().remedy


def test_hidden_gpus_are_named(machine, monkeypatch):
    """CUDA_VISIBLE_DEVICES may hide every GPU."""
    machine(driver=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in absence().why
