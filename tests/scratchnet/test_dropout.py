"""Dropout: how often, how much, and when; the table of blocks has its evaluation mode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.tape import Array

SHAPE = (400, 300)
ONES = np.ones(SHAPE)
KINDS: dict[str, tuple[type[Any], tuple[int, ...]]] = {
    "elements": (nn.Dropout, (400, 300)),
    "channels of sequences": (nn.Dropout1d, (400, 300, 3)),
    "channels of images": (nn.Dropout2d, (400, 300, 2, 2)),
}
every_kind = pytest.mark.parametrize(("kind", "shape"), KINDS.values(), ids=KINDS)


def five_sigma(p: float) -> float:
    """What the rate over all of `SHAPE` may differ from p by, once in a million runs."""
    return 5 * float(np.sqrt(p * (1 - p) / ONES.size))


@every_kind
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_p_is_zero_and_the_rest_is_scaled_up(kind: Any, shape: tuple[int, ...], p: float) -> None:
    y = kind(p, rng=0)(np.ones(shape)).numpy()
    dropped = (y == 0).reshape(*SHAPE, -1)
    # A channel is dropped as a whole.
    assert np.array_equal(dropped.all(axis=-1), dropped.any(axis=-1))
    assert dropped.mean() == pytest.approx(p, abs=five_sigma(p))
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-14)


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_are_dropped_independently(axis: int) -> None:
    kept = F.dropout(ONES, 0.5, rng=1).numpy() - 1
    first, second = np.delete(kept, 0, axis), np.delete(kept, -1, axis)
    assert abs(np.mean(first * second)) < 5 / np.sqrt(first.size)


def test_the_same_seed_gives_the_same_masks_and_each_pass_another() -> None:
    first, second = nn.Dropout(rng=3), nn.Dropout(rng=3)
    passes = [layer(ONES).numpy() for layer in (first, first, second, second)]
    np.testing.assert_array_equal(passes[0], passes[2])
    np.testing.assert_array_equal(passes[1], passes[3])
    assert np.mean(passes[0] != passes[1]) == pytest.approx(0.5, abs=five_sigma(0.5))
    assert not np.array_equal(nn.Dropout(rng=4)(ONES).numpy(), passes[0])
    assert not np.array_equal(nn.Dropout()(ONES).numpy(), nn.Dropout()(ONES).numpy())


def test_layers_that_share_a_generator_draw_different_masks() -> None:
    generator = np.random.default_rng(0)
    first, second = nn.Dropout(rng=generator), nn.Dropout(rng=generator)
    assert not np.array_equal(first(ONES).numpy(), second(ONES).numpy())


@every_kind
def test_the_gradient_passes_the_mask_of_its_own_forward_pass(kind: Any, shape: tuple[int, ...]) -> None:
    x = sn.Tensor(np.full(shape, 2.0), requires_grad=True)
    layer = kind(0.3, rng=0)
    outputs = [layer(x), layer(x)]
    for y in outputs:
        (slope,) = sn.grad(y, [x], np.full(shape, 3.0))
        np.testing.assert_array_equal(slope.numpy(), y.numpy() * 1.5)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5).eval(), nn.Dropout(0.0)], ids=["evaluation", "p=0"])
def test_where_nothing_is_dropped_the_tensor_itself_comes_back(layer: nn.Module) -> None:
    x = sn.Tensor(ONES)
    assert layer(x) is x


def test_at_p_1_all_is_zero_and_so_is_the_gradient() -> None:
    x = sn.Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert x.grad is not None
    assert not y.numpy().any()
    assert not x.grad.numpy().any()
    assert y.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept_and_the_mean_is_that_of_the_input(dtype: Any) -> None:
    y = F.dropout(ONES.astype(dtype), 0.2, rng=2).numpy()
    assert y.dtype == dtype
    assert y.mean() == pytest.approx(1, abs=five_sigma(0.2) / 0.8)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_of_normal_numbers(p: float) -> None:
    x = np.random.default_rng(0).standard_normal(SHAPE)
    y = nn.AlphaDropout(p, rng=1)(x).numpy()
    assert y.mean() == pytest.approx(0, abs=0.015)
    assert y.var() == pytest.approx(1, abs=0.03)
    values, counts = np.unique(y, return_counts=True)
    # What is dropped has one value, the lowest of the two that PyTorch's formula knows.
    assert counts.max() / y.size == pytest.approx(p, abs=five_sigma(p))
    a = ((1 - p) * (1 + p * 1.7580993408473766**2)) ** -0.5
    assert values[counts.argmax()] == pytest.approx(a * -1.7580993408473766 * (1 - p), rel=1e-12)


def test_alpha_dropout_at_p_1_is_zero_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.ones((2, 3))
    np.testing.assert_array_equal(
        nn.AlphaDropout(1.0)(x).numpy(), torch.nn.AlphaDropout(1.0)(torch.as_tensor(x)).numpy()
    )


def images(*shape: int) -> Array:
    return np.zeros(shape)


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "p below 0": (lambda: nn.Dropout(-0.1), r"Dropout needs a probability p in \[0, 1\], got -0.1"),
    "p above 1": (lambda: nn.Dropout2d(1.5), r"Dropout2d needs a probability p in \[0, 1\], got 1.5"),
    "p in a function": (lambda: F.dropout(ONES, 2.0), r"dropout needs a probability p in \[0, 1\], got 2.0"),
    "a vector to Dropout1d": (
        lambda: nn.Dropout1d()(images(3)),
        r"dropout1d needs \(batch, channels, length\) or \(channels, length\), got shape \(3,\)",
    ),
    "a sequence to Dropout2d": (
        lambda: nn.Dropout2d()(images(2, 3, 4)),
        r"dropout2d needs \(batch, channels, height, width\), got shape \(2, 3, 4\); use dropout1d",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
