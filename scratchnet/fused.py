"""Whole layers as one primitive: a forward and a backward pass derived by hand, beside the plain formula."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scratchnet.backward import partial_gradients
from scratchnet.tape import Array, Edge, Make, Node, Primitive, Variable


class Fused(Primitive):
    """A primitive that computes the gradients of all its inputs together; made by `fused`."""

    def __init__(
        self,
        compute: Callable[..., tuple[Any, Any]],
        backward: Callable[..., Sequence[Any]],
        formula: Callable[..., Any] | None,
        value: Callable[..., Any] | None,
    ) -> None:
        super().__init__(compute)
        self.compute = compute
        self.forward = value or self._output_of
        self.backward = backward
        self.formula = formula
        self.takes_rooms = "rooms" in inspect.signature(backward).parameters
        self.keeps_all = True

    def differentiate(self, *rules: Any) -> None:
        """Rules for the second derivative, where they cost less than to run the formula again.

        An input that neither they nor the backward pass reads, as its leading underscore says, is not kept.
        """
        super().differentiate(*rules)
        inputs = list(inspect.signature(self.backward).parameters)[3 : 3 + len(rules)]
        self.keeps = tuple(
            keep or not name.startswith("_") for keep, name in zip(self.keeps, inputs, strict=True)
        )
        self.keeps_all = all(self.keeps)

    def _output_of(self, *inputs: Any, **constants: Any) -> Any:
        return self.compute(*inputs, **constants)[0]

    def record(
        self, make: Make, edges: Sequence[Edge | None], arrays: Sequence[Any], constants: dict[str, Any]
    ) -> Variable:
        """Computes the output, keeps what the backward pass wants, and puts both on the tape."""
        output, saved = self.compute(*arrays, **constants)
        return make(output, Node(self, edges, arrays, output, constants, saved))

    def pull_back(
        self,
        node: Node,
        total: Any,
        wanted: Sequence[bool],
        make: Make | None,
        rooms: Sequence[Array | None] | None,
    ) -> Iterable[Any]:
        """By hand on arrays; by the rules or the formula where the gradient itself is recorded."""
        if make is not None:
            if self.formula is None:
                return super().pull_back(node, total, wanted, make, rooms)
            return partial_gradients(self.formula, node, total, wanted, make)
        if not self.takes_rooms:
            return self.backward(total, node.saved, wanted, *node.inputs, **node.constants)
        places = [None] * len(wanted) if rooms is None else rooms
        return self.backward(total, node.saved, wanted, *node.inputs, rooms=places, **node.constants)


def fused(
    *,
    backward: Callable[..., Sequence[Any]],
    formula: Callable[..., Any] | None = None,
    value: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., tuple[Any, Any]]], Fused]:
    """Decorator that makes one primitive of a whole layer.

    What is decorated computes on arrays and returns ``(output, saved)``: one array, and whatever the
    backward pass wants from the forward pass (a tuple of arrays, say; never kept outside the tape).

    Args:
        backward: ``backward(gradient, saved, wanted, *inputs, **constants)`` on arrays, which returns the
            gradient of each input in its shape and dtype, and None where ``wanted`` is false. If it also
            names an argument ``rooms`` it gets, for each input, an array to write that gradient into
            (as ``out=``, and then to return), or None.
        formula: The same function, ``formula(*inputs, **constants)``, composed of other primitives on
            tensors: what a reader wants to see, what the tests compare with, and what the tape
            differentiates where a derivative of the gradient is wanted. It can be left out where
            `Primitive.differentiate` gives rules.
        value: The same output alone, to the last bit, on arrays: what runs where nothing is recorded, and
            worth giving where what would be saved costs time.

    Example:
        >>> import numpy as np, scratchnet as sn
        >>> from scratchnet.ops import elementwise
        >>> @fused(
        ...     backward=lambda g, slope, wanted, x: [g * slope],
        ...     formula=lambda x: x * elementwise.sigmoid(x),
        ... )
        ... def silu(x):
        ...     gate = 1 / (1 + np.exp(-x))
        ...     return x * gate, gate * (1 + x * (1 - gate))
        >>> x = sn.Tensor(np.array([0.0]), requires_grad=True)
        >>> silu(x).backward()
        >>> x.grad.numpy(), sn.hvp(lambda: silu(x).sum(), [x], [np.ones(1)])
        (array([0.5]), [array([0.5])])
    """
    return lambda compute: Fused(compute, backward, formula, value)
