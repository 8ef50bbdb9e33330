"""Scaled dot-product attention, and the rotation of its queries and keys."""

import numpy as np

from scratchnet.ops import attention, rotation
from scratchnet.tape import Array
from tests.scratchnet.primitives.contract import case, normal, positive

HIDDEN = np.where(np.array([[0, 1, 0], [1, 1, 1]], bool), -np.inf, 0.5)
ANGLES = np.array([[0.0, 0.5], [1.0, -2.0], [3.0, 0.25]])


def sizes(*batch: int, queries: int = 2, keys: int = 3, columns: int = 2) -> tuple[Array, ...]:
    return normal(*batch, queries, columns), normal(*batch, keys, columns), normal(*batch, keys, columns + 1)


ATTENTION = [
    case(attention.attention, *sizes(), None, name="one head", scale=0.7, factors=None),
    case(attention.attention, *sizes(2, 2), None, name="heads", scale=0.7, factors=None),
    case(attention.attention, *sizes(2, 1, 2), normal(2, 3), name="mask", scale=0.7, factors=None),
    case(attention.attention, *sizes(2, 2), normal(2, 1, 1, 3), name="keys' mask", scale=1.0, factors=None),
    case(attention.attention, *sizes(2, 2), HIDDEN, name="all hidden", scale=0.7, factors=None),
    case(
        attention.attention,
        *sizes(2, 2),
        None,
        name="dropout",
        scale=0.7,
        factors=2.0 * (positive(2, 2, 2, 3) > 1),
    ),
]
PACKED = [
    case(attention.packed_attention, normal(3, 2, 2, 3, 2), None, name="plain", scale=0.7, factors=None),
    case(
        attention.packed_attention,
        normal(3, 2, 2, 3, 2),
        normal(3, 3),
        name="mask and dropout",
        scale=0.7,
        factors=2.0 * (positive(2, 2, 3, 3) > 1),
    ),
]
SOFTMAX = [
    case(attention.masked_softmax, normal(2, 3), name="matrix"),
    case(attention.masked_softmax, normal(2, 3) + HIDDEN, name="hidden"),
]
ROTATION = [
    case(rotation.rotate, normal(2, 3, 4), cosine=np.cos(ANGLES), sine=np.sin(ANGLES)),
]

CASES = ATTENTION + PACKED + SOFTMAX + ROTATION
