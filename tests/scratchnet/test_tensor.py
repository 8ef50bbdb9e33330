"""The tensor: NumPy's values, PyTorch's manners."""

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.tape import Array

A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
B = np.array([[0.5, 4.0, 1.0], [2.0, 2.0, 3.0]])


def leaf(value: Any) -> sn.Tensor:
    return sn.Tensor(np.asarray(value, float), requires_grad=True)


# ------------------------------------------------------------------------------------------ what it is


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, np.float32),
        ([1.0, 2.0], np.float32),
        (3, np.int64),
        (True, np.bool_),
        (np.float64(1.0), np.float64),
        (np.array([1.0]), np.float64),
        (np.array([1.0], np.float16), np.float16),
        (sn.Tensor(np.array([1.0])), np.float64),
    ],
    ids=["number", "list", "integer", "truth", "NumPy scalar", "array", "half", "tensor"],
)
def test_python_floats_become_float32_and_what_has_a_dtype_keeps_it(data: Any, dtype: type) -> None:
    assert sn.Tensor(data).dtype == dtype


def test_an_array_is_not_copied_on_its_way_in_or_out() -> None:
    array = np.ones(3)
    tensor = sn.Tensor(array)
    assert tensor.array is array
    assert tensor.numpy() is array
    assert np.shares_memory(np.asarray(tensor), array)
    assert np.shares_memory(tensor.detach().numpy(), array)


def test_it_tells_its_shape_dtype_and_size() -> None:
    tensor = sn.Tensor(A)
    assert tensor.dtype == np.float64
    assert (tensor.shape, tensor.ndim, tensor.size, len(tensor)) == ((2, 3), 2, 6, 2)


def test_a_single_element_becomes_a_python_number() -> None:
    assert sn.Tensor(2.5).item() == float(sn.Tensor(2.5)) == 2.5
    assert bool(sn.Tensor(2.5))
    assert not sn.Tensor(0.0)


def test_its_text_says_values_dtype_and_whether_it_wants_a_gradient() -> None:
    assert repr(sn.Tensor([1.0, 2.0])) == "Tensor([1., 2.], dtype=float32)"
    assert repr(leaf([1.0])) == "Tensor([1.], dtype=float64, requires_grad=True)"


def test_detach_takes_it_off_the_tape() -> None:
    y = leaf([1.0]).exp().detach()
    assert not y.requires_grad
    assert y.node is None


@pytest.mark.parametrize("data", [np.array([1, 2]), np.array([True])], ids=["integers", "booleans"])
def test_a_gradient_for_what_is_not_of_floats_is_refused(data: Array) -> None:
    with pytest.raises(TypeError, match=rf"floating-point data, got {data.dtype}; convert it with \.astype"):
        sn.Tensor(data, requires_grad=True)


def test_an_element_cannot_be_assigned_to() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"got an assignment to an element; write into tensor\.array"):
        x[0] = 3.0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301
def test_a_copy_of_a_leaf_has_an_array_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    twin = duplicate(x)
    twin.array[0] = 9
    assert (x.array[0], twin.requires_grad) == (1.0, True)
    np.testing.assert_array_equal(twin.grad.numpy(), [3.0, 3.0])


# ------------------------------------------------------------------------------------------- operators

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_binary_operators_compute_what_numpy_computes_on_either_side(op: Callable[[Any, Any], Any]) -> None:
    for left, right in [(sn.Tensor(A), sn.Tensor(B)), (sn.Tensor(A), B), (A, sn.Tensor(B))]:
        result = op(left, right)
        assert type(result) is sn.Tensor
        np.testing.assert_array_equal(result.numpy(), op(A, B))
    np.testing.assert_array_equal(op(2.0, sn.Tensor(A)).numpy(), op(2.0, A))
    np.testing.assert_array_equal(op(np.float64(2), sn.Tensor(A)).numpy(), op(2.0, A))


def test_the_matrix_product_is_numpy_s_on_either_side() -> None:
    sides: list[tuple[Any, Any]] = [(sn.Tensor(A), sn.Tensor(B.T)), (sn.Tensor(A), B.T), (A, sn.Tensor(B.T))]
    for left, right in sides:
        np.testing.assert_array_equal((left @ right).numpy(), A @ B.T)


METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
    "negative": (lambda x: -x, np.negative),
    "power": (lambda x: x**2.5, lambda x: x**2.5),
    "power by a NumPy scalar": (lambda x: x ** np.float64(2), np.square),
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: x.log(), np.log),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "abs": (lambda x: (-x).abs(), np.abs),
    "relu": (lambda x: (x - 3.5).relu(), lambda x: np.maximum(x - 3.5, 0)),
    "tanh": (lambda x: x.tanh(), np.tanh),
    "sigmoid": (lambda x: x.sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "sum": (lambda x: x.sum(), np.sum),
    "sum over an axis": (lambda x: x.sum(axis=0), lambda x: x.sum(axis=0)),
    "mean": (lambda x: x.mean(), np.mean),
    "mean over the last axis, kept": (
        lambda x: x.mean(-1, keepdims=True),
        lambda x: x.mean(-1, keepdims=True),
    ),
    "mean over axes": (lambda x: x.mean(axis=(0, 1)), np.mean),
    "reshape by sizes": (lambda x: x.reshape(3, -1), lambda x: x.reshape(3, -1)),
    "reshape by a tuple": (lambda x: x.reshape((6,)), np.ravel),
    "transpose": (lambda x: x.transpose(), np.transpose),
    "transpose by axes": (lambda x: x.transpose(-1, 0), np.transpose),
    "T": (lambda x: x.T, np.transpose),
    "an element": (lambda x: x[1, 2], lambda x: x[1, 2]),
    "rows by a tensor": (lambda x: x[sn.Tensor([1, 1, 0])], lambda x: x[[1, 1, 0]]),
    "a tensor in a pair": (lambda x: x[:, sn.Tensor([2, 0])], lambda x: x[:, [2, 0]]),
}


@pytest.mark.parametrize(("method", "numpy"), METHODS.values(), ids=METHODS)
def test_methods_compute_what_numpy_computes_and_keep_the_dtype(
    method: Callable[[Any], Any], numpy: Callable[[Array], Array]
) -> None:
    for dtype, tolerance in ((np.float64, 1e-14), (np.float32, 1e-6)):
        result = method(sn.Tensor(A.astype(dtype)))
        assert result.dtype == dtype
        assert result.shape == np.shape(numpy(A))
        np.testing.assert_allclose(result.numpy(), numpy(A), rtol=tolerance)


@pytest.mark.parametrize("method", [method for method, _ in METHODS.values()], ids=METHODS)
def test_methods_have_the_derivatives_that_differences_have(method: Callable[[Any], Any]) -> None:
    x = leaf(A)
    sn.check_gradients(lambda: (method(x) * 0.5).sum(), [x], rng=0)


def test_the_mean_of_nothing_is_nan() -> None:
    assert np.isnan(sn.Tensor(np.zeros((0, 3))).mean().item())


def test_a_tensor_is_gone_through_row_by_row() -> None:
    np.testing.assert_array_equal([row.numpy() for row in sn.Tensor(A)], A)
    with pytest.raises(TypeError, match="len"):
        list(sn.Tensor(1.0))


@pytest.mark.parametrize(
    ("exponent", "name"),
    [(np.array([1.0, 2.0]), "ndarray"), (sn.Tensor([1.0]), "Tensor")],
    ids=["array", "tensor"],
)
def test_a_power_by_anything_but_a_number_is_refused(exponent: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"power needs a number as its exponent, got {name}; write \(x\.log"):
        sn.Tensor([1.0, 2.0]) ** exponent


def test_operations_on_a_parameter_give_plain_tensors() -> None:
    assert type(sn.nn.Parameter(np.ones(2)) * 2) is sn.Tensor


def test_a_number_is_formatted_as_one_and_compared_as_one() -> None:
    loss = sn.Tensor(np.array(0.25), requires_grad=True)
    assert f"{loss:.3f}" == "0.250"
    assert loss < 1
    assert loss >= sn.Tensor(np.array(0.25))
    assert (sn.Tensor([1.0, 3.0]) > 2).tolist() == [False, True]
    assert (sn.Tensor([1.0, 3.0]) <= 1).tolist() == [True, False]
    assert (sn.Tensor([1, 3]) == np.array([1, 2])).tolist() == [True, False]
    assert (sn.Tensor([1, 3]) != sn.Tensor([1, 2])).mean() == 0.5
    assert {loss: 1}[loss] == 1


def test_a_loss_that_is_not_finite_is_told() -> None:
    x = sn.Tensor(np.array(-1.0), requires_grad=True)
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="finite loss, got nan"):
        x.sqrt().backward()


def test_two_leaves_never_share_one_gradient() -> None:
    left, right = (sn.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    (left + right).sum().backward(create_graph=True)
    assert left.grad is not None
    assert right.grad is not None
    left.grad.array[0] = 5
    np.testing.assert_array_equal(right.grad.numpy(), [1, 1])
