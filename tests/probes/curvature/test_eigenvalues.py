import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from probes import top_eigenvalues
from tests.probes.curvature.matrices import CLOSED_FORMS, Counted, largest, softmax_regression, wishart


def distance_to_spectrum(values: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    return np.abs(values[:, None] - np.linalg.eigvalsh(matrix)).min(axis=1)


@CLOSED_FORMS
def test_eigenvalues_of_a_hessian_in_closed_form(hessian):
    dim = len(hessian)
    found = top_eigenvalues(Counted(hessian), dim, k=dim - 1, tol=1e-10, rng=0)
    assert found.converged
    np.testing.assert_allclose(found.values, largest(hessian, dim - 1), rtol=1e-8, atol=1e-10)


def test_adding_a_constant_to_all_logits_is_flat():
    found = top_eigenvalues(Counted(softmax_regression()), 12, k=11, tol=1e-10, rng=0)
    np.testing.assert_allclose(found.values[-3:], 0.0, atol=1e-12)


def test_eigenvalues_of_a_wishart_matrix_with_honest_residuals():
    matrix = wishart(200)
    found = top_eigenvalues(Counted(matrix), 200, k=5, rng=0)
    assert found.converged
    assert (found.residuals <= 1e-4).all()
    np.testing.assert_allclose(found.values, largest(matrix, 5), rtol=1e-5)
    distance = distance_to_spectrum(found.values, matrix)
    assert (distance <= found.residuals * found.values[0] + 1e-12).all()


def test_residuals_are_honest_where_the_iteration_is_cut_short():
    matrix = wishart(200)
    found = top_eigenvalues(Counted(matrix), 200, k=5, max_products=12, rng=0)
    assert not found.converged
    assert found.products == 12
    assert found.residuals.max() > 1e-4
    assert (distance_to_spectrum(found.values, matrix) <= found.residuals * found.values[0]).all()


@pytest.mark.parametrize("k", [1, 4])
def test_largest_means_most_positive_and_not_largest_in_magnitude(k):
    spectrum = np.linspace(-10.0, 3.0, 40)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    found = top_eigenvalues(Counted(basis * spectrum @ basis.T), 40, k=k, tol=1e-8, rng=0)
    np.testing.assert_allclose(found.values, spectrum[::-1][:k], rtol=1e-8)


def direction(size: int) -> NDArray[Any]:
    vector = np.arange(1.0, size + 1)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param(np.eye(30), [1.0, 1.0, 1.0], id="identity"),
        pytest.param(-np.eye(30), [-1.0, -1.0, -1.0], id="minus identity"),
        pytest.param(np.zeros((30, 30)), [0.0, 0.0, 0.0], id="zero"),
        pytest.param(7 * np.outer(direction(30), direction(30)), [7.0, 0.0, 0.0], id="rank one"),
        pytest.param(-7 * np.outer(direction(30), direction(30)), [0.0, 0.0, 0.0], id="negative rank one"),
        pytest.param(np.diag([5.0] * 2 + [1.0] * 28), [5.0, 5.0, 1.0], id="twice"),
        pytest.param(np.diag([5.0] * 4 + [1.0] * 26), [5.0, 5.0, 5.0], id="more copies than asked for"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_of_an_eigenvalue_are_counted_where_a_subspace_is_exhausted(matrix, expected, dtype):
    product = Counted(matrix.astype(dtype))
    found = top_eigenvalues(product, 30, k=3, rng=0, like=np.empty(0, dtype=dtype))
    assert found.converged
    np.testing.assert_allclose(found.values, expected, atol=1e-10 if dtype == "float64" else 1e-5)
    assert (found.residuals <= 1e-4).all()
    assert found.products < 15


def test_a_single_eigenvalue_of_the_identity_takes_one_product():
    assert top_eigenvalues(Counted(np.eye(9)), 9, k=1, rng=0).products == 1


def test_no_more_products_are_spent_than_there_are_dimensions():
    found = top_eigenvalues(Counted(wishart(12)), 12, k=11, tol=1e-30, max_products=500, rng=0)
    assert found.products == 12


def test_products_by_finite_differences_are_symmetric_enough():
    weight = np.random.default_rng(0).standard_normal(20)
    mixing = wishart(20)

    def gradient(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return mixing @ np.tanh(mixing @ at)

    found = top_eigenvalues(
        lambda v: (gradient(weight + 1e-7 * v) - gradient(weight)) / 1e-7, 20, k=2, rng=0, tol=1e-5
    )
    slope = 1 / np.cosh(mixing @ weight) ** 2
    np.testing.assert_allclose(found.values, largest(mixing * slope @ mixing, 2), rtol=1e-5)


@pytest.mark.parametrize(("k", "dim"), [(0, 5), (5, 5), (6, 5), (1, 1)])
def test_more_eigenvalues_than_an_iteration_can_give_are_refused(k, dim):
    with pytest.raises(ValueError, match=rf"needs 1 <= k < dim, got k={k} and dim={dim}; use numpy.linalg"):
        top_eigenvalues(Counted(np.eye(dim)), dim, k=k)


def test_fewer_products_than_eigenvalues_are_refused():
    with pytest.raises(ValueError, match="needs max_products >= k, got max_products=2 and k=3"):
        top_eigenvalues(Counted(np.eye(5)), 5, k=3, max_products=2)


@pytest.mark.parametrize("tol", [0.0, -1.0, math.nan])
def test_a_tolerance_that_nothing_meets_is_refused(tol):
    with pytest.raises(ValueError, match="needs a tolerance above 0"):
        top_eigenvalues(Counted(np.eye(5)), 5, k=1, tol=tol)
