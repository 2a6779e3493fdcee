"""Gluon for Triton's interpreter: shared memory, asynchronous copies and wgmma as what they compute.

Triton's interpreter runs kernels written in its own language only. `imported` puts modules in the place of Gluon's that
give a kernel the same results. Distributed layouts are nothing. Shared memory is vectors of 16 bytes, NaN at first, in
which a tile lies as kernels/shared_rows_jit.cores has it. What a GPU would leave to chance is NaN: a product of what was
written without a fence and a barrier in between, or copied and not waited for, and one whose operands are overwritten
before it was waited for, or before a barrier after that, since another warp may still wait.
"""

import importlib
import itertools
import math
import sys
import types

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

MOVING, WRITTEN, FENCED, SEEN, THERE = range(5)  # what is known of a vector of shared memory


class _Room:
    """One allocation."""

    def __init__(self, dtype, shape, _layout=None):
        kind = np.dtype({"bf16": np.uint16, "fp16": np.float16, "fp32": np.float32}[dtype.name])
        self.dtype = dtype
        self.nan = 0x7FC0 if kind == np.uint16 else np.nan
        vector = 16 // kind.itemsize
        lines = math.prod(_number(size) for size in shape) // vector
        self.data = np.full((lines, vector), self.nan, kind)
        self.state = np.full(lines, THERE)

    def index(self, line):
        return _Tile(self, _number(line))


class _Tile:
    """Rows and columns from a vector of an allocation on: a vector of columns after another, each row after row."""

    def __init__(self, room, first):
        self.room, self.first = room, first

    def _reinterpret(self, _dtype, shape, _layout):
        rows, columns = (_number(size) for size in shape)
        vector = self.room.data.shape[1]
        column = np.arange(columns)
        self.lines = self.first + column // vector * rows + np.arange(rows)[:, None]
        self.places = np.broadcast_to(column % vector, self.lines.shape)
        return self

    def permute(self, _order):
        return _Transposed(self)

    def store(self, value):
        self.put(value, WRITTEN)

    def load(self, _layout):
        return self.values(SEEN)

    def put(self, value, state):
        _Allocation.products.overwritten(self)
        if value is not None:
            data = value.handle.data
            assert data.dtype == self.room.data.dtype
            self.room.data[self.lines, self.places] = data
        self.room.state[self.lines] = state

    def operand(self, axis):
        """Return the values; those that are not there yet are NaN."""
        _Allocation.products.reads.append((self, axis))
        return self.values(THERE)

    def values(self, least):
        found = self.room.data[self.lines, self.places].copy()
        found[self.room.state[self.lines] < least] = self.room.nan
        handle = interpreter.TensorHandle(found, self.room.dtype)
        return tl.tensor(handle, tl.block_type(self.room.dtype, list(self.lines.shape)))


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
    """Copies by group: under way until waited for."""

    def __init__(self):
        self.open, self.groups = [], []

    def async_copy_global_to_shared(self, tile, pointer, mask=None):
        tile.put(None, MOVING)
        if mask is None or mask:
            self.open.append((tile, pointer))

    def commit_group(self):
        self.groups.append(self.open)
        self.open = []

    def wait_group(self, outstanding):
        while len(self.groups) > _number(outstanding):
            for tile, pointer in self.groups.pop(0):
                tile.put(tl.load(pointer), WRITTEN)


class _Products:
    """Products by what they read: those not waited for, those that another warp may not have waited for, and what was overwritten."""

    def __init__(self):
        self.reads, self.under_way, self.ended, self.lost = [], [], [], {}

    def overwritten(self, tile):
        for read, axis in itertools.chain(*self.under_way, *self.ended):
            if read.room is tile.room:
                lost = self.lost.setdefault(axis, np.zeros(len(read.lines), bool))
                lost |= np.isin(read.lines, tile.lines).any(1)

    def begun(self):
        self.under_way.append(self.reads)
        self.reads = []

    def waited(self, outstanding, sums):
        """Make NaN of what a product read that was overwritten too early."""
        for tensor in sums:
            for axis, lost in self.lost.items():
                np.moveaxis(tensor.handle.data, axis, 0)[lost] = np.nan
        self.lost = {}
        gone = max(0, len(self.under_way) - outstanding)
        self.ended += self.under_way[:gone]
        self.under_way = self.under_way[gone:]


def _barrier():
    """What was written can be loaded by all threads, and what was fenced multiplied by an asynchronous unit."""
    _advance(FENCED, THERE)
    _advance(WRITTEN, SEEN)
    _Allocation.products.ended = []


def _advance(before, after):
    for room in _Allocation.rooms:
        room.state[room.state == before] = after


def warpgroup_mma(one, other, total, is_async=False):
    # The interpreter takes the bits of bfloat16 for integers.
    one, other = one.operand(0).to(tl.float32), other.operand(1).to(tl.float32)
    _Allocation.products.begun()
    return tl.dot(one, other, total, input_precision="tf32")


def mma_v2(one, other, total, input_precision):
    return tl.dot(one.to(tl.float32), other.to(tl.float32), total, input_precision=input_precision)


def warpgroup_mma_wait(outstanding, deps):
    _Allocation.products.waited(_number(outstanding), deps)
    return deps if len(deps) > 1 else deps[0]


class InterpretedFunction(interpreter.InterpretedFunction):
    """A function whose constants are annotated with Gluon's name, which the interpreter knows by Triton's."""

    def rewrite(self):
        function = super().rewrite()
        function.__annotations__ = {
            name: kind.replace("gl.", "tl.") for name, kind in function.__annotations__.items()
        }
        return function


class _Allocation:
    """The allocations of the program that runs: those of the one before are gone."""

    rooms, program, products = (), None, _Products()

    def __new__(cls, dtype, shape, layout):
        program = interpreter.interpreter_builder.grid_idx
        if program != cls.program:
            cls.rooms, cls.program = (), program
            cls.products = _Products()
        room = _Room(dtype, shape, layout)
        cls.rooms += (room,)
        return room


def imported(kernel):
    """Import a module that is written in Gluon, with the stand-ins in its place."""
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
        module.tl = tl  # by which the interpreter sees that there is something to interpret
        return module
    finally:
        for name, module in own.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
