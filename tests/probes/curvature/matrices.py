"""Matrices whose spectrum is known, and the product with one of them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


class Counted:
    """The product with a dense matrix, counted."""

    def __init__(self, matrix) -> None:
        self.matrix, self.calls = matrix, 0

    def __call__(self, vector):
        self.calls += 1
        return self.matrix @ vector


def wishart(size: int) -> NDArray[np.float64]:
    factor = np.random.default_rng(0).standard_normal((size, size))
    return factor @ factor.T / size


def largest(matrix: NDArray[np.float64], k: int) -> NDArray[Any]:
    return np.linalg.eigvalsh(matrix)[::-1][:k]


# ------------------------------------------------------------------------------ Hessians in closed form


def linear_regression() -> NDArray[np.float64]:
    """Of the mean squared error."""
    x = np.random.default_rng(1).standard_normal((16, 5))
    return 2 / 16 * x.T @ x


def logistic_regression() -> NDArray[np.float64]:
    """Of the mean binary cross-entropy."""
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((20, 6)), rng.standard_normal(6)
    p = 1 / (1 + np.exp(-x @ weight))
    return x.T @ (x * (p * (1 - p))[:, None]) / 20


def softmax_regression() -> NDArray[np.float64]:
    """Of the mean cross-entropy, weights laid out as (classes, inputs)."""
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((12, 4)), rng.standard_normal((3, 4))
    odds = np.exp(x @ weight.T)
    p = odds / odds.sum(axis=1, keepdims=True)
    blocks = np.einsum("nc,ck->nck", p, np.eye(3)) - np.einsum("nc,nk->nck", p, p)
    return np.einsum("nck,ni,nj->cikj", blocks, x, x).reshape(12, 12) / 12


CLOSED_FORMS = pytest.mark.parametrize(
    "hessian",
    [linear_regression(), logistic_regression(), softmax_regression()],
    ids=["linear", "logistic", "softmax"],
)
