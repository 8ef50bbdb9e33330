import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import bottom_eigenvalues, directional_sharpness, eigenspace_alignment, top_eigenvalues
from tests.probes.curvature.matrices import Counted, wishart

SEEDS = st.integers(0, 2**16)


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        pytest.param([0.0, 0.0, 5.0], 0.0, id="beside it"),
        pytest.param([3.0, -4.0, 0.0], 1.0, id="within it"),
        pytest.param([1.0, 1.0, 1.0], 2 / 3, id="askew"),
        pytest.param([1e-200, 0.0, 1e-200], 0.5, id="tiny"),
        pytest.param([0.0, 0.0, 0.0], math.nan, id="zero"),
        pytest.param([math.nan, 1.0, 0.0], math.nan, id="NaN"),
        pytest.param([math.inf, 1.0, 0.0], math.nan, id="infinite"),
    ],
)
def test_share_of_a_gradient_in_a_plane(gradient, expected, in_library):
    plane = in_library(np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]]))
    found = eigenspace_alignment(in_library(np.array(gradient)), plane)
    assert type(found) is type(plane) or isinstance(found, np.floating)
    assert float(found) == pytest.approx(expected, nan_ok=True, abs=1e-15)


@given(SEEDS)
def test_shares_of_a_whole_basis_add_up_to_one(seed):
    rng = np.random.default_rng(seed)
    basis, gradient = np.linalg.qr(rng.standard_normal((8, 8)))[0], rng.standard_normal(8)
    first, rest = eigenspace_alignment(gradient, basis[:3]), eigenspace_alignment(gradient, basis[3:])
    assert float(first + rest) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_as_they_are_found_are_taken(dtype, in_library):
    matrix = in_library(wishart(40).astype(dtype))
    found = top_eigenvalues(Counted(matrix), 40, k=3, rng=0, like=matrix)
    share = eigenspace_alignment(found.vectors[0, ...] + found.vectors[2, ...], found.vectors)
    assert float(share) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "vectors",
    [np.eye(3)[:2] * 1.1, np.array([[1.0, 0, 0], [0.8, 0.6, 0]]), np.full((1, 3), np.nan)],
    ids=["long", "askew", "NaN"],
)
def test_vectors_that_are_not_orthonormal_are_refused(vectors):
    with pytest.raises(ValueError, match="needs orthonormal vectors, got some .* give the vectors that top_"):
        eigenspace_alignment(np.ones(3), vectors)


@pytest.mark.parametrize(("gradient", "vectors"), [((3,), (2, 4)), ((3,), (3,)), ((3, 1), (1, 3))], ids=str)
def test_shapes_that_do_not_fit_are_refused(gradient, vectors):
    with pytest.raises(ValueError, match="needs a flat gradient and vectors of its length, one a row"):
        eigenspace_alignment(np.ones(gradient), np.ones(vectors))


# ------------------------------------------------------------------------------- along the update


@given(SEEDS, st.floats(1e-150, 1e150))
def test_curvature_along_an_update_is_its_rayleigh_quotient_at_any_length(seed, length):
    matrix, update = wishart(12) - np.eye(12), np.random.default_rng(seed).standard_normal(12)
    found = float(directional_sharpness(Counted(matrix), length * update))
    assert found == pytest.approx(update @ matrix @ update / (update @ update), rel=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_curvature_along_an_eigenvector_is_its_eigenvalue(dtype, in_library):
    matrix = in_library((wishart(30) - np.eye(30)).astype(dtype))
    found = bottom_eigenvalues(Counted(matrix), 30, k=1, tol=1e-6, rng=0, like=matrix)
    along = directional_sharpness(Counted(matrix), -3 * found.vectors[0, ...])
    assert along.dtype == matrix.dtype
    assert float(along) == pytest.approx(float(found.values[0]), rel=1e-4)


@pytest.mark.parametrize("update", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]], ids=str)
def test_an_update_without_direction_has_no_curvature_and_costs_no_product(update, in_library):
    product = Counted(in_library(np.eye(2)))
    found = directional_sharpness(product, in_library(np.array(update)))
    assert math.isnan(float(found))
    assert product.calls == 0


@pytest.mark.parametrize(
    ("hvp", "update", "message"),
    [
        (lambda v: v, np.ones((2, 2)), r"needs a flat update, got shape \(2, 2\); flatten and join"),
        (lambda v: v, np.ones(2, dtype=int), "needs like to be float32 or float64, got int64"),
        (lambda v: v[:1], np.ones(2), r"directional_sharpness needs hvp to return a vector of shape \(2,\)"),
        (lambda v: v * math.nan, np.ones(2), "needs finite Hessian-vector products"),
    ],
    ids=["matrix", "integers", "short product", "NaN product"],
)
def test_a_curvature_along_nothing_sensible_is_refused(hvp, update, message):
    with pytest.raises(ValueError, match=message):
        directional_sharpness(hvp, update)
