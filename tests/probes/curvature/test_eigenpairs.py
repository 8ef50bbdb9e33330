"""Both ends of the spectrum, the vectors, bounded memory, copies and warm starts."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from probes import bottom_eigenvalues, largest_magnitude_eigenvalues, top_eigenvalues
from tests.probes.curvature.matrices import Counted, wishart

ENDS = pytest.mark.parametrize(
    ("find", "rank"),
    [
        pytest.param(top_eigenvalues, np.positive, id="top"),
        pytest.param(bottom_eigenvalues, np.negative, id="bottom"),
        pytest.param(largest_magnitude_eigenvalues, np.abs, id="magnitude"),
    ],
)
FINDERS = pytest.mark.parametrize(
    "find", [top_eigenvalues, bottom_eigenvalues, largest_magnitude_eigenvalues]
)


def with_spectrum(spectrum: Any) -> NDArray[Any]:
    """A dense symmetric matrix with these eigenvalues."""
    values = np.asarray(spectrum, dtype=np.float64)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(values), len(values))))[0]
    return (basis * values) @ basis.T


def open_ended(size: int) -> NDArray[Any]:
    """Eigenvalues that thin out towards both ends, as those of a Hessian do; no two of one magnitude."""
    return with_spectrum(np.sinh(np.linspace(-3.0, 3.2, size)))


def best(matrix: NDArray[np.float64], rank: Any, k: int) -> NDArray[Any]:
    values = np.linalg.eigvalsh(matrix)
    return values[np.argsort(-rank(values), kind="stable")][:k]


# ------------------------------------------------------------------------------------------- both ends


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        pytest.param(top_eigenvalues, [3.0, 2.0, 0.5], id="top"),
        pytest.param(bottom_eigenvalues, [-10.0, -4.0, -1.0], id="bottom"),
        pytest.param(largest_magnitude_eigenvalues, [-10.0, -4.0, 3.0], id="magnitude"),
    ],
)
def test_algebraic_and_magnitude_are_different_names(find, expected, in_library):
    matrix = in_library(with_spectrum([-10, -4, -1, 0.5, 2, 3]))
    found = find(Counted(matrix), 6, k=3, tol=1e-10, rng=0, like=matrix)
    assert found.converged
    np.testing.assert_allclose(np.asarray(found.values), expected, rtol=1e-10)


@ENDS
def test_vectors_are_orthonormal_and_have_the_residuals_that_are_told(find, rank, in_library):
    matrix = open_ended(150)
    given_matrix = in_library(matrix)
    found = find(Counted(given_matrix), 150, k=4, tol=1e-3, rng=0, like=given_matrix)
    values, vectors, residuals = map(np.asarray, (found.values, found.vectors, found.residuals))
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-12)
    measured = np.linalg.norm(matrix @ vectors.T - vectors.T * values, axis=0)
    scale = np.abs(np.linalg.eigvalsh(matrix)).max()
    np.testing.assert_allclose(measured / scale, residuals, rtol=1e-2, atol=1e-9)
    np.testing.assert_allclose(values, best(matrix, rank, 4), rtol=1e-5)


@given(
    spectrum=st.lists(st.integers(-50, 50), min_size=3, max_size=12, unique=True),
    seed=st.integers(0, 2**16),
)
def test_the_bottom_is_the_top_of_the_negative_matrix(spectrum, seed):
    matrix, k = with_spectrum(spectrum), len(spectrum) // 2
    bottom = bottom_eigenvalues(Counted(matrix), len(spectrum), k=k, tol=1e-10, rng=seed)
    top = top_eigenvalues(Counted(-matrix), len(spectrum), k=k, tol=1e-10, rng=seed)
    np.testing.assert_allclose(bottom.values, np.sort(spectrum)[:k], atol=1e-7)
    np.testing.assert_allclose(bottom.values, -top.values, atol=1e-10)


@FINDERS
def test_numpy_and_torch_agree_to_rounding(find):
    torch = pytest.importorskip("torch")
    matrix = open_ended(60)
    tensor = torch.asarray(matrix)
    ours = find(Counted(matrix), 60, k=3, tol=1e-8, rng=0)
    theirs = find(Counted(tensor), 60, k=3, tol=1e-8, rng=0, like=tensor)
    np.testing.assert_allclose(theirs.values.numpy(), ours.values, rtol=1e-12)
    assert theirs.products == ours.products


# -------------------------------------------------------------------------------------------- products


def textbook_steps(matrix: NDArray[np.float64], start: NDArray[np.float64], k: int, tol: float) -> int:
    """Dimension of the first Krylov space whose k largest Ritz values have converged."""
    basis = start[:, None] / np.linalg.norm(start)
    while True:
        values, weights = np.linalg.eigh(basis.T @ matrix @ basis)
        ritz = basis @ weights[:, -k:]
        residuals = np.linalg.norm(matrix @ ritz - ritz * values[-k:], axis=0)
        if basis.shape[1] >= k and (residuals <= tol * np.abs(values).max()).all():
            return basis.shape[1]
        basis = np.linalg.qr(np.column_stack([basis, matrix @ basis[:, -1]]))[0]


@pytest.mark.parametrize("seed", range(4))
def test_no_more_products_are_spent_than_a_krylov_space_needs(seed):
    matrix = wishart(150)
    start = np.random.default_rng(seed).standard_normal(150)
    found = top_eigenvalues(Counted(matrix), 150, k=5, tol=1e-4, rng=seed)
    assert found.products <= textbook_steps(matrix, start, 5, 1e-4) * 51 // 50 + 1


# ---------------------------------------------------------------------------------------- bounded memory


@ENDS
@pytest.mark.parametrize("room", [10, 14])
def test_a_basis_that_starts_again_from_its_better_half_finds_the_same(find, rank, room):
    matrix = open_ended(200)
    found = find(Counted(matrix), 200, k=4, tol=1e-8, max_basis=room, max_products=2000, rng=0)
    assert found.converged
    assert found.products > room
    np.testing.assert_allclose(found.values, best(matrix, rank, 4), rtol=1e-10)


def test_a_bounded_basis_bounds_the_memory():
    diagonal = np.linspace(0, 1, 20000) ** 8

    def vectors_held(room: int) -> float:
        tracemalloc.start()
        top_eigenvalues(lambda v: diagonal * v, 20000, k=3, tol=1e-12, max_products=60, max_basis=room, rng=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / diagonal.nbytes

    assert vectors_held(10) < 10 * 1.5 + 8
    assert vectors_held(60) > 60


def test_copies_are_counted_across_restarts_where_subspaces_are_exhausted():
    matrix = with_spectrum([9] * 3 + [1, 2, 3, 4, 5] * 3)
    found = top_eigenvalues(Counted(matrix), 18, k=4, tol=1e-10, max_basis=10, rng=0)
    assert found.converged
    assert found.products > 10
    np.testing.assert_allclose(found.values, [9, 9, 9, 5], rtol=1e-9)


# ------------------------------------------------------------------------------------ copies and clusters


@pytest.mark.parametrize(("copies", "expected"), [(1, [5.0, 4.0]), (2, [5.0, 5.0]), (3, [5.0, 5.0])], ids=str)
def test_as_many_copies_are_found_as_there_are_starts(copies, expected):
    matrix = with_spectrum([5, 5, 4, 4, *np.linspace(0, 1, 196)])
    found = top_eigenvalues(Counted(matrix), 200, k=2, copies=copies, rng=0)
    assert found.converged
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)


def test_four_of_two_pairs_and_no_other():
    matrix = with_spectrum([5, 5, 4, 4, *np.linspace(0, 1, 196)])
    found = top_eigenvalues(Counted(matrix), 200, k=4, copies=2, rng=0, max_basis=16)
    assert found.converged
    np.testing.assert_allclose(found.values, [5, 5, 4, 4], rtol=1e-6)
    distance = np.linalg.norm(matrix @ found.vectors.T - found.vectors.T * found.values, axis=0) / 5
    assert (distance <= found.residuals + 1e-12).all()


def test_a_cluster_is_told_apart():
    cluster = [2, 1.999, 1.998, 1.997]
    matrix = with_spectrum([*cluster, *np.linspace(-1, 1, 196)])
    found = top_eigenvalues(Counted(matrix), 200, k=4, tol=1e-6, rng=0)
    np.testing.assert_allclose(found.values, cluster, rtol=1e-9)


@FINDERS
@pytest.mark.parametrize("copies", [2, 3])
def test_several_starts_end_where_there_is_little_to_find(find, copies):
    for matrix in (np.zeros((20, 20)), np.eye(20), np.ones((20, 20))):
        found = find(Counted(matrix), 20, k=3, copies=copies, rng=0)
        assert found.converged
        assert found.products <= 20


# ------------------------------------------------------------------------------------------- warm starts


def drifted(matrix: NDArray[np.float64]) -> NDArray[Any]:
    noise = np.random.default_rng(5).standard_normal(matrix.shape)
    return matrix + 0.01 * (noise + noise.T) / np.sqrt(len(matrix))


@FINDERS
def test_earlier_vectors_save_a_fifth_of_the_products_and_more(find, in_library):
    matrix = with_spectrum([3, 2.8, -2.9, -3.1, *np.linspace(-1, 1, 396)])
    like = in_library(np.empty(0))
    earlier = find(Counted(in_library(matrix)), 400, k=2, rng=0, like=like)
    later = in_library(drifted(matrix))
    cold = find(Counted(later), 400, k=2, rng=1, like=like)
    warm = find(Counted(later), 400, k=2, rng=1, like=like, start=earlier.vectors)
    assert warm.converged
    assert warm.products <= 0.8 * cold.products
    np.testing.assert_allclose(np.asarray(warm.values), np.asarray(cold.values), rtol=1e-6)


@pytest.mark.parametrize("size", [1.15, 2.0, 20.0])
def test_a_newcomer_is_seen_although_the_start_knows_nothing_of_it(size):
    matrix = with_spectrum([1.5, 1.3, 1.2, *np.linspace(-1, 1, 397)])
    earlier = top_eigenvalues(Counted(matrix), 400, k=2, rng=0)
    new = np.random.default_rng(9).standard_normal(400)
    new -= earlier.vectors.T @ (earlier.vectors @ new)
    grown = matrix + size * np.outer(new, new) / (new @ new)
    found = top_eigenvalues(Counted(grown), 400, k=3, rng=1, start=earlier.vectors)
    np.testing.assert_allclose(found.values, best(grown, np.positive, 3), rtol=1e-4)


def test_a_start_of_zeros_is_a_random_start():
    found = top_eigenvalues(Counted(wishart(50)), 50, k=2, rng=0, start=np.zeros((3, 50)))
    np.testing.assert_allclose(found.values, best(wishart(50), np.positive, 2), rtol=1e-6)


# ------------------------------------------------------------------------------------------------ errors


@FINDERS
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 9}, "needs 1 <= k < dim, got k=9 and dim=9; use numpy.linalg.eigvalsh"),
        ({"tol": 0.0}, "needs a tolerance above 0, got tol=0.0"),
        ({"max_products": 2}, "needs max_products >= k, got max_products=2 and k=3"),
        ({"max_basis": 7}, r"needs max_basis >= 2 \* k \+ 2, got max_basis=7 and k=3"),
        ({"copies": 0}, "needs copies >= 1, got copies=0"),
        (
            {"start": np.ones(9)},
            r"needs start to hold vectors of shape \(9,\), one a row, .* of shape \(9,\)",
        ),
        ({"start": np.ones((2, 8))}, r"got numpy.ndarray of shape \(2, 8\); give the vectors of an earlier"),
        ({"start": [[1.0]]}, "got builtins.list of shape None"),
        ({"start": np.full((1, 9), np.nan)}, "needs a finite start, got NaN or infinity"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_out_of_range_are_refused_by_name(find, arguments, message):
    with pytest.raises(ValueError, match=f"{find.__name__} needs.*|{message}") as caught:
        find(Counted(np.eye(9)), 9, **{"k": 3, **arguments})
    assert caught.match(message)


def test_a_start_of_another_library_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"in the library of like, got torch.Tensor of shape \(1, 9\)"):
        top_eigenvalues(Counted(np.eye(9)), 9, k=1, start=torch.ones(1, 9))
