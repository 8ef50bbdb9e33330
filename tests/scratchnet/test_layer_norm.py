"""What normalisation over the last axes promises beyond PyTorch's answers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.tape import Array

examples = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=5), elements=st.floats(-10, 10)
)


@settings(max_examples=40, deadline=None)
@given(x=examples)
def test_each_example_has_mean_zero_and_the_variance_that_eps_leaves(x: Array) -> None:
    y = F.layer_norm(x, x.shape[-1:], eps=1e-3).numpy()
    np.testing.assert_allclose(y.mean(axis=-1), 0.0, atol=1e-12)
    variance = x.var(axis=-1)
    np.testing.assert_allclose(y.var(axis=-1), variance / (variance + 1e-3), rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(x=examples, shift=st.floats(-5, 5), factor=st.floats(0.5, 2.0))
def test_a_layer_norm_does_not_see_shifts_and_factors(x: Array, shift: float, factor: float) -> None:
    # With a variance far above eps, which is not scaled.
    x = x + 3.0 * np.arange(x.shape[-1])
    once, moved = (F.layer_norm(value, x.shape[-1:], eps=1e-12).numpy() for value in (x, factor * x + shift))
    if (x.var(axis=-1) > 0.1).all():
        np.testing.assert_allclose(moved, once, rtol=1e-6, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(x=examples)
def test_each_example_has_root_mean_square_one(x: Array) -> None:
    square = np.mean(x**2, axis=-1)
    y = F.rms_norm(x, x.shape[-1:], eps=1e-3).numpy()
    np.testing.assert_allclose(np.mean(y**2, axis=-1), square / (square + 1e-3), rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_the_gradient_is_orthogonal_to_shifts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = sn.Tensor(rng.standard_normal((3, 5)), requires_grad=True)
    (slope,) = sn.grad(F.layer_norm(x, (5,)), [x], rng.standard_normal((3, 5)))
    np.testing.assert_allclose(slope.numpy().sum(axis=-1), 0.0, atol=1e-12)


def test_a_large_mean_does_not_drown_the_variance_of_float32() -> None:
    x = np.random.default_rng(0).standard_normal((4, 64))
    exact = F.layer_norm(x, (64,)).numpy()
    shifted = F.layer_norm((x + 1000.0).astype(np.float32), (64,)).numpy()
    np.testing.assert_allclose(shifted, exact, atol=1e-3)


@pytest.mark.parametrize("width", [1, 7])
def test_a_constant_example_gives_the_bias(width: int) -> None:
    layer = nn.LayerNorm(width)
    assert layer.bias is not None
    layer.bias.array[...] = 2.0
    np.testing.assert_array_equal(layer(np.full((2, width), 3.0)).numpy(), np.full((2, width), 2.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LayerNorm(0), "LayerNorm needs a normalized_shape of sizes >= 1, got 0"),
        (lambda: nn.RMSNorm(()), r"RMSNorm needs a normalized_shape of sizes >= 1, got \(\)"),
        (lambda: nn.LayerNorm((2, 3))(np.ones((4, 3, 2))), r"layer_norm needs.*\(2, 3\), got.*\(4, 3, 2\)"),
        (lambda: nn.RMSNorm(4)(np.ones((4, 3))), r"rms_norm needs.*\(4,\), got.*\(4, 3\)"),
        (lambda: F.layer_norm(np.ones((2, 3)), (3,), np.ones(2)), r"weight of shape \(3,\), got \(2,\)"),
        (lambda: F.layer_norm(np.ones((2, 3)), (3,), None, np.ones(2)), r"bias of shape \(3,\), got \(2,\)"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
