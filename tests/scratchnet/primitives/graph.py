"""Sums over the neighbours in a graph."""

import numpy as np
from scipy import sparse

from scratchnet.ops.graph import propagate
from tests.scratchnet.primitives.contract import case, normal

DENSE = normal(4, 4) * (np.abs(normal(4, 4)) > 0.5)

CASES = [
    case(propagate, normal(4, 3), name="dense", matrix=DENSE),
    case(propagate, normal(4, 3), name="sparse", matrix=sparse.csr_array(DENSE)),
    case(propagate, normal(2, 4, 3), name="dense stack", matrix=DENSE),
    case(propagate, normal(2, 4, 3), name="a graph each", matrix=normal(2, 4, 4)),
    case(propagate, normal(2, 5, 4, 3), name="sparse stack", matrix=sparse.csr_array(DENSE)),
]
