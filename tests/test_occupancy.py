"""How many blocks an SM holds, and what a launch asks for so that a newer GPU holds no more than an older one."""

import pytest

from tunedb.device import by_slug
from tunedb.device.occupancy import padded_shared, residency


@pytest.mark.parametrize(
    ("warps", "shared", "registers", "slug", "resident"),
    [
        (4, 0, 32, "4090", 12),  # 48 warps
        (1, 0, 32, "4090", 24),  # slots
        (1, 0, 32, "h200", 32),
        (1, 0, 32, "3090", 16),
        (1, 0, 32, "5090", 24),
        (4, 49152, 64, "4090", 2),  # 100 KB of shared memory
        (8, 0, 128, "h200", 2),  # 65536 registers
        (8, 0, 129, "h200", 1),  # handed out in eights
        (4, 0, None, "h200", 16),  # unknown registers limit nothing
        (8, 232448, 255, "h200", 1),
        (4, 0, 32, "h200-sm89", 12),  # what the older GPU would hold
        (4, 49152, 64, "h200-sm89", 2),
    ],
)
def test_residency_is_the_scarcest_of_an_sms_resources(warps, shared, registers, slug, resident):
    """Warps, shared memory, registers or slots: the scarcest says how many programs an SM holds."""
    assert residency(warps, shared, registers, by_slug(slug)) == resident


@pytest.mark.parametrize("warps", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("shared", [0, 1000, 8192, 24000, 49152, 101376])
@pytest.mark.parametrize("registers", [None, 32, 96, 255])
@pytest.mark.parametrize("arch", ["sm80", "sm86", "sm89"])
def test_a_padded_block_is_held_as_often_as_on_the_older_gpu(warps, shared, registers, arch):
    """The GPU holds exactly the older one's blocks, and none takes more shared memory than a block may."""
    older, gpu = by_slug(f"h200-{arch}"), by_slug("h200")
    asked = padded_shared(warps, shared, registers, older, gpu)
    assert shared <= asked <= gpu.shared_block
    assert residency(warps, asked, registers, gpu) == residency(warps, shared, registers, older)


def test_what_is_held_apart_already_asks_for_its_own():
    """Registers hold two blocks of 8 warps with 128 of them on both: nothing is added."""
    assert padded_shared(8, 20000, 128, by_slug("h200-sm89"), by_slug("h200")) == 20000
