"""Losses."""

import numpy as np

from scratchnet.ops import ctc, loss
from tests.scratchnet.primitives.contract import Case, case, normal, off_the_kink, positive

LABELS = np.array([2, 0, 3])
SHARES = {"one share": 0.25, "a share each": np.array([1.0, 0.0, 2.5])}


def probabilities(*size: int) -> np.ndarray:
    return positive(*size) / 2.2


def texts(name: str, labels: list[list[int]], input_lengths: list[int], label_lengths: list[int]) -> Case:
    size = (5, len(labels), 4)
    return case(
        ctc.ctc,
        np.log(probabilities(*size)),
        name=name,
        oracle="central",
        labels=np.array(labels, int).reshape(len(labels), -1),
        input_lengths=np.array(input_lengths),
        label_lengths=np.array(label_lengths),
        blank=0,
        zero_infinity=True,
    )


CLASSES = [
    made
    for name, shares in SHARES.items()
    for made in (
        # A product of rows by `vecdot` and powers by BLAS take complex numbers, a maximum does not order them.
        case(loss.cross_entropy, normal(3, 4), name=name, oracle="central", labels=LABELS, shares=shares),
        case(
            loss.cross_entropy_gradient,
            normal(),
            normal(3, 4),
            name=name,
            oracle="central",
            labels=LABELS,
            shares=shares,
        ),
        case(loss.pick, normal(3, 4), name=name, labels=LABELS, shares=shares),
        case(loss.place, normal(3), name=name, labels=LABELS, shares=shares, classes=4),
    )
]
PROBABILITIES = [
    case(loss.soft_cross_entropy, normal(3, 4), positive(3, 4), oracle="central"),
    case(loss.binary_cross_entropy, probabilities(3, 4), probabilities(3, 4), oracle="central"),
    *(
        case(
            loss.binary_cross_entropy_with_logits,
            off_the_kink(3, 4),
            probabilities(3, 4),
            name=name,
            oracle="central",
            positive=weight,
        )
        for name, weight in {"plain": None, "weighted": positive(4)}.items()
    ),
    case(loss.clamped_log, positive(3, 4), oracle="central"),
    case(loss.x_log_x, positive(3, 4), oracle="central"),
]
DISTANCES = [
    case(loss.squared_error, normal(2, 3), normal(2, 3), scale=0.25),
    case(loss.huber, off_the_kink(4, 3), oracle="central", delta=1.23),
    case(loss.clip, off_the_kink(4, 3), oracle="central", low=-1.23, high=1.37),
]
TEXTS = [
    texts("repeated and empty", [[1, 1, 2], [3, 0, 0], [0, 0, 0]], [5, 3, 4], [3, 1, 0]),
    texts("a single blank", [[], []], [5, 0], [0, 0]),
    texts("impossible", [[2, 2, 2], [1, 2, 3]], [4, 3], [3, 3]),
]

CASES = CLASSES + PROBABILITIES + DISTANCES + TEXTS
