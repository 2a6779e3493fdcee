"""Gluon for Triton's interpreter: shared memory, asynchronous copies and products give the results that a GPU would.

Triton's interpreter only runs kernels written in Triton's own language. `imported` imports a Gluon kernel with stand-ins for
Gluon's modules. Distributed layouts are ignored. Shared memory is an array of vectors of 16 bytes, which holds NaN at first;
a tile lies in it as kernels/shared_rows/layouts.py says.

Races become NaN, so that a test sees them. A product is NaN
- where it reads what was written without a fence and then a barrier, or copied and not waited for;
- where its operands are overwritten before it was waited for, or before the barrier after that: another warp may still be
  waiting.
"""

import importlib
import itertools
import math
import sys
import types

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

# How far a vector of shared memory is: being copied, written, fenced, visible to all threads, visible to the matrix unit too.
COPYING, WRITTEN, FENCED, VISIBLE, MULTIPLIABLE = range(5)


class _Buffer:
    """One allocation of shared memory, as lines of one vector each."""

    def __init__(self, dtype, shape, _layout=None):
        kind = np.dtype({"bf16": np.uint16, "fp16": np.float16, "fp32": np.float32}[dtype.name])
        self.dtype = dtype
        self.nan = 0x7FC0 if kind == np.uint16 else np.nan
        vector = 16 // kind.itemsize
        lines = math.prod(_number(size) for size in shape) // vector
        self.data = np.full((lines, vector), self.nan, kind)
        self.state = np.full(lines, MULTIPLIABLE)

    def index(self, line):
        return _Tile(self, _number(line))


class _Tile:
    """Rows and columns of a buffer from a given line on: the first vector of every row, then the second of every row, and so on."""

    def __init__(self, buffer, first):
        self.buffer, self.first = buffer, first

    def _reinterpret(self, _dtype, shape, _layout):
        rows, columns = (_number(size) for size in shape)
        vector = self.buffer.data.shape[1]
        column = np.arange(columns)
        self.lines = self.first + column // vector * rows + np.arange(rows)[:, None]
        self.elements = np.broadcast_to(column % vector, self.lines.shape)
        return self

    def permute(self, _order):
        return _Transposed(self)

    def store(self, value):
        self.write(value, WRITTEN)

    def load(self, _layout):
        return self.values(VISIBLE)

    def write(self, value, state):
        _Allocation.products.overwritten(self)
        if value is not None:
            data = value.handle.data
            assert data.dtype == self.buffer.data.dtype
            self.buffer.data[self.lines, self.elements] = data
        self.buffer.state[self.lines] = state

    def operand(self, axis):
        """Return the values for a product, which reads them; those that the matrix unit cannot read yet are NaN."""
        _Allocation.products.reads.append((self, axis))
        return self.values(MULTIPLIABLE)

    def values(self, least):
        found = self.buffer.data[self.lines, self.elements].copy()
        found[self.buffer.state[self.lines] < least] = self.buffer.nan
        handle = interpreter.TensorHandle(found, self.buffer.dtype)
        return tl.tensor(handle, tl.block_type(self.buffer.dtype, list(self.lines.shape)))


class _Transposed:
    def __init__(self, tile):
        self.tile = tile

    def operand(self, axis):
        return tl.trans(self.tile.operand(axis))

    def load(self, layout):
        return tl.trans(self.tile.load(layout))


def _number(value):
    value = getattr(value, "value", value)
    handle = getattr(value, "handle", None)
    return int(value if handle is None else handle.data.reshape(-1)[0])


class _Copies:
    """Asynchronous copies by group: they take effect when they are waited for."""

    def __init__(self):
        self.open, self.groups = [], []

    def async_copy_global_to_shared(self, tile, pointer, mask=None):
        tile.write(None, COPYING)
        if mask is None or mask:
            self.open.append((tile, pointer))

    def commit_group(self):
        self.groups.append(self.open)
        self.open = []

    def wait_group(self, outstanding):
        while len(self.groups) > _number(outstanding):
            for tile, pointer in self.groups.pop(0):
                tile.write(tl.load(pointer), WRITTEN)


class _Products:
    """What asynchronous products read, and which of it was overwritten too early.

    `running` were not waited for. `ended` were, but there was no barrier since: another warp may not have waited for them.
    """

    def __init__(self):
        self.reads, self.running, self.ended, self.lost = [], [], [], {}

    def overwritten(self, tile):
        for read, axis in itertools.chain(*self.running, *self.ended):
            if read.buffer is tile.buffer:
                lost = self.lost.setdefault(axis, np.zeros(len(read.lines), bool))
                lost |= np.isin(read.lines, tile.lines).any(1)

    def begun(self):
        self.running.append(self.reads)
        self.reads = []

    def waited(self, outstanding, sums):
        """Set sums to NaN whose operands were overwritten too early, and leave at most `outstanding` products running."""
        for tensor in sums:
            for axis, lost in self.lost.items():
                np.moveaxis(tensor.handle.data, axis, 0)[lost] = np.nan
        self.lost = {}
        gone = max(0, len(self.running) - outstanding)
        self.ended += self.running[:gone]
        self.running = self.running[gone:]


