"""The tape: what is recorded while a network computes, and how a gradient finds its way back.

A `Primitive` is a function on arrays beside one rule for each of its inputs. A rule multiplies a
gradient by the transposed Jacobian (a vector-Jacobian product), and is written once, in terms of
operators and other primitives. It then serves twice: given arrays it computes at NumPy's speed and
records nothing; given tensors it is itself recorded, so that a gradient can be differentiated again.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from functools import wraps
from types import NoneType
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from scratchnet.hooks import Handle, Hooks

Array = NDArray[Any]
Rule = Callable[..., Any]
P = ParamSpec("P")
T = TypeVar("T")

_is_recording: ContextVar[bool] = ContextVar("is_recording", default=True)


class recording:  # noqa: N801 - read as a statement: `with recording(False):`
    """Records, or does not record, what is computed inside the block or function, in this context only."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_is_recording.set(self._enabled))

    def __exit__(self, *_error: object) -> None:
        _is_recording.reset(self._tokens.pop())

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """The function, run inside such a block."""

        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            with recording(self._enabled):
                return function(*args, **kwargs)

        return inside


def no_grad() -> recording:
    """Context or decorator inside which nothing is recorded: evaluation costs no memory.

    Example:
        >>> import scratchnet as sn
        >>> weight = sn.Tensor(np.ones(2), requires_grad=True)
        >>> with sn.no_grad():
        ...     (weight * 2).requires_grad
        False
    """
    return recording(False)


def is_recording() -> bool:
    """Whether a computation on tensors that require gradients is being recorded here."""
    return _is_recording.get()


class Variable:
    """An array with a place on the tape; `scratchnet.Tensor` gives it operators.

    A variable is a leaf (the user made it; ``node`` is None) or the output of a primitive.
    """

    __slots__ = ("__weakref__", "array", "grad", "grad_buffer", "hooks", "node", "requires_grad")

    array: Array
    requires_grad: bool
    grad: Any
    grad_buffer: Array | None
    hooks: Hooks | None
    node: "Node | None"

    @classmethod
    def make(cls, array: Array, node: "Node | None") -> "Variable":
        """A variable of the library's ordinary class, whatever class the inputs had."""
        raise TypeError("use scratchnet.Tensor")

    def register_hook(self, hook: Callable[[Array], None]) -> Handle:
        """Has ``hook(gradient)`` called with each gradient that reaches this tensor; it may read it."""
        if not self.requires_grad:
            raise RuntimeError("register_hook needs a tensor that requires a gradient; this one does not")
        speaker = self if self.node is None else self.node
        if speaker.hooks is None:
            speaker.hooks = Hooks()
        return speaker.hooks.add(hook)


class Node:
    """One recorded call of a primitive. It knows earlier nodes only, so the tape holds no reference cycle."""

    __slots__ = (
        "constants",
        "depth",
        "edges",
        "hooks",
        "inputs",
        "is_freed",
        "output",
        "primitive",
        "saved",
        "shape",
    )

    def __init__(
        self,
        primitive: "Primitive",
        edges: "Sequence[Edge | None]",
        arrays: Sequence[Any],
        output: Array,
        constants: dict[str, Any],
        saved: Any = None,
    ) -> None:
        self.primitive = primitive
        self.edges = edges
        self.inputs = arrays if primitive.keeps_all else primitive.kept(arrays)
        self.output = output if primitive.keeps_output else None
        self.shape = output.shape
        self.constants = constants
        self.saved = saved
        # A node lies deeper than whatever it was computed from: sorting by depth is a topological order.
        depth = 0
        for edge in edges:
            if type(edge) is Node and edge.depth > depth:
                depth = edge.depth
        self.depth: int = depth + 1
        self.hooks: Hooks | None = None
        self.is_freed = False

    def free(self) -> None:
        """Lets go of arrays and of earlier nodes; the chain comes apart node by node, not recursively."""
        self.inputs, self.output, self.saved, self.edges, self.is_freed = [], None, None, (), True

    def recall(self, make: "Make | None") -> list[Any]:
        """Output and inputs as its rules want them: plain arrays, or (with ``make``) variables on the tape."""
        if make is None:
            return [self.output, *self.inputs]
        output = None if self.output is None else make(self.output, self)
        return [output, *self.recall_inputs(make)]

    def recall_inputs(self, make: "Make") -> list[Any]:
        """The inputs, those that a gradient flows to as variables."""
        return [
            array if edge is None or array is None else make(array, edge) if isinstance(edge, Node) else edge
            for edge, array in zip(self.edges, self.inputs, strict=True)
        ]


Edge = Node | Variable
Make = Callable[[Array, Node | None], Variable]


