"""Rows by their numbers, and what adds gradients up again."""

from typing import Any

import numpy as np

from scratchnet.ops import embedding, shape
from tests.scratchnet.primitives.contract import case, normal

ROWS = np.array([[0, 2, 2], [1, 2, 0]])
EMBEDDING = [case(embedding.embedding, normal(4, 3), index=ROWS, keep=None, shape=(4, 3))]
# Beside those of the core's table: what takes the ways of `put` that those do not.
INDICES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "rows from the end": (np.array([[-1, 3], [0, -4]]), (2, 2, 3)),
    "a tuple of rows": ((np.array([1, 1]),), (2, 3)),
    "a list of rows": ([2, 0, 2], (3, 3)),
    "no rows": (np.array([], int), (0, 3)),
    "repeated columns": ((slice(1, None), np.array([0, 2, 2])), (3, 3)),
    "a row and repeated columns": ((1, np.array([0, 0])), (2,)),
    "rows' mask": (np.array([True, False, True, True]), (3, 3)),
    "mask and column": ((np.array([True, False, True, False]), np.array([1, 1])), (2,)),
}
TAKES = [
    made
    for name, (index, result) in INDICES.items()
    for made in (
        case(shape.take, normal(4, 3), name=name, index=index, shape=(4, 3)),
        case(shape.put, normal(*result), name=name, index=index, shape=(4, 3)),
    )
]

CASES = EMBEDDING + TAKES
