import numpy as np
import pytest

from probes import frobenius_norm, squared_frobenius_norm
from tests.probes.curvature.matrices import CLOSED_FORMS, Counted, wishart


@CLOSED_FORMS
def test_norm_of_a_hessian_in_closed_form(hessian):
    found = frobenius_norm(Counted(hessian), len(hessian), samples=400, rng=0)
    assert abs(float(found.value) - np.linalg.norm(hessian)) < 3 * float(found.standard_error)


@pytest.mark.parametrize(
    ("diagonal", "expected"),
    [([3.0, 0.0, -4.0], 5.0), ([0.0, 0.0], 0.0), ([-2.0], 2.0), ([1.0] * 9, 3.0)],
    ids=["both signs", "zero", "one weight", "identity"],
)
def test_random_signs_give_the_norm_of_a_diagonal_matrix_exactly(diagonal, expected):
    def hvp(vector):
        return np.array(diagonal) * vector

    found = frobenius_norm(hvp, len(diagonal), rng=0)
    assert float(found.value) == pytest.approx(expected)
    assert float(found.standard_error) == 0.0
    squared = squared_frobenius_norm(hvp, len(diagonal), rng=0)
    assert float(squared.value) == pytest.approx(expected**2)
    assert float(squared.standard_error) == 0.0


def test_the_norm_is_the_root_of_its_square_with_half_the_relative_error():
    norm = frobenius_norm(Counted(wishart(30)), 30, rng=0)
    squared = squared_frobenius_norm(Counted(wishart(30)), 30, rng=0)
    assert float(norm.value) ** 2 == pytest.approx(float(squared.value), rel=1e-12)
    relative = float(squared.standard_error) / float(squared.value)
    assert float(norm.standard_error) / float(norm.value) == pytest.approx(relative / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("estimate", "power"), [(frobenius_norm, 1), (squared_frobenius_norm, 2)], ids=["norm", "square"]
)
def test_the_standard_error_covers_the_truth_as_often_as_it_should(estimate, power):
    matrix = wishart(20) - np.eye(20)
    found = [estimate(Counted(matrix), 20, samples=40, rng=seed) for seed in range(200)]
    errors = np.abs(np.array([float(each.value) for each in found]) - np.linalg.norm(matrix) ** power)
    covered = errors <= 1.96 * np.array([float(each.standard_error) for each in found])
    assert 0.90 <= covered.mean() <= 0.99


def test_the_norm_is_no_smaller_than_the_largest_eigenvalue_in_magnitude():
    matrix = wishart(30) - 4 * np.eye(30)
    found = frobenius_norm(Counted(matrix), 30, rng=0)
    assert float(found.value) > np.abs(np.linalg.eigvalsh(matrix)).max()
