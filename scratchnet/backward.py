"""The way back: how a gradient travels the tape from an output to what it was computed from."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from scratchnet.tape import Array, Edge, Make, Node, Variable, edge_of, primitive, recording


def backward(
    output: Variable, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Adds the gradient of ``output`` to the ``grad`` of every leaf that it was computed from."""
    retain = retain_graph or create_graph
    for leaf, total in _pull_back(output, gradient, None, retain, create_graph, fills_rooms=True).items():
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
    found = _pull_back(output, gradient, set(edges), retain_graph or create_graph, create_graph)
    totals = [found.get(edge) for edge in edges]
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
    edge = edge_of(value)
    if edge is None:
        raise RuntimeError(
            f"grad needs inputs that require a gradient, input {position} does not; "
            f"make it with requires_grad=True"
        )
    return edge


def _pull_back(
    output: Variable,
    gradient: Any,
    targets: Collection[Edge] | None,
    retain: bool,
    create_graph: bool,
    fills_rooms: bool = False,
) -> dict[Edge, Any]:
    root = edge_of(output)
    if root is None:
        raise RuntimeError(
            "backward needs an output that was recorded, got one that does not require a gradient; "
            "compute it from parameters, outside no_grad()"
        )
    seed = _seed(output, gradient, create_graph)
    make = output.make if create_graph else None
    with recording(create_graph):
        return walk(root, seed, targets, retain=retain, make=make, fills_rooms=fills_rooms)


def partial_gradients(
    formula: Callable[..., Any], node: Node, total: Any, wanted: Sequence[bool], make: Make
) -> list[Any]:
    """What `Primitive.pull_back` promises, for a node whose primitive equals a formula of other primitives."""
    # An alias tells apart two inputs that are one variable, and is where the walk stops.
    inputs = [
        value if edge is None else _alias(value)
        for value, edge in zip(node.recall_inputs(make), node.edges, strict=True)
    ]
    root = edge_of(formula(*inputs, **node.constants))
    if root is None:
        return [None] * len(inputs)
    stops: list[Any] = [value.node if isinstance(value, Variable) else None for value in inputs]
    targets = {stop for stop, want in zip(stops, wanted, strict=True) if want}
    found = walk(root, total, targets, make=make, until=set(stops))
    return [found.get(stop) if want else None for stop, want in zip(stops, wanted, strict=True)]


@primitive
def _alias(x: Any) -> Any:
    return x


_alias.differentiate(lambda g, _y, _x: g)


def walk(
    root: Edge,
    seed: Any,
    targets: Collection[Edge] | None,
    *,
    retain: bool = True,
    make: Make | None = None,
    fills_rooms: bool = False,
    until: Collection[Edge | None] = (),
) -> dict[Edge, Any]:
    """Gradients that arrive at the targets, or at all leaves where there are none.

    Args:
        root: Where to start.
        seed: The gradient there.
        targets: Where gradients are wanted.
        retain: Keeps the tape.
        make: Makes variables, where the gradient itself is recorded.
        fills_rooms: Lets primitives write the gradient of a leaf at once to where it is to stay.
        until: Nodes to go no further than.
    """
    order = order_of([root], until)
    useful = None if targets is None else _leading_to(targets, order)
    pending: dict[Edge, Any] = {root: seed}
    found: dict[Edge, Any] = {}
    for node in order:
        total = pending.pop(node, None)
        if total is None:
            continue
        if node.hooks:
            _tell(node, total)
        if targets is not None and node in targets:
            found[node] = total
        wanted = [edge is not None and (useful is None or edge in useful) for edge in node.edges]
        rooms = _rooms(node.edges, pending) if fills_rooms and node.primitive.takes_rooms else None
        gradients = node.primitive.pull_back(node, total, wanted, make, rooms)
        for edge, gradient in zip(node.edges, gradients, strict=True):
            if edge is None or gradient is None:
                continue
            shape = edge.shape if type(edge) is Node else edge.array.shape  # type: ignore[union-attr]
            if gradient.shape != shape:
                gradient = sum_to_shape(gradient, shape)
            pending[edge] = pending[edge] + gradient if edge in pending else gradient
        if not retain:
            node.free()
    for leaf, total in pending.items():
        _tell(leaf, total)
    # What is still pending has arrived at leaves, for every node has handed on what it got.
    return found | {leaf: total for leaf, total in pending.items() if targets is None or leaf in targets}


