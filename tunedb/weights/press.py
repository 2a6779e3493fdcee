"""What packs weights in one layout: one launch on a GPU, torch's operations elsewhere."""

from typing import TYPE_CHECKING

from tunedb.errors import CaptureError
from tunedb.weights.layout import Layout, pack_with_torch
from tunedb.weights.memory import kept_empty
from tunedb.weights.table import DIMS, LIMIT, table

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Press"]

WARPS = 4

# Devices, with the bytes of an element and whether it is rounded, for which the kernel is compiled and loaded.
_loaded: "set[tuple[torch.device, int, bool]]" = set()


class Press:
    """Packs weights in one layout. On a GPU it needs the layout's table there, and the kernel compiled: see `prepare`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._tables: dict[torch.device, Tensor] = {}

    def __call__(self, weight: "Tensor", *, capturing: bool = False) -> "Tensor":
        """Return a weight packed in memory of the current thread's and stream's: that of a CUDA graph during a capture.

        Raises ProblemError: where the weight has not the layout's shape. Raises CaptureError: where what `prepare` makes is
        missing during a capture, in which it cannot be made.
        """
        import torch

        self.layout.check(weight)
        if not _by_kernel(self.layout, weight):
            return pack_with_torch(self.layout, weight)
        if capturing and not self._is_prepared(weight.dtype, weight.device):
            raise CaptureError(
                f"a weight must be packed before the first call is captured in a CUDA graph, but the shape {tuple(weight.shape)} "
                "is new: make one call with inputs of these shapes before the capture."
            )
        self.prepare(weight.dtype, weight.device)
        made = torch.empty(self.layout.shape, dtype=weight.dtype, device=weight.device)
        return self._write(weight, made)

    def kept(self, weight: "Tensor", before: "Tensor | None") -> "Tensor":
        """Return a weight packed in memory that outlives the call: in that of `before` where it has the same form."""
        self.layout.check(weight)
        form = (self.layout.shape, weight.dtype, weight.device)
        if before is None or (tuple(before.shape), before.dtype, before.device) != form:
            before = kept_empty(*form)
        if not _by_kernel(self.layout, weight):
            return before.copy_(pack_with_torch(self.layout, weight))
        self.prepare(weight.dtype, weight.device)
        return self._write(weight, before)

    def prepare(self, dtype: "torch.dtype", device: "torch.device") -> None:
        """Bring the table to a device, and compile and load the kernel: none of it is possible during a capture."""
        if self._is_prepared(dtype, device):
            return
        import torch

        if device not in self._tables:
            numbers = torch.tensor(table(self.layout), dtype=torch.int64)
            self._tables[device] = kept_empty(tuple(numbers.shape), torch.int64, device).copy_(numbers)
        # A launch that writes nothing compiles and loads, whatever the version of Triton.
        nothing = self._tables[device].view(_bits(dtype))
        self._launch(nothing, nothing, (0,) * DIMS, 0)
        _loaded.add((device, dtype.itemsize, self.layout.rounded))

    def clear(self) -> None:
        self._tables.clear()

    def _is_prepared(self, dtype: "torch.dtype", device: "torch.device") -> bool:
        return device in self._tables and (device, dtype.itemsize, self.layout.rounded) in _loaded

    def _write(self, weight: "Tensor", made: "Tensor") -> "Tensor":
        strides = weight.stride() + (0,) * (DIMS - weight.ndim)
        bits = _bits(weight.dtype)
        self._launch(weight.view(bits), made.view(bits), strides, made.numel())
        return made

    def _launch(self, weight: "Tensor", made: "Tensor", strides: tuple[int, ...], elements: int) -> None:
        import torch

        from tunedb.weights.pack_kernel import BLOCK, pack

        with torch.cuda.device_of(weight):  # type: ignore[no-untyped-call]
            pack[(max(1, -(-elements // BLOCK)),)](
                weight, made, self._tables[weight.device], len(self.layout.coordinates), elements, *strides,
                ROUNDED=self.layout.rounded, BLOCK=BLOCK, num_warps=WARPS,
            )  # fmt: skip


def _by_kernel(layout: Layout, weight: "Tensor") -> bool:
    """Return whether the kernel packs a weight: on a GPU, where 32 bits number its elements."""
    return weight.is_cuda and layout.elements <= LIMIT - 1024 and max(weight.stride()) <= LIMIT


def _bits(dtype: "torch.dtype") -> "torch.dtype":
    """Return the integer type as large as an element."""
    import torch

    return {2: torch.int16, 4: torch.int32}[dtype.itemsize]
