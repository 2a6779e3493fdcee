"""A database of a test's that answers compiled calls, with plans that run on the CPU."""

import torch
from torch._dynamo.backends.common import aot_autograd

from tunedb.dispatch import lookup, operators
from tunedb.dispatch.plans import Plan
from tunedb.problem import OPS, is_transposed, rank

__all__ = ["Answers", "tensors"]

# The plans of these tests run on the CPU, under the operator that is CUDA's elsewhere.
_on_cpu = torch.library.Library("tunedb", "FRAGMENT")
_on_cpu.impl("tuned", operators._tuned, "CPU")


class Answers:
    """A database in which tunedb answers some operations; its plans call torch and count."""

    def __init__(self):
        self.ops, self.ran, self.graphs = set(OPS), [], []

    def answer(self, problem, _device):
        kernel = "fake" if problem.op in self.ops else "aten"
        return lookup.Answer("exact", kernel, None, None, "a test's")

    def make_plan(self, op, _x, _weight, _bias, *sizes):
        def run(x, weight, bias):
            self.ran.append(op)
            last = operators._is_last(x, weight)
            out = operators.torch_convolution(op, x.contiguous(), weight, bias, *sizes)  # bits of one layout
            return out.contiguous(memory_format=torch.channels_last) if last and out.dim() == 4 else out

        return Plan(run if op in self.ops else None, 0, "a test's", sizes)

    def compile(self, function, **options):
        """Compile without a graph break; the graphs that a backend gets are kept."""

        def keep(graph, _):
            self.graphs.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
            return graph

        torch._dynamo.reset()
        return torch.compile(function, fullgraph=True, backend=aot_autograd(fw_compiler=keep), **options)


def tensors(op, n=2, c=(4, 6), extent=7, k=3, groups=1):
    generator = torch.Generator().manual_seed(3)
    axes = rank(op)
    lead = (c[0], c[1] // groups) if is_transposed(op) else (c[1], c[0] // groups)
    shapes = ((n, c[0], *(extent,) * axes), (*lead, *(k,) * axes), (c[1],))
    return [torch.randn(shape, generator=generator) for shape in shapes]
