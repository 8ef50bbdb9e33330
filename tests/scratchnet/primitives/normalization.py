"""Batch, group and instance normalisation."""

import numpy as np

from scratchnet.ops.normalization import normalize
from tests.scratchnet.primitives.contract import case, normal, positive

# Not by a complex step: the product of vectors in NumPy conjugates one of them.
IMAGES = normal(3, 4, 2, 3) * 2 + 1
LAST = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

CASES = [
    case(normalize, x, weight, bias, name=f"{name} {shared}", groups=groups, eps=0.01, oracle="central")
    for name, x in {"images": IMAGES, "channels last": LAST}.items()
    for shared, groups in {"batch": None, "instance": 4, "groups": 2}.items()
    for weight, bias in [(positive(4), normal(4))]
] + [
    case(
        normalize,
        normal(5, 4),
        positive(4),
        normal(4),
        name="features",
        groups=None,
        eps=0.01,
        oracle="central",
    ),
    case(
        normalize,
        normal(5, 4),
        positive(4),
        normal(4),
        name="groups of features",
        groups=2,
        eps=0.01,
        oracle="central",
    ),
    case(normalize, IMAGES, None, None, name="not affine", groups=2, eps=0.01, oracle="central"),
]
