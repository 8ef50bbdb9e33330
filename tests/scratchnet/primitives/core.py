"""Arithmetic, shapes, sums and products."""

from typing import Any

import numpy as np

from scratchnet.ops import elementwise as ew
from scratchnet.ops import linalg, reduction, shape
from tests.scratchnet.primitives.contract import case, normal, off_the_kink, positive

BROADCASTS = {
    "same": ((2, 3), (2, 3)),
    "row": ((2, 3), (3,)),
    "outer": ((2, 1), (1, 3)),
    "number": ((), (2, 3)),
    "scalars": ((), ()),
}
BINARY = [
    case(op, normal(*left), positive(*right), name=name)
    for op in (ew.add, ew.subtract, ew.multiply, ew.divide)
    for name, (left, right) in BROADCASTS.items()
]
ANALYTIC = [
    case(op, positive(*size), name=name)
    for op in (ew.negative, ew.exp, ew.log, ew.sqrt, ew.tanh)
    for name, size in {"matrix": (2, 3), "scalar": ()}.items()
]
KINKED = [
    case(op, off_the_kink(*size), name=name, oracle="central")
    # SciPy's logistic function takes no complex numbers.
    for op in (ew.relu, ew.absolute, ew.sigmoid)
    for name, size in {"matrix": (4, 3), "scalar": ()}.items()
]
BACKWARD = [
    case(op, normal(*size), positive(*size), name=name)
    for op in (ew.tanh_gradient, ew.sigmoid_gradient)
    for name, size in {"matrix": (2, 3), "scalar": ()}.items()
] + [case(ew.relu_gradient, normal(4, 3), off_the_kink(4, 3), oracle="central")]
POWERS = [
    case(ew.power, positive(2, 3), name=f"{exponent}", exponent=exponent)
    for exponent in (3, 2, 1, 0, -1.0, 0.5)
]
PRODUCTS = [
    case(linalg.matmul, normal(2, 3), normal(3, 4), name="matrices"),
    case(linalg.matmul, normal(5, 2, 3), normal(5, 3, 4), name="stacks"),
    case(linalg.matmul, normal(2, 1, 2, 3), normal(5, 3, 4), name="stacks that broadcast"),
    case(linalg.linear, normal(4, 3), normal(2, 3), normal(2), name="batch"),
    case(linalg.linear, normal(3), normal(2, 3), normal(2), name="one example"),
    case(linalg.linear, normal(2, 4, 3), normal(2, 3), normal(2), name="batch of sequences"),
]
SHAPES = [
    case(shape.reshape, normal(2, 6), shape=(3, -1), original=(2, 6)),
    case(shape.transpose, normal(2, 3, 4), name="cycle", axes=(1, 2, 0)),
    case(shape.transpose, normal(2, 3, 4), name="negative axes", axes=(-1, 0, 1)),
    case(shape.append, normal(2, 3), normal(2, 1), name="columns", axis=1, size=3),
    case(shape.append, normal(1, 3), normal(2, 3), name="rows", axis=0, size=1),
    case(shape.broadcast_to, normal(3, 1), shape=(2, 3, 4)),
    case(shape.broadcast_to, normal(), name="number", shape=(2, 3)),
]
INDICES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "row": (1, (3,)),
    "slices": ((slice(None, None, 2), slice(1, None)), (2, 2)),
    "repeated rows": (np.array([0, 2, 2, 2]), (4, 3)),
    "pairs": ((np.array([0, 0]), np.array([1, 1])), (2,)),
    "mask": (np.eye(4, 3) > 0, (3,)),
    "new axis": ((None, ..., 0), (1, 4)),
}
TAKES = [
    made
    for name, (index, result) in INDICES.items()
    for made in (
        case(shape.take, normal(4, 3), name=name, index=index, shape=(4, 3)),
        case(shape.put, normal(*result), name=name, index=index, shape=(4, 3)),
    )
]
REDUCTIONS = [
    *(
        case(
            reduction.total,
            normal(2, 3, 4),
            name=f"{axis}-{'keep' if keepdims else 'drop'}",
            axis=axis,
            keepdims=keepdims,
            shape=(2, 3, 4),
        )
        for axis in (None, 0, -1, (0, 2))
        for keepdims in (False, True)
    ),
    *(
        case(op, normal(3, 4), name=f"axis {axis}", axis=axis)
        for op in (reduction.softmax, reduction.log_softmax)
        for axis in (0, -1)
    ),
]
CASES = BINARY + ANALYTIC + KINKED + BACKWARD + POWERS + PRODUCTS + SHAPES + TAKES + REDUCTIONS
