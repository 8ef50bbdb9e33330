import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from probes import stability_threshold, top_eigenvalues, trace


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


def distance_to_spectrum(values: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    return np.abs(values[:, None] - np.linalg.eigvalsh(matrix)).min(axis=1)


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


@CLOSED_FORMS
def test_eigenvalues_of_a_hessian_in_closed_form(hessian):
    dim = len(hessian)
    found = top_eigenvalues(Counted(hessian), dim, k=dim - 1, tol=1e-10, rng=0)
    assert found.converged
    np.testing.assert_allclose(found.values, largest(hessian, dim - 1), rtol=1e-8, atol=1e-10)


@CLOSED_FORMS
def test_trace_of_a_hessian_in_closed_form(hessian):
    found = trace(Counted(hessian), len(hessian), samples=400, rng=0)
    assert abs(float(found.value) - np.trace(hessian)) < 3 * float(found.standard_error)


def test_adding_a_constant_to_all_logits_is_flat():
    found = top_eigenvalues(Counted(softmax_regression()), 12, k=11, tol=1e-10, rng=0)
    np.testing.assert_allclose(found.values[-3:], 0.0, atol=1e-12)


# ----------------------------------------------------------------------------------- largest eigenvalues


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


@pytest.mark.parametrize("find", [top_eigenvalues, trace])
def test_products_are_counted_exactly(find):
    product = Counted(wishart(30))
    assert find(product, 30, rng=0).products == product.calls


@pytest.mark.parametrize("find", [top_eigenvalues, trace])
def test_a_seed_gives_the_same_again(find):
    runs = [find(Counted(wishart(30)), 30, rng=rng) for rng in (7, 7, np.random.default_rng(7), 8)]
    for first, second, same in [
        (runs[0], runs[1], True),
        (runs[0], runs[2], True),
        (runs[0], runs[3], False),
    ]:
        assert (np.asarray(first[1]) == np.asarray(second[1])).all() == same


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_take_the_library_and_precision_of_like(dtype, in_library):
    like = in_library(np.empty(0, dtype=dtype))
    matrix = in_library(wishart(60).astype(dtype))
    asked = set()

    def hvp(vector):
        asked.add((type(vector), vector.dtype))
        return matrix @ vector

    top = top_eigenvalues(hvp, 60, k=2, rng=0, like=like)
    whole = trace(hvp, 60, rng=0, like=like)
    assert asked == {(type(like), like.dtype)}
    assert {number.dtype for number in (top.values, top.residuals, whole.value, whole.standard_error)} == {
        like.dtype
    }
    assert top.converged
    np.testing.assert_allclose(top.values, largest(wishart(60), 2), rtol=1e-5)


def test_numpy_and_torch_find_the_same():
    torch = pytest.importorskip("torch")
    matrix = wishart(50)
    tensor = torch.asarray(matrix, dtype=torch.float64).requires_grad_()
    ours = top_eigenvalues(Counted(matrix), 50, tol=1e-10, rng=0)
    theirs = top_eigenvalues(Counted(tensor), 50, tol=1e-10, rng=0, like=torch.empty(0, dtype=torch.float64))
    np.testing.assert_allclose(theirs.values.numpy(), ours.values, rtol=1e-12)
    expected = trace(Counted(matrix), 50, rng=0).value
    found = trace(Counted(tensor), 50, rng=0, like=torch.empty(0, dtype=torch.float64)).value
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


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


# ------------------------------------------------------------------------------------------------- trace


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


# --------------------------------------------------------------------------------------------- threshold


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"learning_rate": 0.01}, 200.0, id="plain"),
        pytest.param({"learning_rate": 0.5, "momentum": 0.75}, 7.0, id="heavy ball"),
        pytest.param({"learning_rate": 0.5, "momentum": 0.75, "nesterov": True}, 2.8, id="Nesterov"),
        pytest.param({"learning_rate": 0.5, "nesterov": True}, 4.0, id="Nesterov without momentum"),
        pytest.param({"learning_rate": 0.5, "weight_decay": 0.1}, 3.9, id="weight decay"),
        pytest.param({"learning_rate": 0.0}, math.inf, id="no learning rate"),
    ],
)
def test_stability_threshold_of_known_optimisers(arguments, expected):
    assert stability_threshold(**arguments) == pytest.approx(expected)


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_descent_on_a_parabola_settles_below_the_threshold_and_not_above_it(momentum, nesterov, weight_decay):
    threshold = stability_threshold(0.1, momentum, nesterov, weight_decay)

    def distance_after_descent(curvature: float) -> float:
        weight, velocity = 1.0, 0.0
        for _ in range(3000):
            gradient = (curvature + weight_decay) * weight
            velocity = momentum * velocity + gradient
            weight -= 0.1 * (gradient + momentum * velocity if nesterov else velocity)
        return abs(weight)

    assert distance_after_descent(0.99 * threshold) < 1e-3
    assert distance_after_descent(1.01 * threshold) > 1e3


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"learning_rate": 0.1, "momentum": 1.0},
        {"learning_rate": 0.1, "momentum": -0.1},
        {"learning_rate": 0.1, "weight_decay": -1.0},
    ],
    ids=str,
)
def test_hyperparameters_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="needs learning_rate >= 0, 0 <= momentum < 1 and weight_decay >= 0"):
        stability_threshold(**arguments)


