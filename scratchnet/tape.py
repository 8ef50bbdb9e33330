"""The tape: what is recorded while a network computes, and how a gradient finds its way back.

A `Primitive` is a function on arrays beside one rule for each of its inputs. A rule multiplies a
gradient by the transposed Jacobian (a vector-Jacobian product), and is written once, in terms of
operators and other primitives. It then serves twice: given arrays it computes at NumPy's speed and
records nothing; given tensors it is itself recorded, so that a gradient can be differentiated again.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchnet.hooks import Handle, Hooks

Array = NDArray[Any]
Rule = Callable[..., Any]

_is_recording: ContextVar[bool] = ContextVar("is_recording", default=True)


@contextmanager
def recording(enabled: bool) -> Iterator[None]:
    """Records, or does not record, what is computed inside the block, in this context only."""
    token = _is_recording.set(enabled)
    try:
        yield
    finally:
        _is_recording.reset(token)


def no_grad() -> Any:
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
        "shapes",
    )

    def __init__(
        self,
        primitive: "Primitive",
        edges: "tuple[Edge | None, ...]",
        arrays: Sequence[Any],
        output: Array,
        constants: dict[str, Any],
    ) -> None:
        self.primitive = primitive
        self.edges = edges
        self.shapes = [np.shape(array) for array in arrays]
        kept = zip(arrays, primitive.keeps, strict=True)
        self.inputs = [array if keep else None for array, keep in kept]
        self.output = output if primitive.keeps_output else None
        self.constants = constants
        # A node lies deeper than whatever it was computed from: sorting by depth is a topological order.
        self.depth: int = 1 + max(edge.depth if isinstance(edge, Node) else 0 for edge in edges)
        self.hooks: Hooks | None = None
        self.is_freed = False

    def free(self) -> None:
        """Lets go of arrays and of earlier nodes; the chain comes apart node by node, not recursively."""
        self.inputs, self.output, self.edges, self.is_freed = [], None, (), True

    def recall(self, make: Callable[[Array, "Node | None"], Variable] | None) -> list[Any]:
        """Output and inputs as its rules want them: plain arrays, or (with ``make``) variables on the tape."""
        if make is None:
            return [self.output, *self.inputs]
        output = None if self.output is None else make(self.output, self)
        return [
            output,
            *(self._recall_input(make, *pair) for pair in zip(self.edges, self.inputs, strict=True)),
        ]

    @staticmethod
    def _recall_input(make: Callable[..., Variable], edge: "Edge | None", array: Any) -> Any:
        if edge is None or array is None:
            return array
        return make(array, edge) if isinstance(edge, Node) else edge


Edge = Node | Variable


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
        self.keeps_output = False
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

    def __call__(self, *inputs: Any, **constants: Any) -> Any:
        """Computes on arrays; records too, where one of the inputs is a variable."""
        first = next((value for value in inputs if isinstance(value, Variable)), None)
        if first is None:
            return self.forward(*inputs, **constants)
        dtype = first.array.dtype
        arrays = [self._array(value, dtype) for value in inputs]
        output = self.forward(*arrays, **constants)
        node = None
        if _is_recording.get():
            edges = tuple([_edge(value) for value in inputs])
            if any(edge is not None for edge in edges):
                node = Node(self, edges, arrays, output, constants)
        return first.make(output, node)

    def _array(self, value: Any, dtype: np.dtype[Any]) -> Any:
        if isinstance(value, Variable):
            if value.array.dtype != dtype:
                raise TypeError(
                    f"{self.name} needs tensors of one dtype, got {dtype} and {value.array.dtype}; "
                    f"convert a model with .double() or .float(), data with .numpy().astype()"
                )
            return value.array
        if type(value) in (float, int, bool):
            return value
        # Plain data is weak, as Python's own numbers are: float64 pixels do not widen a float32 network.
        # An integer tensor does not ask for it, for that would cut the fractions off.
        return np.asarray(value, dtype if dtype.kind == "f" else None)


def primitive(forward: Callable[..., Any]) -> Primitive:
    """Decorator that makes a primitive of a function on arrays; `Primitive.differentiate` adds the rules."""
    return Primitive(forward)


def _edge(value: Any) -> Edge | None:
    if not isinstance(value, Variable) or not value.requires_grad:
        return None
    return value if value.node is None else value.node


# ------------------------------------------------------------------------------------- the way back


def backward(
    output: Variable, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Adds the gradient of ``output`` to the ``grad`` of every leaf that it was computed from."""
    for leaf, total in _pull_back(
        output, gradient, None, retain_graph or create_graph, create_graph
    ).values():
        _accumulate(leaf, total)