def _barrier():
    """Make what was written visible to all threads, and what was fenced also to the matrix unit."""
    _advance(FENCED, MULTIPLIABLE)
    _advance(WRITTEN, VISIBLE)
    _Allocation.products.ended = []


def _advance(before, after):
    for buffer in _Allocation.buffers:
        buffer.state[buffer.state == before] = after


def warpgroup_mma(one, other, total, is_async=False):
    # The interpreter keeps a bfloat16 as the integer of its bits.
    one, other = one.operand(0).to(tl.float32), other.operand(1).to(tl.float32)
    _Allocation.products.begun()
    return tl.dot(one, other, total, input_precision="tf32")


def mma_v2(one, other, total, input_precision):
    return tl.dot(one.to(tl.float32), other.to(tl.float32), total, input_precision=input_precision)


def warpgroup_mma_wait(outstanding, deps):
    _Allocation.products.waited(_number(outstanding), deps)
    return deps if len(deps) > 1 else deps[0]


class InterpretedFunction(interpreter.InterpretedFunction):
    """A function whose constants are annotated gl.constexpr: the interpreter looks for tl.constexpr."""

    def rewrite(self):
        function = super().rewrite()
        function.__annotations__ = {
            name: kind.replace("gl.", "tl.") for name, kind in function.__annotations__.items()
        }
        return function


class _Allocation:
    """The buffers of the running program; a new program starts with none."""

    buffers, program, products = (), None, _Products()

    def __new__(cls, dtype, shape, layout):
        program = interpreter.interpreter_builder.grid_idx
        if program != cls.program:
            cls.buffers, cls.program = (), program
            cls.products = _Products()
        buffer = _Buffer(dtype, shape, layout)
        cls.buffers += (buffer,)
        return buffer


def imported(kernel):
    """Import a module that is written in Gluon with the stand-ins in the place of Gluon."""
    language = types.ModuleType("triton.experimental.gluon.language")
    for name in ("program_id", "expand_dims", "permute", "reshape", "load", "store", "static_range", "where"):
        # Looked up when called: the interpreter puts its own functions into triton.language for the time of a run.
        setattr(language, name, lambda *args, name=name, **options: getattr(tl, name)(*args, **options))
    for name in ("constexpr", "float32", "int32", "int64"):
        setattr(language, name, getattr(tl, name))
    language.arange = lambda start, end, layout=None: tl.arange(start, end)  # noqa: ARG005
    language.zeros = lambda shape, dtype, layout=None: tl.zeros(shape, dtype)  # noqa: ARG005
    language.convert_layout = lambda value, layout: value  # noqa: ARG005
    language.allocate_shared_memory = _Allocation
    language.barrier = _barrier
    for name in (
        "BlockedLayout",
        "SliceLayout",
        "SharedLinearLayout",
        "SwizzledSharedLayout",
        "NVMMADistributedLayout",
        "DotOperandLayout",
    ):
        setattr(language, name, lambda *_: None)
    gluon = types.ModuleType("triton.experimental.gluon")
    gluon.jit, gluon.language, gluon.constexpr_function = (
        InterpretedFunction,
        language,
        lambda function: function,
    )
    hopper = types.ModuleType("triton.experimental.gluon.language.nvidia.hopper")
    hopper.async_copy = _Copies()
    hopper.fence_async_shared = lambda: _advance(WRITTEN, FENCED)
    hopper.warpgroup_mma = warpgroup_mma
    hopper.warpgroup_mma_init = lambda value: value
    hopper.warpgroup_mma_wait = warpgroup_mma_wait
    ampere = types.ModuleType("triton.experimental.gluon.language.nvidia.ampere")
    ampere.mma_v2 = mma_v2
    stand_ins = {
        "triton.experimental.gluon": gluon,
        "triton.experimental.gluon.language": language,
        "triton.experimental.gluon.language.nvidia.ampere": ampere,
        "triton.experimental.gluon.language.nvidia.hopper": hopper,
    }
    # Triton itself looks into Gluon's own modules later on.
    own = {name: sys.modules.pop(name, None) for name in stand_ins}
    sys.modules |= stand_ins
    try:
        module = importlib.import_module(kernel)
        module.tl = tl  # the interpreter patches the module that it finds among a function's globals
        return module
    finally:
        for name, module in own.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
