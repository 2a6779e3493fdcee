"""What is known of GPUs, as data: a row of values for each compute capability and a block of values for each card.

To add a card: docs/developers/add-a-device.md.
"""

import functools
from typing import NamedTuple

__all__ = ["CARDS", "GENERATIONS", "Card", "Generation", "generation"]


class Generation(NamedTuple):
    """What follows from a compute capability alone."""

    capability: int  # 89 is 8.9, sm_89
    shared_block: int  # bytes of shared memory that one block can take
    shared_sm: int  # bytes of shared memory of an SM
    warps_sm: int  # resident warps of an SM, at most
    blocks_sm: int  # resident blocks of an SM, at most
    fp32_lanes_sm: int  # float32 multiply-adds that an SM starts in a clock
    mma_sync: bool  # tl.dot becomes Ampere's mma.sync
    wgmma: bool  # tl.dot becomes Hopper's wgmma
    tma: bool  # it has the Tensor Memory Accelerator
    all_stages_in_flight: bool  # a pipelined tl.dot holds num_stages tiles, else num_stages - 1
    registers_sm: int = 65536


# Limits, registers and TMA: CUDA C++ Programming Guide 13, "Compute Capabilities", tables "Feature Support per Compute
# Capability" and "Technical Specifications per Compute Capability". fp32_lanes_sm: the same guide's table of arithmetic
# throughput, "32-bit floating-point add, multiply, multiply-add".
# mma_sync, wgmma, all_stages_in_flight: read off implicit_gemm compiled by Triton 3.7.1 for sm_80, 86, 89, 90, 100 and 120 with
# 2, 3 and 4 stages, no GPU needed (2026-11-24): its PTX and its bytes of shared memory. sm_100 has tcgen05, which is neither.
# For sm_75, which was not compiled: Turing's mma.sync has no TF32 and no bfloat16, and there is no cp.async.
GENERATIONS = (
    Generation(75, shared_block=65536, shared_sm=65536, warps_sm=32, blocks_sm=16, fp32_lanes_sm=64, mma_sync=False, wgmma=False, tma=False, all_stages_in_flight=False),
    Generation(80, shared_block=166912, shared_sm=167936, warps_sm=64, blocks_sm=32, fp32_lanes_sm=64, mma_sync=True, wgmma=False, tma=False, all_stages_in_flight=False),
    Generation(86, shared_block=101376, shared_sm=102400, warps_sm=48, blocks_sm=16, fp32_lanes_sm=128, mma_sync=True, wgmma=False, tma=False, all_stages_in_flight=False),
    Generation(89, shared_block=101376, shared_sm=102400, warps_sm=48, blocks_sm=24, fp32_lanes_sm=128, mma_sync=True, wgmma=False, tma=False, all_stages_in_flight=False),
    Generation(90, shared_block=232448, shared_sm=233472, warps_sm=64, blocks_sm=32, fp32_lanes_sm=128, mma_sync=False, wgmma=True, tma=True, all_stages_in_flight=True),
    Generation(100, shared_block=232448, shared_sm=233472, warps_sm=64, blocks_sm=32, fp32_lanes_sm=128, mma_sync=False, wgmma=False, tma=True, all_stages_in_flight=True),
    Generation(120, shared_block=101376, shared_sm=102400, warps_sm=48, blocks_sm=24, fp32_lanes_sm=128, mma_sync=True, wgmma=False, tma=True, all_stages_in_flight=False),
)  # fmt: skip


@functools.cache
def generation(capability: int) -> Generation:
    """Return the row of a compute capability: its own, else that of the newest older one, else the oldest."""
    older = [row for row in GENERATIONS if row.capability <= capability]
    return older[-1] if older else GENERATIONS[0]


class Card(NamedTuple):
    """What a card has of its own. Bytes, bytes a second, Hz, and operations a second (a multiply-add is two)."""

    slug: str  # its key in databases: what device.slug_of makes of `name`, or shorter
    name: str  # torch.cuda.get_device_properties(0).name, to the letter
    capability: int  # major * 10 + minor
    sm_count: int
    boost_clock: float
    l2_bytes: int
    bandwidth: float  # where `measured` a large copy's, read plus written; else the memory's
    tf32_rate: float  # dense: without sparsity
    half_rate: float  # float16 and bfloat16 with float32 accumulation, dense; GeForce does that at half rate
    fp32_rate: float  # without tensor cores
    measured: bool  # bandwidth, tf32_rate and half_rate were measured on it
    source: str


