"""What every measure of an hvp shares: how it calls the product and what it refuses of it."""

import math
from functools import partial

import numpy as np
import pytest

from probes import (
    bottom_eigenvalues,
    largest_magnitude_eigenvalues,
    spectral_density,
    top_eigenvalues,
    trace,
)
from tests.probes.curvature.matrices import Counted, largest, wishart

FINDERS = pytest.mark.parametrize(
    "find",
    [
        partial(top_eigenvalues, k=2),
        partial(bottom_eigenvalues, k=2),
        partial(largest_magnitude_eigenvalues, k=2),
        trace,
    ],
    ids=["top", "bottom", "magnitude", "trace"],
)


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


@pytest.mark.parametrize(
    ("find", "promised"),
    [
        (top_eigenvalues, ("values", "residuals", "converged", "products")),
        (trace, ("value", "standard_error")),
        (spectral_density, ("grid", "density")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_found_unpacks_as_promised_and_holds_more(find, promised):
    found = find(lambda v: np.arange(1.0, 9.0) * v, 8, rng=0)
    assert found._fields == promised
    assert all(mine is getattr(found, name) for mine, name in zip(found, promised, strict=True))
    assert found.products > 0