class Primitive:
    """A function on arrays that can be recorded, and the rules that differentiate it.

    A rule is called as ``rule(gradient, output, *inputs, **constants)``. What every rule names with a
    leading underscore, none of them reads: it is not kept in memory for the backward pass, and arrives
    as None. A rule may return a gradient of the broadcast shape; the tape sums it to the input's own.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        self.rules: tuple[Rule | None, ...] = ()
        self.keeps: tuple[bool, ...] = ()
        self.keeps_all = False
        self.keeps_output = False
        self.takes_rooms = False
        self.__name__ = self.name = forward.__name__
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def differentiate(self, *rules: Rule | None) -> None:
        """Gives one rule for each positional input, in their order; None where the derivative is zero."""
        self.rules = rules
        names = [tuple(inspect.signature(rule).parameters) for rule in rules if rule is not None]
        self.keeps_output = any(not named[1].startswith("_") for named in names)
        self.keeps = tuple(
            any(not named[2 + index].startswith("_") for named in names) for index in range(len(rules))
        )
        self.keeps_all = all(self.keeps)

    def kept(self, arrays: Sequence[Any]) -> list[Any]:
        """The arrays that a rule reads, None for the others."""
        return [array if keep else None for array, keep in zip(arrays, self.keeps, strict=True)]

    def __call__(self, *inputs: Any, **constants: Any) -> Any:
        """Computes on arrays; records too, where one of the inputs is a variable."""
        for first in inputs:
            if isinstance(first, Variable):
                break
        else:
            return self.forward(*inputs, **constants)
        dtype = first.array.dtype
        # One loop and no helpers: this is where a small network spends its time.
        arrays: list[Any] = []
        edges: list[Edge | None] = []
        is_wanted = False
        for value in inputs:
            if not isinstance(value, Variable):
                arrays.append(_plain_array(value, dtype))
                edges.append(None)
                continue
            arrays.append(value.array)
            if value.array.dtype != dtype:
                return self(*self._of_one_dtype(inputs), **constants)
            if value.requires_grad:
                edges.append(value if value.node is None else value.node)
                is_wanted = True
            else:
                edges.append(None)
        if is_wanted and _is_recording.get():
            return self.record(first.make, edges, arrays, constants)
        return first.make(self.forward(*arrays, **constants), None)

    def record(
        self, make: Make, edges: Sequence[Edge | None], arrays: Sequence[Any], constants: dict[str, Any]
    ) -> Variable:
        """Computes the output and puts it on the tape."""
        output = self.forward(*arrays, **constants)
        return make(output, Node(self, edges, arrays, output, constants))

    def pull_back(
        self,
        node: Node,
        total: Any,
        wanted: Sequence[bool],
        make: Make | None,
        rooms: Sequence[Array | None] | None,
    ) -> Iterable[Any]:
        """The gradient of each wanted input and None for the others; variables where there is ``make``.

        ``rooms`` are arrays to write the gradients of leaves into, for a primitive that takes them.
        """
        recalled = node.recall(make)
        return [
            rule(total, *recalled, **node.constants) if want and rule is not None else None
            for want, rule in zip(wanted, self.rules, strict=True)
        ]

    def _of_one_dtype(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs with data, which needs no gradient, as plain arrays: it takes the dtype of what does."""
        learned = {
            value.array.dtype for value in inputs if isinstance(value, Variable) and value.requires_grad
        }
        if len(learned) != 1:
            came = sorted({str(value.array.dtype) for value in inputs if isinstance(value, Variable)})
            raise TypeError(
                f"{self.name} needs tensors of one dtype, got {' and '.join(came)}; "
                f"convert a model with .double() or .float(), data with .numpy().astype()"
            )
        return [
            value.array if isinstance(value, Variable) and not value.requires_grad else value
            for value in inputs
        ]


def _plain_array(value: Any, dtype: np.dtype[Any]) -> Any:
    if type(value) in (float, int, bool, NoneType):
        return value
    # Plain data is weak, as Python's own numbers are: float64 pixels do not widen a float32 network.
    # An integer tensor does not ask for it, for that would cut the fractions off.
    return np.asarray(value, dtype if dtype.kind == "f" else None)


def primitive(forward: Callable[..., Any]) -> Primitive:
    """Decorator that makes a primitive of a function on arrays; `Primitive.differentiate` adds the rules."""
    return Primitive(forward)


def edge_of(value: Any) -> Edge | None:
    """Where a gradient of this value goes: its node, the value itself if it is a leaf, or nowhere."""
    if not isinstance(value, Variable) or not value.requires_grad:
        return None
    return value if value.node is None else value.node
