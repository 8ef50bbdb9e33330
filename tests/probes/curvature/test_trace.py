import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes import hutch_pp_trace, trace, xtrace
from tests.probes.curvature.matrices import CLOSED_FORMS, Counted, wishart

TRACES = pytest.mark.parametrize("estimate", [trace, hutch_pp_trace, xtrace], ids=lambda each: each.__name__)


def with_spectrum(spectrum):
    """A matrix with these eigenvalues in random directions."""
    size = len(spectrum)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    return basis * spectrum @ basis.T


def with_products(estimate, matrix, products, seed):
    """An estimate that may spend so many products."""
    budget = {"samples" if estimate is trace else "max_products": products}
    return estimate(Counted(matrix), len(matrix), **budget, rng=seed)


@CLOSED_FORMS
@TRACES
def test_trace_of_a_hessian_in_closed_form(estimate, hessian):
    found = with_products(estimate, hessian, 400, seed=0)
    assert abs(float(found.value) - np.trace(hessian)) <= 3 * float(found.standard_error) + 1e-12


def test_random_signs_give_the_trace_of_a_diagonal_matrix_exactly():
    diagonal = np.array([3.0, 1.0, -10.0, 0.5])
    found = trace(lambda v: diagonal * v, 4, samples=2, rng=0)
    assert float(found.value) == -5.5
    assert float(found.standard_error) == 0.0


@pytest.mark.parametrize("shift", [0.0, 1.0, -3.0], ids=["positive", "near zero", "negative"])
def test_the_standard_error_covers_the_truth_as_often_as_it_should(shift):
    matrix = wishart(20) - shift * np.eye(20)
    found = [trace(Counted(matrix), 20, samples=40, rng=seed) for seed in range(200)]
    errors = np.array([float(each.value) for each in found]) - np.trace(matrix)
    covered = np.abs(errors) <= 1.96 * np.array([float(each.standard_error) for each in found])
    assert 0.90 <= covered.mean() <= 0.99


@pytest.mark.parametrize("estimate", [hutch_pp_trace, xtrace], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(wishart(50), id="Wishart"),
        pytest.param(with_spectrum(0.8 ** np.arange(40)), id="decaying"),
        pytest.param(with_spectrum(np.linspace(-10.0, 3.0, 50)), id="both signs"),
    ],
)
def test_the_error_given_a_sketch_covers_the_truth_as_often_as_it_should(estimate, matrix):
    # So many products for so small a matrix: what the vectors have in common weighs most there.
    found = [with_products(estimate, matrix, 75, seed) for seed in range(200)]
    errors = np.array([float(each.value) for each in found]) - np.trace(matrix)
    covered = np.abs(errors) <= 1.96 * np.array([float(each.standard_error) for each in found])
    assert 0.90 <= covered.mean() <= 0.99


def test_a_sketch_pays_where_eigenvalues_decay():
    matrix = with_spectrum(0.8 ** np.arange(100))

    def typical_error(estimate):
        found = [with_products(estimate, matrix, 48, seed).value for seed in range(20)]
        return np.sqrt(np.mean((np.array(found, dtype=float) - np.trace(matrix)) ** 2))

    assert typical_error(hutch_pp_trace) < typical_error(trace) / 5
    assert typical_error(xtrace) < typical_error(hutch_pp_trace) / 5


@pytest.mark.parametrize("estimate", [hutch_pp_trace, xtrace], ids=lambda each: each.__name__)
@pytest.mark.parametrize("rank", [0, 1, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sketch_gives_the_trace_of_a_matrix_of_low_rank_exactly(estimate, rank, dtype):
    factor = np.random.default_rng(1).standard_normal((40, rank)).astype(dtype)
    matrix = factor @ factor.T
    found = estimate(Counted(matrix), 40, max_products=30, rng=0, like=np.empty(0, dtype=dtype))
    rounding = 2e-4 if dtype == "float32" else 1e-12
    assert float(found.value) == pytest.approx(np.trace(matrix), rel=rounding)
    assert float(found.standard_error) <= rounding * max(1.0, np.trace(matrix))


def test_a_matrix_of_low_rank_takes_xtrace_one_product_for_each_dimension_of_its_range():
    assert with_products(xtrace, np.outer(np.arange(40.0), np.arange(40.0)), 30, seed=0).products == 15 + 1


def test_xtrace_of_a_multiple_of_the_identity_is_exact():
    found = with_products(xtrace, -3.0 * np.eye(40), 30, seed=0)
    assert float(found.value) == pytest.approx(-120.0, rel=1e-12)
    assert float(found.standard_error) < 1e-11


@pytest.mark.parametrize("dim", [1, 2, 4, 9])
def test_xtrace_with_as_many_vectors_as_weights_is_exact(dim):
    matrix = wishart(dim)
    found = with_products(xtrace, matrix, 20, seed=0)
    assert float(found.value) == pytest.approx(np.trace(matrix), rel=1e-9)
    assert (float(found.standard_error), found.products) == (0.0, 2 * dim)


def test_xtrace_is_the_mean_over_sketches_that_leave_one_vector_out():
    """The definition, one dense sketch after the other."""
    matrix, dim, count = wishart(30), 30, 6
    vectors = np.random.default_rng(5).standard_normal((count, dim))
    estimates = []
    for one in range(count):
        basis = np.linalg.qr(matrix @ np.delete(vectors, one, axis=0).T)[0]
        rest = vectors[one] - basis @ (basis.T @ vectors[one])
        rest *= np.sqrt((dim - count + 1) / (rest @ rest))
        estimates.append(np.trace(basis.T @ matrix @ basis) + rest @ matrix @ rest)
    found = with_products(xtrace, matrix, 2 * count, seed=5)
    assert float(found.value) == pytest.approx(np.mean(estimates), rel=1e-12)
    assert float(found.standard_error) >= np.std(estimates, ddof=1) / np.sqrt(count) * (1 - 1e-9)


def test_a_random_vector_inside_the_sketch_leaves_nothing_to_sample():
    """As where the matrix is made of the same random numbers."""
    factor = np.random.default_rng(0).standard_normal((5, 12))
    found = with_products(xtrace, factor.T @ factor, 20, seed=0)
    assert float(found.value) == pytest.approx((factor**2).sum(), rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6))
@TRACES
def test_the_trace_is_linear_for_the_same_seed(estimate, scale):
    matrix = wishart(12)
    found = with_products(estimate, scale * matrix, 9, seed=3)
    expected = with_products(estimate, matrix, 9, seed=3)
    assert float(found.value) == pytest.approx(scale * float(expected.value), rel=1e-6)
    assert float(found.standard_error) == pytest.approx(abs(scale) * float(expected.standard_error), rel=1e-6)


@TRACES
def test_the_traces_of_the_layers_add_up_to_that_of_the_network(estimate):
    """Of a block-diagonal Hessian, where the blocks are all there is."""
    blocks = wishart(12), -wishart(8)
    whole = np.zeros((20, 20))
    whole[:12, :12], whole[12:, 12:] = blocks
    parts = [with_products(estimate, block, 300, seed=0) for block in blocks]
    found = with_products(estimate, whole, 300, seed=1)
    errors = [float(each.standard_error) for each in (*parts, found)]
    assert (
        abs(sum(float(part.value) for part in parts) - float(found.value))
        <= 4 * np.hypot.reduce(errors) + 1e-9
    )
