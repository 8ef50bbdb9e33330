"""Forward mode: how a change of the inputs travels the tape to the outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scratchnet.backward import order_of, sum_to_shape, walk
from scratchnet.tape import Array, Edge, Node, Variable, edge_of, recording


def push_forward(outputs: Sequence[Variable], tangents: Mapping[Any, Array]) -> list[Array]:
    """Directional derivatives of recorded tensors, from the leaves to the outputs.

    At each node the Jacobian is applied to the tangents of its inputs. Rules give the transposed
    Jacobian only; but Jᵀ g is linear in g, so that J t is the gradient of ⟨Jᵀ g, t⟩ with respect to a g that
    stands for nothing. The tape is kept.

    Args:
        outputs: Tensors on the tape.
        tangents: For each leaf that moves, how, in its shape.

    Returns:
        How each output moves, in its shape; zeros where no leaf moves it.
    """
    moving: dict[Edge, Array] = {**tangents}
    roots = [edge_of(output) for output in outputs]
    for node in reversed(order_of([root for root in roots if root is not None])):
        tangent = _across(
            node, [moving.get(edge) if edge is not None else None for edge in node.edges], outputs[0]
        )
        if tangent is not None:
            moving[node] = tangent
    return [
        np.zeros_like(output.array) if root is None or root not in moving else moving[root]
        for output, root in zip(outputs, roots, strict=True)
    ]


def _across(node: Node, tangents: Sequence[Array | None], like: Variable) -> Array | None:
    """The tangent of a node's output."""
    wanted = [tangent is not None for tangent in tangents]
    if not any(wanted):
        return None
    dtype = next(tangent.dtype for tangent in tangents if tangent is not None)
    cotangent = like.make(np.zeros(node.shape, dtype), None)
    cotangent.requires_grad = True
    with recording(True):
        pulled = node.primitive.pull_back(node, cotangent, wanted, like.make, None)
        pairs = [
            (sum_to_shape(gradient, tangent.shape), tangent)
            for gradient, tangent in zip(pulled, tangents, strict=True)
            if gradient is not None and tangent is not None
        ]
        root = edge_of(sum(((gradient * tangent).sum() for gradient, tangent in pairs), start=_ZERO))
    if root is None:
        return None
    with recording(False):
        stops: set[Any] = {node, *node.edges}
        found = walk(root, np.ones((), dtype), {cotangent}, until=stops)
    return found.get(cotangent)


_ZERO: Any = 0