def grad(
    output: Variable,
    inputs: Sequence[Variable],
    gradient: Any = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> list[Any]:
    """Gradients of ``output`` with respect to ``inputs``; no tensor's ``grad`` is touched.

    Args:
        output: A scalar tensor, or any with ``gradient`` given.
        inputs: Leaves or intermediate tensors.
        gradient: What the gradient of ``output`` itself is; one for a scalar.
        retain_graph: Keeps the tape for another pass.
        create_graph: Records the backward pass too, so that the gradients can be differentiated again.
        allow_unused: Gives None, instead of an error, for an input that ``output`` does not depend on.

    Returns:
        A list of tensors with the shapes of ``inputs``.

    Raises:
        RuntimeError: If an input was not used, or ``output`` was not recorded.

    Example:
        >>> import scratchnet as sn
        >>> x = sn.Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> (slope,) = sn.grad((x**3).sum(), [x], create_graph=True)
        >>> (curvature,) = sn.grad(slope.sum(), [x])
        >>> slope.numpy(), curvature.numpy()
        (array([ 3., 12.]), array([ 6., 12.]))
    """
    edges = [_target(value, position) for position, value in enumerate(inputs)]
    found = _pull_back(output, gradient, edges, retain_graph or create_graph, create_graph)
    totals = [found[id(edge)][1] if id(edge) in found else None for edge in edges]
    unused = [position for position, total in enumerate(totals) if total is None]
    if unused and not allow_unused:
        raise RuntimeError(
            f"grad needs inputs that the output depends on, input {unused[0]} is not among them; "
            f"pass allow_unused=True to get None for it"
        )
    # A copy, because rules may hand one array to several inputs, or one that cannot be written into.
    return [
        total if total is None or isinstance(total, Variable) else output.make(np.array(total), None)
        for total in totals
    ]


def _target(value: Variable, position: int) -> Edge:
    edge = _edge(value)
    if edge is None:
        raise RuntimeError(
            f"grad needs inputs that require a gradient, input {position} does not; "
            f"make it with requires_grad=True"
        )
    return edge


def _pull_back(
    output: Variable, gradient: Any, targets: list[Edge] | None, retain: bool, create_graph: bool
) -> dict[int, tuple[Any, Any]]:
    """Gradients that arrive at the targets (at all leaves where there are none), by the edge's id."""
    root = _edge(output)
    if root is None:
        raise RuntimeError(
            "backward needs an output that was recorded, got one that does not require a gradient; "
            "compute it from parameters, outside no_grad()"
        )
    seed = _seed(output, gradient, create_graph)
    wanted = None if targets is None else {id(edge) for edge in targets}
    with recording(create_graph):
        return _walk(root, seed, wanted, retain, output.make if create_graph else None)


def _walk(
    root: Edge, seed: Any, wanted: set[int] | None, retain: bool, make: Callable[..., Variable] | None
) -> dict[int, tuple[Any, Any]]:
    order = _order(root)
    useful = None if wanted is None else _leading_to(wanted, order)
    pending: dict[int, Any] = {id(root): seed}
    found: dict[int, tuple[Any, Any]] = {}
    leaves: dict[int, Variable] = {} if isinstance(root, Node) else {id(root): root}
    for node in order:
        total = pending.pop(id(node), None)
        if total is None:
            continue
        _tell(node, total)
        if wanted is not None and id(node) in wanted:
            found[id(node)] = node, total
        for edge, contribution in _contributions(node, total, make, useful):
            key = id(edge)
            pending[key] = pending[key] + contribution if key in pending else contribution
            if not isinstance(edge, Node):
                leaves[key] = edge
        if not retain:
            node.free()
    for key, leaf in leaves.items():
        _tell(leaf, pending[key])
        if wanted is None or key in wanted:
            found[key] = leaf, pending[key]
    return found


def _contributions(
    node: Node, total: Any, make: Callable[..., Variable] | None, useful: set[int] | None
) -> Iterator[tuple[Edge, Any]]:
    recalled = node.recall(make)
    for edge, rule, shape in zip(node.edges, node.primitive.rules, node.shapes, strict=True):
        if edge is not None and rule is not None and (useful is None or id(edge) in useful):
            contribution = rule(total, *recalled, **node.constants)
            yield edge, contribution if contribution.shape == shape else sum_to_shape(contribution, shape)


def _order(root: Edge) -> list[Node]:
    """All nodes behind the root, each before whatever it was computed from."""
    if not isinstance(root, Node):
        return []
    # A dict, because a set's order changes from run to run, and with it the last bit of a gradient's sum.
    seen = {root: None}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_freed:
            raise RuntimeError(
                "backward needs the tape, which an earlier backward pass has freed; "
                "pass retain_graph=True to the earlier one"
            )
        for edge in node.edges:
            if isinstance(edge, Node) and edge not in seen:
                seen[edge] = None
                waiting.append(edge)
    return sorted(seen, key=lambda node: -node.depth)


def _leading_to(wanted: set[int], order: Iterable[Node]) -> set[int]:
    """Ids of the edges that lie on a way to one of the wanted ones; the rest needs no gradient."""
    useful = set(wanted)
    for node in reversed(list(order)):
        if any(id(edge) in useful for edge in node.edges):
            useful.add(id(node))
    return useful


def _seed(output: Variable, gradient: Any, create_graph: bool) -> Any:
    if gradient is None:
        if output.array.size != 1:
            raise RuntimeError(
                f"backward needs a scalar, got shape {output.array.shape}; reduce it with .sum() or .mean(), "
                f"or pass gradient="
            )
        gradient = np.ones_like(output.array)
    if np.shape(gradient) != output.array.shape:
        raise ValueError(
            f"backward needs a gradient of the output's shape {output.array.shape}, got {np.shape(gradient)}"
        )
    if create_graph and isinstance(gradient, Variable):
        return gradient
    seed = np.asarray(gradient, output.array.dtype)
    return output.make(seed, None) if create_graph else seed


def _tell(speaker: Edge, gradient: Any) -> None:
    if speaker.hooks:
        speaker.hooks(gradient.array if isinstance(gradient, Variable) else gradient)


def _accumulate(leaf: Variable, gradient: Any) -> None:
    if isinstance(gradient, Variable):
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
        return
    # An array of its own, because rules may hand one array to several leaves.
    own = np.empty_like(leaf.array) if leaf.grad_buffer is None else leaf.grad_buffer
    if leaf.grad is None:
        np.copyto(own, gradient)
    else:
        np.add(leaf.grad.array, gradient, out=own)
    leaf.grad = leaf.make(own, None)


def sum_to_shape(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sums a gradient over the axes along which its input was broadcast."""
    extra = gradient.ndim - len(shape)
    stretched = (extra + axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[extra + axis])
    axes = (*range(extra), *stretched)
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient.reshape(shape)
