"""What every estimate from random vectors shares: counting, seeds, libraries and what it refuses."""

import math

import numpy as np
import pytest

from probes import (
    frobenius_norm,
    hessian_diagonal,
    hutch_pp_trace,
    spectral_density,
    squared_frobenius_norm,
    trace,
    xtrace,
)
from tests.probes.curvature.matrices import Counted, wishart

SAMPLED = [trace, hessian_diagonal, frobenius_norm, squared_frobenius_norm]
SKETCHED = [hutch_pp_trace, xtrace]
ESTIMATORS = pytest.mark.parametrize(
    "estimate", [*SAMPLED, *SKETCHED, spectral_density], ids=lambda each: each.__name__
)


def numbers_of(estimate):
    """All arrays of a result, as one."""
    return np.hstack([np.asarray(part) for part in estimate])


@ESTIMATORS
def test_products_are_counted_exactly(estimate):
    product = Counted(wishart(30))
    assert estimate(product, 30, rng=0).products == product.calls > 0


@ESTIMATORS
def test_a_seed_gives_the_same_again_and_another_seed_something_else(estimate):
    def found(rng):
        return numbers_of(estimate(Counted(wishart(30)), 30, rng=rng))

    np.testing.assert_array_equal(found(7), found(7))
    np.testing.assert_array_equal(found(7), found(np.random.default_rng(7)))
    # Not the first number alone: a grid begins at the spectrum's edge, whatever the vectors.
    assert not np.array_equal(found(7), found(8))


@ESTIMATORS
def test_numpy_and_torch_find_the_same(estimate):
    torch = pytest.importorskip("torch")
    matrix = wishart(30)
    tensor = torch.asarray(matrix, dtype=torch.float64).requires_grad_()
    ours = estimate(Counted(matrix), 30, rng=0)
    theirs = estimate(Counted(tensor), 30, rng=0, like=torch.empty(0, dtype=torch.float64))
    np.testing.assert_allclose(numbers_of(theirs), numbers_of(ours), rtol=1e-12, atol=1e-12)


@ESTIMATORS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_and_results_take_the_library_and_precision_of_like(estimate, dtype, in_library):
    like, matrix = in_library(np.empty(0, dtype=dtype)), in_library(wishart(30).astype(dtype))
    asked = set()

    def hvp(vector):
        asked.add((type(vector), vector.dtype))
        return matrix @ vector

    found = estimate(hvp, 30, rng=0, like=like)
    assert asked == {(type(like), like.dtype)}
    assert {part.dtype for part in found if hasattr(part, "dtype")} == {like.dtype}
    expected = estimate(Counted(wishart(30)), 30, rng=0)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12 if dtype == "float64" else 1e-3)


@ESTIMATORS
@pytest.mark.parametrize(
    ("matrix", "dim"),
    [
        pytest.param(np.eye(30), 30, id="identity"),
        pytest.param(np.zeros((30, 30)), 30, id="zero"),
        pytest.param(np.outer(np.arange(30.0), np.arange(30.0)), 30, id="rank one"),
        pytest.param(np.diag([5.0] * 4 + [1.0] * 26), 30, id="two clusters"),
        pytest.param(np.full((1, 1), -3.0), 1, id="one weight"),
        pytest.param(np.array([[0.0, 1.0], [1.0, 0.0]]), 2, id="exchange"),
    ],
)
def test_special_matrices_end_in_finite_numbers(estimate, matrix, dim):
    assert np.isfinite(numbers_of(estimate(Counted(matrix), dim, rng=0))).all()


@ESTIMATORS
def test_a_product_that_writes_each_result_into_the_same_array_is_read_in_time(estimate):
    matrix, room = wishart(30), np.empty(30)
    found = estimate(lambda vector: np.matmul(matrix, vector, out=room), 30, rng=0)
    np.testing.assert_array_equal(numbers_of(found), numbers_of(estimate(Counted(matrix), 30, rng=0)))


@ESTIMATORS
def test_a_product_may_be_a_view_that_runs_backwards(estimate):
    matrix = wishart(30)
    found = estimate(lambda vector: (matrix[::-1] @ vector)[::-1], 30, rng=0)
    expected = estimate(Counted(matrix), 30, rng=0)
    np.testing.assert_allclose(numbers_of(found), numbers_of(expected), rtol=1e-9, atol=1e-9)


# ------------------------------------------------------------------------------------------------ errors


@ESTIMATORS
def test_a_matrix_without_entries_is_refused(estimate):
    with pytest.raises(ValueError, match=f"{estimate.__name__} needs dim >= 1.* got dim=0"):
        estimate(Counted(np.eye(0)), 0, rng=0)


@pytest.mark.parametrize("estimate", SAMPLED, ids=lambda each: each.__name__)
def test_one_sample_alone_is_refused(estimate):
    with pytest.raises(ValueError, match="samples >= 2, got dim=5 and samples=1; take 2 samples or more"):
        estimate(Counted(np.eye(5)), 5, samples=1)


@pytest.mark.parametrize(
    ("estimate", "least"), [(hutch_pp_trace, 6), (xtrace, 8)], ids=["hutch_pp_trace", "xtrace"]
)
def test_products_too_few_for_a_standard_error_are_refused(estimate, least):
    with pytest.raises(
        ValueError, match=f"max_products >= {least}, got dim=9 and max_products={least - 1}; with fewer"
    ):
        estimate(Counted(np.eye(9)), 9, max_products=least - 1)


@ESTIMATORS
@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_a_like_with_too_few_digits_is_refused(estimate, dtype):
    with pytest.raises(ValueError, match=f"needs like to be float32 or float64, got {dtype}; cast it"):
        estimate(Counted(np.eye(4)), 4, rng=0, like=np.empty(0, dtype=dtype))


@ESTIMATORS
@pytest.mark.parametrize(
    ("hvp", "came"),
    [
        pytest.param(lambda v: v[:2], r"numpy.ndarray of shape \(2,\)", id="too short"),
        pytest.param(lambda v: v[:, None], r"numpy.ndarray of shape \(4, 1\)", id="a column"),
        pytest.param(lambda v: None, "builtins.NoneType of shape None", id="nothing"),
    ],
)
def test_a_product_of_another_form_is_refused(estimate, hvp, came):
    with pytest.raises(ValueError, match=rf"hvp to return a vector of shape \(4,\) .* got {came}; flatten"):
        estimate(hvp, 4, rng=0)


@ESTIMATORS
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_product_that_is_not_finite_is_refused(estimate, value):
    with pytest.raises(ValueError, match="needs finite Hessian-vector products, got NaN or infinity"):
        estimate(lambda v: v * value, 4, rng=0)


@ESTIMATORS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_matrix_that_is_not_symmetric_is_refused(estimate, dtype):
    matrix = np.random.default_rng(0).standard_normal((50, 50)).astype(dtype)
    with pytest.raises(ValueError, match="needs a symmetric Hessian, got <u, Hv> and <v, Hu> that differ by"):
        estimate(Counted(matrix), 50, rng=0, like=np.empty(0, dtype=dtype))


@ESTIMATORS
def test_a_product_that_changes_from_call_to_call_is_refused(estimate):
    rng, matrix = np.random.default_rng(0), wishart(50)
    with pytest.raises(ValueError, match="make every call compute the same function"):
        estimate(lambda v: matrix @ v + 0.1 * rng.standard_normal(50), 50, rng=0)
