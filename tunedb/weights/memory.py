"""GPU memory that outlives the call that asks for it."""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["kept_empty"]


def kept_empty(shape: tuple[int, ...], dtype: "torch.dtype", device: "torch.device") -> "Tensor":
    """Return an uninitialised tensor that belongs to no private memory pool.

    torch.compile(mode="reduce-overhead") and torch.cuda.use_mem_pool send every allocation of the current *thread* to a pool
    of their own, whose memory must not outlive the graph that is being made; torch tells pools apart by thread. So a GPU's
    memory is allocated by a short-lived thread: about 0.1 ms, once for a weight. It is of the caller's current stream, so
    that what the caller queues next may write it. Such a thread is also outside of inference_mode.
    Raises what torch raises where memory is short.
    """
    import torch

    if device.type != "cuda":
        with torch.inference_mode(mode=False):
            return torch.empty(shape, dtype=dtype, device=device)
    stream = torch.cuda.current_stream(device)
    found: list[Tensor | BaseException] = []

    def allocate() -> None:
        try:
            with torch.cuda.stream(stream):
                found.append(torch.empty(shape, dtype=dtype, device=device))
        except BaseException as error:  # noqa: BLE001 (raised below, in the caller's thread)
            found.append(error)

    helper = threading.Thread(target=allocate, name="tunedb-kept-memory")
    helper.start()
    helper.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]
