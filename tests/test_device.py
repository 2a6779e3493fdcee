import types

import pytest
import torch
from awkward import problem

from tunedb import device as module
from tunedb.device import CATALOGUE, as_arch, by_slug, current, floor_us, gpu_of
from tunedb.errors import DeviceError
from tunedb.suite import load_suite

H200 = by_slug("h200")
LAYERS = {entry.id: entry for entry in load_suite("kernelbench")}


@pytest.fixture(autouse=True)
def forget():
    """The GPU at hand is remembered for the life of a process."""
    current.cache_clear()
    yield
    current.cache_clear()


def pretend(monkeypatch, **facts):
    """Let torch report a GPU."""
    known = {
        "name": "NVIDIA GeForce RTX 9999 Ti", "major": 12, "minor": 0, "multi_processor_count": 10,
        "shared_memory_per_block_optin": 101376, "shared_memory_per_multiprocessor": 102400,
        "max_threads_per_multi_processor": 1536, "regs_per_multiprocessor": 65536, "L2_cache_size": 1 << 20,
        "clock_rate": 2_000_000, "memory_clock_rate": 10_000_000, "memory_bus_width": 256,
    }  # fmt: skip
    properties = types.SimpleNamespace(**{**known, **facts})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


def test_h200():
    """The H200 has the ceilings that were measured on it."""
    assert (H200.capability, H200.sm_count, H200.shared_block, H200.measured) == (90, 132, 232448, True)
    assert (H200.bandwidth, H200.tf32_rate, H200.half_rate) == (4.3e12, 3.6e14, 7.2e14)


# Milliseconds on the H200 for float32 with TF32 and for float16: the published table of floors.
FLOORS = {
    "kb50": (0.150, 0.075), "kb54": (0.239, 0.119), "kb55": (1.708, 0.854), "kb56": (1.618, 0.809),
    "kb57": (1.718, 0.859), "kb58": (0.157, 0.078), "kb63": (2.240, 1.120), "kb64": (1.145, 0.573),
    "kb72": (0.030, 0.015), "kb75": (0.203, 0.102), "kb76": (3.329, 1.665), "kb79": (0.312, 0.156),
    "kb81": (0.197, 0.099), "kb82": (0.497, 0.249), "kb85": (0.245, 0.122), "kb87": (2.996, 1.498),
}  # fmt: skip


@pytest.mark.parametrize("layer", FLOORS)
def test_floor(layer):
    """The floor is the larger of bytes over bandwidth and operations over rate, to three digits of a millisecond."""
    entry, (single, half) = LAYERS[layer], FLOORS[layer]
    assert floor_us(entry.problem("float32", "tf32"), H200) / 1000 == pytest.approx(single, abs=6e-4)
    assert floor_us(entry.problem("float16", "ieee"), H200) / 1000 == pytest.approx(half, abs=6e-4)
    assert floor_us(entry.problem("float16"), H200) == floor_us(entry.problem("bfloat16"), H200)


def test_floor_of_ieee_uses_cuda_cores():
    """IEEE float32 is bound by the rate without tensor cores: kb57 is 618.5 G operations at 67 T a second."""
    given = LAYERS["kb57"].problem("float32", "ieee")
    assert given.flops == 2 * 8 * 1024 * 1024 * 64 * 64 * 9
    assert floor_us(given, H200) == pytest.approx(1e6 * given.flops / 67e12)


def test_floor_by_hand():
    """On the 4090 kb81 is bound by bandwidth: 846 MB at 1008 GB/s are 0.84 ms."""
    given = LAYERS["kb81"].problem("float32", "tf32")
    out_h, out_w = 63 * 5 - 2 + 2 * 2 + 1, 127 * 5 - 2 + 2 * 2 + 1
    size = 4 * (16 * 32 * 64 * 128 + 32 * 64 * 9 + 16 * 64 * out_h * out_w)
    assert floor_us(given, by_slug("4090")) == pytest.approx(1e6 * size / 1008e9)
    assert floor_us(problem("conv1d", n=0), H200) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a machine without a GPU")
@pytest.mark.parametrize("slug", ["5090-ti", "", "H200", "4090; DROP TABLE"])
def test_unknown_slug(slug):
    """An unknown device is refused with the known ones."""
    known = ", ".join(device.slug for device in CATALOGUE)
    with pytest.raises(DeviceError, match=f"must be one of {known} or the GPU at hand") as raised:
        by_slug(slug)
    assert repr(slug) in str(raised.value)


