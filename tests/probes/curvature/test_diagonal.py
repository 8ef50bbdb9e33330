import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probes import hessian_diagonal, trace
from tests.probes.curvature.matrices import CLOSED_FORMS, Counted, wishart


@CLOSED_FORMS
def test_diagonal_of_a_hessian_in_closed_form(hessian):
    found = hessian_diagonal(Counted(hessian), len(hessian), samples=400, rng=0)
    assert (np.abs(found.values - np.diag(hessian)) < 3.5 * found.standard_errors).all()


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e6, 1e6)))
def test_random_signs_give_a_diagonal_matrix_exactly(diagonal):
    found = hessian_diagonal(lambda v: diagonal * v, len(diagonal), samples=3, rng=0)
    np.testing.assert_allclose(found.values, diagonal, rtol=1e-15)
    np.testing.assert_allclose(found.standard_errors, 0.0, atol=1e-9)


def test_the_errors_are_those_of_the_samples():
    """By another way: all samples at once."""
    matrix = wishart(15)
    signs = np.random.default_rng(4)
    rows = np.array([signs.integers(0, 2, 15, dtype=np.int8) * 2.0 - 1 for _ in range(30)])
    samples = rows * (rows @ matrix)
    found = hessian_diagonal(Counted(matrix), 15, samples=30, rng=4)
    np.testing.assert_allclose(found.values, samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors, samples.std(axis=0, ddof=1) / 30**0.5, rtol=1e-12)


def test_the_entries_add_up_to_the_trace_of_the_same_samples():
    found = hessian_diagonal(Counted(wishart(15)), 15, rng=4)
    expected = trace(Counted(wishart(15)), 15, rng=4)
    assert found.values.sum() == pytest.approx(float(expected.value), rel=1e-12)


def test_the_standard_errors_cover_the_truth_as_often_as_they_should():
    matrix = wishart(20)
    found = [hessian_diagonal(Counted(matrix), 20, samples=40, rng=seed) for seed in range(200)]
    errors = np.abs(np.array([each.values for each in found]) - np.diag(matrix))
    covered = (errors <= 1.96 * np.array([each.standard_errors for each in found])).mean(axis=0)
    assert 0.90 <= covered.min() <= covered.max() <= 0.99