def order_of(roots: Iterable[Edge], until: Collection[Edge | None] = ()) -> list[Node]:
    """All nodes behind the roots, each before whatever it was computed from."""
    # A dict, because a set's order changes from run to run, and with it the last bit of a gradient's sum.
    seen = {root: None for root in roots if isinstance(root, Node)}
    waiting = list(seen)
    while waiting:
        node = waiting.pop()
        if node.is_freed:
            raise RuntimeError(
                "backward needs the tape, which an earlier backward pass has freed; "
                "pass retain_graph=True to the earlier one"
            )
        if node in until:
            continue
        for edge in node.edges:
            if type(edge) is Node and edge not in seen:
                seen[edge] = None
                waiting.append(edge)
    return sorted(seen, key=_depth, reverse=True)


_depth = attrgetter("depth")


def _leading_to(targets: Collection[Edge], order: Iterable[Node]) -> set[Edge]:
    """The edges that lie on a way to one of the targets; the rest needs no gradient."""
    useful = set(targets)
    for node in reversed(list(order)):
        if any(edge in useful for edge in node.edges):
            useful.add(node)
    return useful


def _seed(output: Variable, gradient: Any, create_graph: bool) -> Any:
    if gradient is None:
        if output.array.size != 1:
            raise RuntimeError(
                f"backward needs a scalar, got shape {output.array.shape}; reduce it with .sum() or .mean(), "
                f"or pass gradient="
            )
        gradient = np.array(1, output.array.dtype).reshape(output.array.shape)
    elif np.shape(gradient) != output.array.shape:
        raise ValueError(
            f"backward needs a gradient of the output's shape {output.array.shape}, got {np.shape(gradient)}"
        )
    if create_graph and isinstance(gradient, Variable):
        return gradient
    seed = np.asarray(gradient, output.array.dtype)
    return output.make(seed, None) if create_graph else seed


def _tell(speaker: Any, gradient: Any) -> None:
    if speaker.hooks:
        speaker.hooks(gradient.array if isinstance(gradient, Variable) else gradient)


def _rooms(edges: Sequence[Edge | None], pending: Mapping[Edge, Any]) -> list[Array | None]:
    """For each input that is a leaf without a gradient yet, its place in an optimiser's flat buffer."""
    rooms: list[Array | None] = []
    # A second contribution to a leaf must not overwrite the first, be it the same leaf as another input.
    taken = set()
    for edge in edges:
        is_leaf = edge is not None and type(edge) is not Node
        if is_leaf and edge.grad is None and edge not in pending and edge not in taken:  # type: ignore[union-attr]
            taken.add(edge)
            rooms.append(edge.grad_buffer)  # type: ignore[union-attr]
        else:
            rooms.append(None)
    return rooms


def _accumulate(leaf: Any, gradient: Any) -> None:
    if isinstance(gradient, Variable):
        # A product with one is a tensor of its own, where rules hand one to several leaves.
        leaf.grad = gradient * 1.0 if leaf.grad is None else leaf.grad + gradient  # type: ignore[operator]
        return
    # An array of its own, because rules may hand one array to several leaves.
    own = np.empty_like(leaf.array) if leaf.grad_buffer is None else leaf.grad_buffer
    if leaf.grad is not None:
        np.add(leaf.grad.array, gradient, out=own)
    elif gradient is not own:
        np.copyto(own, gradient)
    leaf.grad = leaf.make(own, None)


def sum_to_shape(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sums a gradient over the axes along which its input was broadcast."""
    extra = gradient.ndim - len(shape)
    stretched = (extra + axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[extra + axis])
    axes = (*range(extra), *stretched)
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient.reshape(shape)