# ------------------------------------------------------------------------------------------------ errors


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


@pytest.mark.parametrize(("dim", "samples"), [(0, 10), (5, 1)])
def test_a_trace_without_a_standard_error_is_refused(dim, samples):
    with pytest.raises(
        ValueError, match=f"needs dim >= 1 and samples >= 2, got dim={dim} and samples={samples}"
    ):
        trace(Counted(np.eye(dim)), dim, samples=samples)


FINDERS = pytest.mark.parametrize(
    "find", [lambda *a, **k: top_eigenvalues(*a, k=2, **k), trace], ids=["top", "trace"]
)


@FINDERS
@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_a_like_with_too_few_digits_is_refused(find, dtype):
    with pytest.raises(ValueError, match=f"needs like to be float32 or float64, got {dtype}; cast it"):
        find(Counted(np.eye(4)), 4, rng=0, like=np.empty(0, dtype=dtype))


@FINDERS
@pytest.mark.parametrize(
    ("hvp", "came"),
    [
        pytest.param(lambda v: v[:2], r"numpy.ndarray of shape \(2,\)", id="too short"),
        pytest.param(lambda v: v[:, None], r"numpy.ndarray of shape \(4, 1\)", id="a column"),
        pytest.param(lambda v: [v], "builtins.list of shape None", id="a list"),
        pytest.param(lambda v: None, "builtins.NoneType of shape None", id="nothing"),
    ],
)
def test_a_product_of_another_form_is_refused(find, hvp, came):
    with pytest.raises(ValueError, match=rf"hvp to return a vector of shape \(4,\) .* got {came}; flatten"):
        find(hvp, 4, rng=0)


def test_a_product_of_another_library_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"library of its argument, got torch.Tensor of shape \(4,\)"):
        trace(lambda v: torch.ones(4), 4, rng=0)


@FINDERS
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_product_that_is_not_finite_is_refused(find, value):
    with pytest.raises(
        ValueError, match="needs finite Hessian-vector products, got NaN or infinity in number 1"
    ):
        find(lambda v: v * value, 4, rng=0)


@FINDERS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_matrix_that_is_not_symmetric_is_refused(find, dtype):
    matrix = np.random.default_rng(0).standard_normal((50, 50)).astype(dtype)
    with pytest.raises(ValueError, match="needs a symmetric Hessian, got <u, Hv> and <v, Hu> that differ by"):
        find(Counted(matrix), 50, rng=0, like=np.empty(0, dtype=dtype))


@FINDERS
def test_a_product_that_changes_from_call_to_call_is_refused(find):
    rng, matrix = np.random.default_rng(0), wishart(50)
    with pytest.raises(ValueError, match="make every call compute the same function"):
        find(lambda v: matrix @ v + 0.1 * rng.standard_normal(50), 50, rng=0)
