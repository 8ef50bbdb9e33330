"""Hessian-vector products, and the check of gradients that the other tests lean on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
import scratchnet.nn.functional as F
from scratchnet import nn
from scratchnet.ops import elementwise
from scratchnet.tape import Array, primitive

Hvp = Callable[[Sequence[Array]], list[Array]]


def leaf(value: Any) -> sn.Tensor:
    return sn.Tensor(np.asarray(value, float), requires_grad=True)


def network() -> tuple[nn.Module, Callable[[], sn.Tensor]]:
    numbers = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 5, rng=1), nn.Tanh(), nn.Linear(5, 3, rng=2)).double()
    x, y = numbers.standard_normal((8, 4)), numbers.integers(0, 3, 8)
    return model, lambda: F.cross_entropy(model(x), y)


def random_vectors(parameters: Sequence[sn.Tensor], seed: int) -> list[Array]:
    numbers = np.random.default_rng(seed)
    return [numbers.standard_normal(p.shape) for p in parameters]


def inner(u: Sequence[Array], v: Sequence[Array]) -> float:
    return sum(float(np.vdot(a, b)) for a, b in zip(u, v, strict=True))


# ------------------------------------------------------------------------------------------- products


def test_the_hessian_of_a_quadratic_form_is_its_matrix(rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((4, 4))
    symmetric = matrix + matrix.T
    x, v = leaf(rng.standard_normal(4)), rng.standard_normal(4)
    (product,) = sn.hvp(lambda: (x @ (symmetric @ x)) * 0.5, [x], [v])
    np.testing.assert_allclose(product, symmetric @ v, rtol=1e-12)


def test_blocks_between_parameters_count_too() -> None:
    x, y = leaf([2.0]), leaf([3.0])
    products = sn.hvp(lambda: (x * x * y).sum(), [x, y], [np.array([1.0]), np.array([10.0])])
    assert [p.item() for p in products] == [6 + 40, 4]  # [[2y, 2x], [2x, 0]] (1, 10)


def test_the_hessian_of_a_network_is_the_one_that_differences_give() -> None:
    model, closure = network()
    assert sn.check_gradients(closure, list(model.parameters()), order=2, rng=0) < 1e-8


def test_a_loss_without_curvature_has_zero_products() -> None:
    x, unused = leaf([1.0, 2.0]), leaf([3.0])
    products = sn.hvp(lambda: (x * 3.0).sum() + unused.sum() * 0.0, [x, unused], [np.ones(2), np.ones(1)])
    np.testing.assert_array_equal(np.concatenate(products), np.zeros(3))
    products = sn.hvp(lambda: (x**2).sum() + unused.sum(), [x, unused], [np.ones(2), np.ones(1)])
    np.testing.assert_array_equal(np.concatenate(products), [2.0, 2.0, 0.0])


def test_products_are_arrays_of_the_parameters_shape_and_dtype() -> None:
    model, _ = network()
    model.float()
    x = np.ones((2, 4))
    parameters = list(model.parameters())
    products = sn.hvp(lambda: model(x).sum() ** 2, parameters, random_vectors(parameters, 0))
    assert {type(product) for product in products} == {np.ndarray}
    assert {product.dtype for product in products} == {np.dtype(np.float32)}
    assert [product.shape for product in products] == [p.shape for p in parameters]


def test_the_loss_is_computed_once_for_any_number_of_products() -> None:
    model, closure = network()
    calls: list[int] = []

    def counted() -> sn.Tensor:
        calls.append(1)
        return closure()

    parameters = list(model.parameters())
    product = sn.make_hvp(counted, parameters)
    first, second = (product(random_vectors(parameters, 0)) for _ in range(2))
    assert len(calls) == 1
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_products_leave_gradients_and_parameters_as_they_were() -> None:
    model, closure = network()
    before = model.state_dict()
    sn.hvp(closure, list(model.parameters()), random_vectors(list(model.parameters()), 0))
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_products_are_taken_inside_no_grad_too() -> None:
    x = leaf([1.0, 2.0])
    with sn.no_grad():
        (product,) = sn.hvp(lambda: (x**3).sum(), [x], [np.ones(2)])
    np.testing.assert_array_equal(product, [6.0, 12.0])


@pytest.mark.parametrize(
    "vectors",
    [[np.ones(3)], [np.ones((2, 1))], [], [np.ones(2), np.ones(2)]],
    ids=["longer", "column", "none", "two"],
)
def test_vectors_of_other_shapes_are_refused(vectors: list[Array]) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"hvp needs vectors shaped like the parameters, \[\(2,\)\], got \["):
        sn.hvp(lambda: (x**2).sum(), [x], vectors)


def test_a_loss_that_does_not_depend_on_a_parameter_is_refused() -> None:
    x, stranger = leaf([1.0]), leaf([1.0])
    with pytest.raises(RuntimeError, match="input 1 is not among them"):
        sn.hvp(lambda: (x**2).sum(), [x, stranger], [np.ones(1), np.ones(1)])


# ------------------------------------------------------------------------------------------------ laws


@pytest.fixture(scope="module")
def product() -> tuple[Hvp, list[sn.Tensor]]:
    model, closure = network()
    parameters: list[sn.Tensor] = list(model.parameters())
    return sn.make_hvp(closure, parameters), parameters


@settings(max_examples=25, deadline=None)
@given(seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)))
def test_the_hessian_is_symmetric(product: tuple[Hvp, list[sn.Tensor]], seeds: tuple[int, int]) -> None:
    hvp, parameters = product
    u, v = (random_vectors(parameters, seed) for seed in seeds)
    assert inner(u, hvp(v)) == pytest.approx(inner(v, hvp(u)), rel=1e-9, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_the_product_is_linear_in_the_vector(
    product: tuple[Hvp, list[sn.Tensor]], seed: int, a: float, b: float
) -> None:
    hvp, parameters = product
    u, v = random_vectors(parameters, seed), random_vectors(parameters, seed + 1)
    mixed = hvp([a * x + b * y for x, y in zip(u, v, strict=True)])
    for together, of_u, of_v in zip(mixed, hvp(u), hvp(v), strict=True):
        np.testing.assert_allclose(together, a * of_u + b * of_v, rtol=1e-9, atol=1e-12)


# ----------------------------------------------------------------------------------- the check itself


@primitive
def crooked(x: Any) -> Array:
    """y = x², with a derivative that is wrong by one part in a thousand."""
    return x**2


crooked.differentiate(lambda g, _y, x: g * x * 2.002)


@primitive
def crooked_twice(x: Any) -> Array:
    """y = x³, with a first derivative that is right and a second one that is not."""
    return x**3


@primitive
def crooked_slope(x: Any) -> Array:
    """y = 3 x²."""
    return 3 * x**2


crooked_twice.differentiate(lambda g, _y, x: g * crooked_slope(x))
crooked_slope.differentiate(lambda g, _y, x: g * x * 6.006)


def test_the_check_finds_a_wrong_first_derivative() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(AssertionError, match=r"relative error of 0\.000999 at order 1, more than .* 1e-06"):
        sn.check_gradients(lambda: crooked(x).sum(), [x], rng=0)
    assert sn.check_gradients(lambda: crooked(x).sum(), [x], rng=0, order=1, tolerance=1e-2) > 9e-4


def test_the_check_finds_a_wrong_second_derivative_only_at_order_two() -> None:
    x = leaf([1.0, 2.0])
    assert sn.check_gradients(lambda: crooked_twice(x).sum(), [x], order=1, rng=0) < 1e-8
    with pytest.raises(AssertionError, match="at order 2"):
        sn.check_gradients(lambda: crooked_twice(x).sum(), [x], order=2, rng=0)


def test_the_check_refuses_a_gradient_that_is_not_a_number() -> None:
    x = leaf([0.0])
    with np.errstate(divide="ignore", invalid="ignore"), pytest.raises(AssertionError, match="error of nan"):
        sn.check_gradients(lambda: (x.sqrt() * x).sum(), [x], order=1, rng=0)


def test_the_check_puts_the_parameters_back_even_after_an_error() -> None:
    x = leaf([1.0, 2.0])
    array = x.array

    def fragile() -> sn.Tensor:
        if x.array[0] != 1.0:
            raise ArithmeticError
        return elementwise.exp(x).sum()

    with pytest.raises(ArithmeticError):
        sn.check_gradients(fragile, [x])
    assert x.array is array
    np.testing.assert_array_equal(array, [1.0, 2.0])


def test_the_check_needs_float64() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"float64, got float32 for parameter 0; use model\.double\(\)"):
        sn.check_gradients(lambda: layer(np.ones((1, 2))).sum(), list(layer.parameters()))


def test_the_check_knows_two_orders() -> None:
    with pytest.raises(ValueError, match="order 1 or 2, got 3"):
        sn.check_gradients(lambda: leaf(1.0), [], order=3)


# ---------------------------------------------------------------------------------- Jacobians and the rest


def dense(parameters: Sequence[sn.Tensor], multiply: Callable[[Sequence[Array]], list[Array]]) -> Array:
    """The matrix behind a product, column by column."""
    sizes = np.cumsum([p.size for p in parameters])
    columns = []
    for column in np.eye(int(sizes[-1])):
        parts = np.split(column, sizes[:-1])
        vectors = [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]
        columns.append(np.concatenate([part.ravel() for part in multiply(vectors)]))
    return np.stack(columns, axis=1)


def predictions() -> tuple[list[sn.Tensor], Callable[[], sn.Tensor], Array]:
    numbers = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=1), nn.Tanh(), nn.Linear(4, 2, rng=2)).double()
    x = numbers.standard_normal((5, 3))
    return list(model.parameters()), lambda: model(x), numbers.integers(0, 2, 5)


def test_both_ways_to_the_hessian_agree_on_a_network() -> None:
    model, closure = network()
    parameters = list(model.parameters())
    vectors = random_vectors(parameters, 3)
    pairs = zip(
        sn.hvp(closure, parameters, vectors), sn.forward_hvp(closure, parameters, vectors), strict=True
    )
    for backwards, forwards in pairs:
        np.testing.assert_allclose(forwards, backwards, rtol=1e-11, atol=1e-13)


def test_a_jacobian_s_products_from_both_sides_are_its_rows_and_columns() -> None:
    parameters, predict, _ = predictions()
    matrix = np.concatenate([j.reshape(10, -1) for j in sn.jacobian(predict, parameters)], axis=1)
    columns = dense(parameters, lambda vectors: [sn.jvp(predict, parameters, vectors)])
    np.testing.assert_allclose(columns, matrix, rtol=1e-12, atol=1e-14)
    cotangent = np.random.default_rng(1).standard_normal((5, 2))
    pulled = np.concatenate([part.ravel() for part in sn.vjp(predict, parameters, cotangent)])
    np.testing.assert_allclose(pulled, cotangent.ravel() @ matrix, rtol=1e-12)


def test_the_gauss_newton_matrix_is_the_dense_product_and_has_no_negative_eigenvalue() -> None:
    parameters, predict, labels = predictions()

    def loss(output: sn.Tensor) -> sn.Tensor:
        return F.cross_entropy(output, labels)

    matrix = np.concatenate([j.reshape(10, -1) for j in sn.jacobian(predict, parameters)], axis=1)
    output = leaf(predict().numpy())
    curvature = sn.hessian(lambda: loss(output), [output])
    gauss_newton = dense(parameters, sn.make_ggn_vp(predict, loss, parameters))
    np.testing.assert_allclose(gauss_newton, matrix.T @ curvature @ matrix, rtol=1e-11, atol=1e-14)
    assert np.linalg.eigvalsh(gauss_newton).min() > -1e-14
    hessian = sn.hessian(lambda: loss(predict()), parameters)
    assert np.abs(hessian - gauss_newton).max() > 1e-3  # the network's own curvature is what is left out


def test_the_gauss_newton_matrix_of_a_linear_model_is_its_hessian() -> None:
    numbers = np.random.default_rng(2)
    model, x, y = (
        nn.Linear(3, 2, rng=0).double(),
        numbers.standard_normal((6, 3)),
        np.array([0, 1, 1, 0, 1, 1]),
    )
    parameters = list(model.parameters())
    vectors = random_vectors(parameters, 1)
    products = sn.ggn_vp(lambda: model(x), lambda out: F.cross_entropy(out, y), parameters, vectors)
    exact = sn.hvp(lambda: F.cross_entropy(model(x), y), parameters, vectors)
    for mine, other in zip(products, exact, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-14)


def test_a_dense_hessian_is_symmetric_and_agrees_with_the_products() -> None:
    model, closure = network()
    parameters = list(model.parameters())
    matrix = sn.hessian(closure, parameters)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    v = random_vectors(parameters, 4)
    product = np.concatenate([part.ravel() for part in sn.hvp(closure, parameters, v)])
    np.testing.assert_allclose(matrix @ np.concatenate([part.ravel() for part in v]), product, rtol=1e-11)


def test_the_gradients_of_single_examples_average_to_the_gradient_of_the_batch() -> None:
    model, x = nn.Linear(3, 2, rng=0).double(), np.random.default_rng(3).standard_normal((4, 3))
    y = np.array([0, 1, 1, 0])
    parameters = list(model.parameters())
    each = sn.per_example_gradients(lambda a, b: F.cross_entropy(model(a), b), parameters, x, y)
    whole = sn.grad(F.cross_entropy(model(x), y), parameters)
    assert [g.shape for g in each] == [(4, 2, 3), (4, 2)]
    for single, batch in zip(each, whole, strict=True):
        np.testing.assert_allclose(single.mean(axis=0), batch.numpy(), rtol=1e-12)


def test_what_an_output_does_not_depend_on_gets_zeros() -> None:
    x, unused = leaf([1.0, 2.0]), leaf([[3.0]])
    assert [j.tolist() for j in sn.jacobian(lambda: x * 2.0, [x, unused])] == [
        [[2.0, 0.0], [0.0, 2.0]],
        [[[0.0]], [[0.0]]],
    ]
    assert sn.jvp(lambda: x * 2.0, [unused], [np.ones((1, 1))]).tolist() == [0.0, 0.0]
    assert sn.vjp(lambda: sn.Tensor(np.ones(2)), [x], np.ones(2))[0].tolist() == [0.0, 0.0]


def test_pushing_forward_goes_through_shared_and_repeated_tensors() -> None:
    x = leaf([2.0, 3.0])

    def closure() -> sn.Tensor:
        y = x * x
        return y * y + y + x

    moved = sn.jvp(closure, [x], [np.array([1.0, 10.0])])
    np.testing.assert_allclose(moved, (4 * x.numpy() ** 3 + 2 * x.numpy() + 1) * [1.0, 10.0])


def test_derivatives_equal_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    derive = torch.autograd.functional
    numbers = np.random.default_rng(5)
    w, x, u = numbers.standard_normal((3, 4)), numbers.standard_normal(4), numbers.standard_normal(3)
    mine = leaf(x)

    def closure() -> sn.Tensor:
        return (sn.Tensor(w) @ mine).tanh() * mine[:3]

    def theirs(a: Any) -> Any:
        return torch.tanh(torch.tensor(w) @ a) * a[:3]

    a, v = torch.tensor(x), numbers.standard_normal(4)
    np.testing.assert_allclose(
        sn.jvp(closure, [mine], [v]), derive.jvp(theirs, a, torch.tensor(v))[1].numpy(), rtol=1e-12
    )
    np.testing.assert_allclose(
        sn.vjp(closure, [mine], u)[0], derive.vjp(theirs, a, torch.tensor(u))[1].numpy(), rtol=1e-12
    )
    np.testing.assert_allclose(
        sn.jacobian(closure, [mine])[0], derive.jacobian(theirs, a).numpy(), rtol=1e-12
    )
    np.testing.assert_allclose(
        sn.hessian(lambda: (closure() * u).sum(), [mine]),
        derive.hessian(lambda b: (theirs(b) * torch.tensor(u)).sum(), a).numpy(),
        rtol=1e-11,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: sn.jvp(lambda: x * 2.0, [x], [np.ones(3)]),
            r"jvp needs vectors shaped like .*\(2,\).*\(3,\)",
        ),
        (lambda x: sn.forward_hvp(lambda: (x * x).sum(), [x], []), "forward_hvp needs vectors"),
        (lambda x: sn.vjp(lambda: x * 2.0, [x], np.ones(3)), r"shape \(2,\), got \(3,\)"),
        (lambda x: sn.per_example_gradients(lambda a: a, [x], np.ones(2), np.ones(3)), r"lengths \[2, 3\]"),
        (lambda x: sn.per_example_gradients(lambda a: a, [x], np.ones(0)), "not empty"),
    ],
)
def test_derivatives_refuse_what_does_not_fit(call: Callable[[sn.Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(leaf([1.0, 2.0]))
