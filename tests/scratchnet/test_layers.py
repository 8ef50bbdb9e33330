"""Layers and their functions: known answers, derivatives, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
import scratchnet.nn.functional as F
from scratchnet import nn
from scratchnet.tape import Array

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def test_linear_multiplies_by_the_transposed_weight_and_adds_the_bias() -> None:
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], "bias": [10.0, 20.0]})
    np.testing.assert_array_equal(layer(X).numpy(), [[17.0, 18.0], [8.5, 24.0]])


@pytest.mark.parametrize("size", [(3,), (4, 3), (2, 4, 3)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_linear_maps_the_last_axis_and_has_both_derivatives(
    rng: np.random.Generator, size: tuple[int, ...], bias: bool
) -> None:
    layer = nn.Linear(3, 2, bias=bias, rng=0).double()
    x = sn.Tensor(rng.standard_normal(size), requires_grad=True)
    assert layer(x).shape == (*size[:-1], 2)
    assert len(list(layer.parameters())) == 1 + bias
    sn.check_gradients(lambda: (layer(x) ** 3).sum(), [x, *layer.parameters()], rng=1)


def test_the_gradient_of_a_bias_sums_over_all_examples() -> None:
    layer = nn.Linear(3, 2)
    layer(np.ones((2, 5, 3))).sum().backward()
    assert layer.bias is not None
    np.testing.assert_array_equal(np.asarray(layer.bias.grad), [10.0, 10.0])


def test_linear_starts_uniform_within_one_over_the_root_of_its_inputs() -> None:
    layer = nn.Linear(64, 500, rng=0)
    assert layer.bias is not None
    for values in (layer.weight.numpy(), layer.bias.numpy()):
        assert np.abs(values).max() <= 1 / 8
        assert np.abs(values).max() > 0.99 / 8
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(values.size)


def test_a_seed_fixes_the_first_values_and_a_generator_goes_on() -> None:
    generator = np.random.default_rng(0)
    first, second = nn.Linear(3, 2, rng=generator), nn.Linear(3, 2, rng=generator)
    np.testing.assert_array_equal(first.weight.numpy(), nn.Linear(3, 2, rng=0).weight.numpy())
    assert not np.array_equal(first.weight.numpy(), second.weight.numpy())
    assert not np.array_equal(nn.Linear(3, 2).weight.numpy(), nn.Linear(3, 2).weight.numpy())


def test_integers_and_lists_are_welcome_as_data() -> None:
    layer = nn.Linear(3, 2, rng=0)
    reference = layer(np.array([[1.0, 2.0, 3.0]])).numpy()
    np.testing.assert_array_equal(layer(np.array([[1, 2, 3]], np.uint8)).numpy(), reference)
    np.testing.assert_array_equal(layer([[1.0, 2.0, 3.0]]).numpy(), reference)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.ReLU(), np.maximum(X, 0)),
        (nn.Tanh(), np.tanh(X)),
        (nn.Sigmoid(), 1 / (1 + np.exp(-X))),
    ],
    ids=repr,
)
def test_activations_are_what_they_are_called(layer: nn.Module, expected: Array) -> None:
    np.testing.assert_allclose(layer(X).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(layer(sn.Tensor(X)).numpy(), expected, rtol=1e-14)
    assert list(layer.parameters()) == []


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_and_its_logarithm_go_along_the_axis_that_is_named(dim: int) -> None:
    expected = np.exp(X) / np.exp(X).sum(axis=dim, keepdims=True)
    np.testing.assert_allclose(F.softmax(X, dim).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(F.log_softmax(X, dim=dim).numpy(), np.log(expected), rtol=1e-13)


def test_sequential_applies_its_modules_in_order() -> None:
    first, second = nn.Linear(3, 4, rng=0), nn.Linear(4, 2, rng=1)
    model = nn.Sequential(first, nn.Tanh(), second)
    np.testing.assert_array_equal(model(X).numpy(), second(first(X).tanh()).numpy())
    assert (len(model), model[0], model[-1]) == (3, first, second)
    assert list(model) == list(model.children())


def test_an_empty_sequential_gives_back_what_it_gets() -> None:
    assert nn.Sequential()(X) is X


def weight(*size: int) -> sn.Tensor:
    return sn.Tensor(np.zeros(size, np.float32))


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "inputs of another size": (
        lambda: nn.Linear(3, 2)(np.ones((4, 5))),
        ValueError,
        r"linear needs a last axis of 3 for its weight of shape \(2, 3\), got an input of shape \(4, 5\)",
    ),
    "a number as input": (lambda: nn.Linear(3, 2)(1.0), ValueError, r"got an input of shape \(\)"),
    "a bias of another size": (
        lambda: F.linear(np.ones((4, 3)), weight(2, 3), weight(1)),
        ValueError,
        r"linear needs a bias of shape \(2,\) for its weight of shape \(2, 3\), got \(1,\)",
    ),
    "no inputs": (lambda: nn.Linear(0, 2), ValueError, "Linear needs in_features >= 1, got 0"),
    "no outputs": (lambda: nn.Linear(2, -1), ValueError, "Linear needs out_features >= 1, got -1"),
    "a function in a Sequential": (
        lambda: nn.Sequential(nn.ReLU(), np.tanh),  # type: ignore[arg-type]
        TypeError,
        "Sequential needs modules, got ufunc at position 1",
    ),
    "an input of another dtype": (
        lambda: nn.Linear(3, 2)(sn.Tensor(X, requires_grad=True)),
        TypeError,
        r"linear needs tensors of one dtype, got float32 and float64; convert a model with \.double\(\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("first", [nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Dropout(0.0)], ids=repr)
def test_data_of_another_dtype_takes_the_network_s_through_layers_without_weights(first: nn.Module) -> None:
    model = nn.Sequential(first, nn.Linear(3, 2, rng=0))
    for data in (X, sn.Tensor(X), X.astype(int)):
        assert model(data).dtype == np.float32
    assert model.double()(X.astype(np.float32)).dtype == np.float64