# "=" in a source marks a value that no document gives, and how it was derived. NVIDIA's documents were checked where others quote
# them (2026-11-24), not at NVIDIA. No quotation was found, so these stand from memory: clock and bandwidth of the 4070 Ti SUPER;
# clock, bandwidth and fp32_rate of the RTX 6000 Ada; fp32_rate of the B200 (others give 75 to 80 TFLOP/s); fp32_lanes_sm above.
CARDS = (
    Card(
        "3090", "NVIDIA GeForce RTX 3090", capability=86, sm_count=82, boost_clock=1.695e9, l2_bytes=6 << 20,
        bandwidth=936e9, tf32_rate=35.6e12, half_rate=71e12, fp32_rate=35.6e12, measured=False,
        source="NVIDIA Ampere GA102 GPU Architecture whitepaper, appendix A",
    ),
    Card(
        "4070-ti-super", "NVIDIA GeForce RTX 4070 Ti SUPER", capability=89, sm_count=66, boost_clock=2.61e9, l2_bytes=48 << 20,
        bandwidth=672e9, tf32_rate=44.1e12, half_rate=88.2e12, fp32_rate=44.1e12, measured=False,
        source="NVIDIA's product page (cores, clock, bandwidth); torch on the card (SMs, L2); "
        "fp32_rate = 2 * 128 * SMs * clock; tf32_rate = fp32_rate, half_rate = 2 * fp32_rate as on the RTX 4080 and 4090",
    ),
    Card(
        "4080", "NVIDIA GeForce RTX 4080", capability=89, sm_count=76, boost_clock=2.505e9, l2_bytes=64 << 20,
        bandwidth=717e9, tf32_rate=48.7e12, half_rate=97.5e12, fp32_rate=48.7e12, measured=False,
        source="NVIDIA Ada GPU Architecture whitepaper, appendix A",
    ),
    Card(
        "4090", "NVIDIA GeForce RTX 4090", capability=89, sm_count=128, boost_clock=2.52e9, l2_bytes=72 << 20,
        bandwidth=1008e9, tf32_rate=82.6e12, half_rate=165.2e12, fp32_rate=82.6e12, measured=False,
        source="NVIDIA Ada GPU Architecture whitepaper, appendix A",
    ),
    Card(
        "5080", "NVIDIA GeForce RTX 5080", capability=120, sm_count=84, boost_clock=2.617e9, l2_bytes=64 << 20,
        bandwidth=960e9, tf32_rate=56.3e12, half_rate=112.6e12, fp32_rate=56.3e12, measured=False,
        source="NVIDIA RTX Blackwell GPU Architecture whitepaper, appendix; half_rate is half of 225 with float16 accumulation",
    ),
    Card(
        "5090", "NVIDIA GeForce RTX 5090", capability=120, sm_count=170, boost_clock=2.407e9, l2_bytes=96 << 20,
        bandwidth=1792e9, tf32_rate=104.8e12, half_rate=209.5e12, fp32_rate=104.8e12, measured=False,
        source="NVIDIA RTX Blackwell GPU Architecture whitepaper, appendix; half_rate is half of 419 with float16 accumulation",
    ),
    Card(
        "a10g", "NVIDIA A10G", capability=86, sm_count=80, boost_clock=1.71e9, l2_bytes=6 << 20,
        bandwidth=600e9, tf32_rate=35e12, half_rate=70e12, fp32_rate=35e12, measured=False,
        source="torch on the card (SMs: 80, where many lists have the A10's 72); bandwidth and half_rate as lists of several projects "
        "have them, NVIDIA's own brief not seen; tf32_rate = half_rate / 2; boost_clock = fp32_rate / (2 * 128 * SMs); l2_bytes = GA102's",
    ),
    Card(
        "a100-pcie-40gb", "NVIDIA A100-PCIE-40GB", capability=80, sm_count=108, boost_clock=1.41e9, l2_bytes=40 << 20,
        bandwidth=1555e9, tf32_rate=156e12, half_rate=312e12, fp32_rate=19.5e12, measured=False,
        source="NVIDIA A100 datasheet; clock, SMs and L2: NVIDIA A100 Tensor Core GPU Architecture whitepaper, table 4",
    ),
    Card(
        "a100-sxm4-40gb", "NVIDIA A100-SXM4-40GB", capability=80, sm_count=108, boost_clock=1.41e9, l2_bytes=40 << 20,
        bandwidth=1555e9, tf32_rate=156e12, half_rate=312e12, fp32_rate=19.5e12, measured=False,
        source="NVIDIA A100 Tensor Core GPU Architecture whitepaper, table 4",
    ),
    Card(
        "a100-80gb-pcie", "NVIDIA A100 80GB PCIe", capability=80, sm_count=108, boost_clock=1.41e9, l2_bytes=40 << 20,
        bandwidth=1935e9, tf32_rate=156e12, half_rate=312e12, fp32_rate=19.5e12, measured=False,
        source="NVIDIA A100 datasheet (80GB PCIe); the rest as the 40 GB card's",
    ),
    Card(
        "a100-sxm4-80gb", "NVIDIA A100-SXM4-80GB", capability=80, sm_count=108, boost_clock=1.41e9, l2_bytes=40 << 20,
        bandwidth=2039e9, tf32_rate=156e12, half_rate=312e12, fp32_rate=19.5e12, measured=False,
        source="NVIDIA A100 datasheet (80GB SXM); the rest as the 40 GB card's",
    ),
    Card(
        "l4", "NVIDIA L4", capability=89, sm_count=58, boost_clock=2.04e9, l2_bytes=48 << 20,
        bandwidth=300e9, tf32_rate=60e12, half_rate=121e12, fp32_rate=30.3e12, measured=False,
        source="NVIDIA L4 datasheet (120 and 242 TFLOP/s are with sparsity); SMs = 7,424 cores / 128; L2: Ada whitepaper (AD104)",
    ),
    Card(
        "l40s", "NVIDIA L40S", capability=89, sm_count=142, boost_clock=2.52e9, l2_bytes=96 << 20,
        bandwidth=864e9, tf32_rate=183e12, half_rate=362e12, fp32_rate=91.6e12, measured=False,
        source="NVIDIA L40S datasheet; L2: Ada whitepaper (AD102)",
    ),
    Card(
        "rtx-6000-ada-generation", "NVIDIA RTX 6000 Ada Generation", capability=89, sm_count=142, boost_clock=2.505e9, l2_bytes=96 << 20,
        bandwidth=960e9, tf32_rate=182.1e12, half_rate=364.2e12, fp32_rate=91.1e12, measured=False,
        source="NVIDIA RTX 6000 Ada datasheet (fp32_rate, bandwidth); torch on the card (SMs); L2: Ada whitepaper (AD102); "
        "half_rate = 4 * fp32_rate, tf32_rate = 2 * fp32_rate, not seen in a source: the L40S, the same chip, has these ratios",
    ),
    Card(
        "h100", "NVIDIA H100 80GB HBM3", capability=90, sm_count=132, boost_clock=1.98e9, l2_bytes=50 << 20,
        bandwidth=3350e9, tf32_rate=494e12, half_rate=989e12, fp32_rate=67e12, measured=False,
        source="NVIDIA H100 datasheet (SXM; the tensor rates there are with sparsity)",
    ),
    Card(
        "h100-pcie", "NVIDIA H100 PCIe", capability=90, sm_count=114, boost_clock=1.755e9, l2_bytes=50 << 20,
        bandwidth=2000e9, tf32_rate=378e12, half_rate=756e12, fp32_rate=51e12, measured=False,
        source="NVIDIA H100 datasheet (PCIe; 756 and 1513 TFLOP/s are with sparsity)",
    ),
    Card(
        "h200", "NVIDIA H200", capability=90, sm_count=132, boost_clock=1.98e9, l2_bytes=60 << 20,
        bandwidth=4300e9, tf32_rate=360e12, half_rate=720e12, fp32_rate=67e12, measured=True,
        source="measured by 2026-11-20, versions not recorded: copy 4.3 TB/s; 8192^3 matmul of random data: TF32 360, float16 657 to 790 "
        "TFLOP/s, of which 720 is the floor's convention. NVIDIA H200 datasheet: everything else",
    ),
    Card(
        "b200", "NVIDIA B200", capability=100, sm_count=148, boost_clock=1.965e9, l2_bytes=126 << 20,
        bandwidth=8000e9, tf32_rate=1125e12, half_rate=2250e12, fp32_rate=75e12, measured=False,
        source="NVIDIA DGX B200 and HGX B200 datasheets over 8 GPUs (64 TB/s; 18, 36 PFLOP/s with sparsity; 600 TFLOP/s); "
        "torch on the card (SMs, L2); boost_clock = the largest SM clock of the driver as reported by others, not seen in a datasheet",
    ),
)  # fmt: skip