def test_older_code_on_a_newer_gpu():
    """It is a device of its own: the same GPU but for name, capability and what the older generation's SM holds."""
    found = as_arch(H200, "sm89")
    assert found._asdict().items() - H200._asdict().items() == {
        ("slug", "h200-sm89"), ("name", "NVIDIA H200 (sm_89 code)"), ("capability", 89), ("shared_block", 101376),
        ("shared_sm", 102400), ("warps_sm", 48), ("own_capability", 90),
    }  # fmt: skip
    assert (found.gpu, found.arch) == ("h200", "sm89")
    assert by_slug("h200-sm89") == found
    assert as_arch(by_slug("4090"), "sm80").shared_block == 101376  # of the two limits the smaller
    given = LAYERS["kb57"].problem("float32", "tf32")
    assert floor_us(given, found) == floor_us(given, H200)


@pytest.mark.parametrize(
    ("slug", "arch", "allowed"),
    [
        ("h200", "sm90", "sm80, sm86, sm89"),
        ("h200", "sm_89", "sm80, sm86, sm89"),
        ("4090", "sm89", "sm80, sm86"),
        ("h200-sm89", "sm80", "none"),
    ],
)
def test_no_older_generation(slug, arch, allowed):
    """The GPU's own generation, an unknown one and a second one are refused with those that are allowed."""
    with pytest.raises(DeviceError, match=f"allowed here: {allowed}.*but got '{arch}'"):
        as_arch(by_slug(slug), arch)


@pytest.mark.parametrize(
    ("slug", "gpu"), [("h200-sm89", "h200"), ("h200", "h200"), ("h200-nvl", "h200-nvl"), ("sm89", "sm89")]
)
def test_gpu_of(slug, gpu):
    """A slug names its GPU, with or without the generation of its code."""
    assert gpu_of(slug) == gpu


def test_current_is_found_by_its_full_name(monkeypatch):
    """The GPU at hand is the catalogue's by the driver's name, not by a part of it."""
    pretend(monkeypatch, name="NVIDIA H200")
    assert current(0) is H200
    current.cache_clear()
    pretend(monkeypatch, name="NVIDIA H200 NVL")
    assert current(0).slug == "h200-nvl"


def test_h100_pcie_and_sxm_are_two_devices(monkeypatch):
    """Each is found by its own name, and neither answers for a third that begins alike."""
    found = []
    for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"):
        pretend(monkeypatch, name=name, major=9)
        current.cache_clear()
        found.append(current(0))
    assert [device.slug for device in found] == ["h100", "h100-pcie", "h100-nvl"]
    assert [device.sm_count for device in found[:2]] == [132, 114]
    assert found[1].bandwidth < found[0].bandwidth


def test_unknown_gpu_is_described(monkeypatch):
    """A GPU outside the catalogue gets a slug of its name, the driver's facts and rates guessed from its clocks."""
    pretend(monkeypatch)
    found = current(0)
    assert found[:9] == ("9999-ti", "NVIDIA GeForce RTX 9999 Ti", 120, 10, 101376, 102400, 48, 65536, 1 << 20)
    assert found.fp32_rate == 10 * 128 * 2 * 2e9
    assert found.bandwidth == 2 * 10e9 * 256 / 8
    assert not found.measured
    assert by_slug("9999-ti") == found
    assert (found.blocks_sm, found.mma_sync, found.wgmma, found.clock) == (24, True, False, 2e9)


def test_unknown_gpu_has_the_lanes_of_its_generation(monkeypatch):
    """An A30 is no card of the catalogue: its rate is guessed from 64 lanes an SM, and its clock is what the driver says."""
    pretend(monkeypatch, name="NVIDIA A30", major=8, minor=0, multi_processor_count=56, clock_rate=1_440_000)
    found = current(0)
    assert (found.fp32_rate, found.clock) == (56 * 64 * 2 * 1.44e9, 1.44e9)
    assert (found.slug, found.blocks_sm, found.mma_sync) == ("a30", 32, True)


def test_older_torch_says_less(monkeypatch):
    """Where torch does not report clocks and limits, they are guessed and nothing fails."""
    pretend(monkeypatch)
    properties = torch.cuda.get_device_properties(0)
    for name in ("clock_rate", "memory_clock_rate", "memory_bus_width", "shared_memory_per_block_optin", "regs_per_multiprocessor"):  # fmt: skip
        delattr(properties, name)
    found = current(0)
    assert found.shared_block == 49152
    assert found.registers_sm == 65536
    assert min(found.bandwidth, found.fp32_rate) > 0


def test_no_gpu_of_another_vendor(monkeypatch):
    """A GPU that torch drives without CUDA is not offered as a device."""
    pretend(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert module._gpu_here() is None
