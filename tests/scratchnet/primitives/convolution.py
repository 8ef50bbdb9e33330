"""Convolutions, pooling, padding and picking."""

from typing import Any

import numpy as np

from scratchnet.ops import convolution, pooling, resampling
from scratchnet.ops.columns import Geometry
from scratchnet.ops.pooling import Line
from tests.scratchnet.primitives.contract import Case, case, normal

# Weight, size of space, geometry; the first axis of the weight are the outputs.
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Geometry]] = {
    "sequence": ((3, 2, 3), (6,), Geometry((2,), ((1, 1),), (1,), 1)),
    "image": ((2, 2, 3, 2), (4, 5), Geometry((1, 1), ((1, 0), (1, 1)), (1, 1), 1)),
    "strides": ((2, 2, 2, 3), (5, 6), Geometry((2, 3), ((1, 1), (0, 2)), (1, 2), 1)),
    "groups": ((4, 2, 2, 2), (3, 4), Geometry((1, 1), ((0, 0), (1, 1)), (2, 1), 2)),
    "wide": ((2, 17, 2, 2), (3, 2), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 1)),
    "padding beyond the kernel": ((2, 1, 2), (3,), Geometry((1,), ((3, 2),), (1,), 1)),
}


def _convolutions() -> list[Case]:
    cases = []
    for name, (shape, space, geometry) in CONVOLUTIONS.items():
        outputs, inputs = shape[0], shape[1] * geometry.groups
        windows = geometry.output_size(space, shape[2:])
        x, weight, bias = normal(2, inputs, *space), normal(*shape), normal(outputs)
        y = normal(2, outputs, *windows)
        options: dict[str, Any] = {"geometry": geometry}
        cases += [
            case(convolution.convolve, x, weight, bias, name=name, **options),
            case(
                convolution.convolve_transposed, y, weight, normal(inputs), name=name, size=space, **options
            ),
            case(convolution.correlate_weight, x, y, name=name, kernel=shape[2:], **options),
        ]
    shape, space, geometry = CONVOLUTIONS["image"]
    unbiased = case(
        convolution.convolve, normal(2, 2, *space), normal(*shape), None, name="no bias", geometry=geometry
    )
    return [*cases, unbiased]


LINES = {
    "pairs": Line(1, 6, 3, 2, 2, 0, 1),
    "pairs and a rest": Line(1, 5, 2, 2, 2, 0, 1),
    "threes": Line(1, 6, 2, 3, 3, 0, 1),
    "overlapping": Line(1, 5, 5, 3, 1, 1, 1),
    "dilation": Line(1, 7, 3, 2, 2, 0, 2),
    "over the end": Line(1, 6, 3, 3, 2, 0, 1),
    "gaps": Line(1, 8, 3, 2, 3, 0, 1),
}


def _distinct(*shape: int) -> Any:
    """No two near each other, so that no maximum changes hands."""
    size = int(np.prod(shape))
    return np.random.default_rng(11).permutation(size).reshape(shape) / 4.0


def _pools() -> list[Case]:
    cases = []
    for name, line in LINES.items():
        x, g = _distinct(2, line.size, 3), normal(2, line.output, 3)
        y = pooling.maximum(x, line=line)
        cases += [
            case(pooling.maximum, x, name=name, oracle="central", line=line),
            case(pooling.maximum_gradient, g, x, y, name=name, oracle="central", line=line),
            case(pooling.take_maximum, normal(*x.shape), x, y, name=name, oracle="central", line=line),
            case(pooling.window_sum, x, name=name, line=line),
            case(pooling.window_spread, g, name=name, line=line),
        ]
    return cases


INDEX = np.array([0, 0, 2, 3, 3, 3])
CASES = [
    *_convolutions(),
    *_pools(),
    case(resampling.pad, normal(2, 3), name="frame", widths=((0, 1), (2, 0)), value=0.5),
    case(resampling.pad, normal(4, 5), name="cut", widths=((-1, 0), (-2, -1)), value=0.0),
    case(resampling.pad, normal(4, 2), name="both", widths=((-1, 2), (1, -1)), value=0.0),
    case(resampling.pick, normal(2, 4, 3), index=INDEX, axis=1, size=4),
    case(resampling.gather, normal(2, 6, 3), index=INDEX, axis=1, size=4),
]
