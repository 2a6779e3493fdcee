"""Which errors are the GPU's failures: one definition for the bench and for the process around it."""

__all__ = ["is_gpu_failure", "is_out_of_memory"]

# What the messages of torch's and Triton's GPU errors contain.
WORDS = ("CUDA", "Triton Error", "cuDNN", "CUDNN", "CUBLAS")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the GPU had too little memory; it goes on."""
    return "OutOfMemoryError" in _names(error)


def is_gpu_failure(error: BaseException) -> bool:
    """Return whether the GPU made a call fail; anything else is a bug of our own."""
    if "AcceleratorError" in _names(error):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def _names(error: BaseException) -> set[str]:
    # By name, so that torch need not be imported; before 2.8 it had no AcceleratorError.
    return {kind.__name__ for kind in type(error).__mro__}
