"""cudnn_last: cuDNN's own convolution in channels_last, where it is fastest, between passes that cost what the memory does.

    channels_first  x --transpose--> x'   x', w' --cuDNN--> y'   y' --transpose, + bias--> y
    channels_last                         x , w' --cuDNN--> y'   y' --+ bias------------> y     (without a bias: straight into y)

Torch could do the same by hand: `model.to(memory_format=torch.channels_last)`. But in channels_first it runs cuDNN's
channels_first kernels, which are slower or transpose inside; in either layout it adds the bias in a pass at 40 % of the memory's
speed; and a weight that is not channels_last is converted in every call. Here the weight is converted once and kept. The products
are cuDNN's, so that the error is torch's own.

cuDNN chooses by trying its kernels (as with `torch.backends.cudnn.benchmark`) in the first call of a shape, which takes some tens of
milliseconds; while a CUDA graph is captured it chooses by its heuristic instead. It chooses among kernels that give the same bits in
every call.
"""

from tunedb.kernels.cudnn_last.launch import Config, plan, roundings, signature, valid
from tunedb.kernels.cudnn_last.space import EAGER_FROM_US, UNRANKED_ON, default, space, work

from tunedb.problem import OPS

__all__ = [
    "EAGER_FROM_US",
    "OPS",
    "UNRANKED_ON",
    "Config",
    "default",
    "plan",
    "roundings",
    "signature",
    "space",
    "valid",
    "work",
]
