"""Batch, group and instance normalisation: their laws, their statistics, and layouts in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.ops import normalization
from scratchnet.tape import Array

IMAGES = np.random.default_rng(0).standard_normal((6, 4, 3, 5)) * 3 + 2
SHARED: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    # What computes it, and the axes over which it gives mean 0 and variance 1.
    "batch": (lambda x: F.batch_norm(x, None, None, training=True, eps=0.0), (0, 2, 3)),
    "instance": (lambda x: F.instance_norm(x, eps=0.0), (2, 3)),
    "example": (lambda x: F.group_norm(x, 1, eps=0.0), (1, 2, 3)),
}
every_norm = pytest.mark.parametrize(("norm", "axes"), SHARED.values(), ids=SHARED)


@every_norm
def test_mean_0_and_variance_1_over_what_is_shared(norm: Any, axes: tuple[int, ...]) -> None:
    y = norm(IMAGES).numpy()
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=axes), 1, rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.1, 100), shift=st.floats(-100, 100), name=st.sampled_from(list(SHARED)))
def test_a_scale_and_a_shift_of_the_input_do_not_matter(scale: float, shift: float, name: str) -> None:
    norm, _ = SHARED[name]
    np.testing.assert_allclose(
        norm(IMAGES * scale + shift).numpy(), norm(IMAGES).numpy(), rtol=1e-9, atol=1e-9
    )


@every_norm
def test_a_large_mean_costs_no_more_digits_than_it_must(norm: Any, axes: tuple[int, ...]) -> None:
    # The mean of squares less the squared mean would leave nothing: 1e8 has no room for a variance of 9.
    moved = (IMAGES + 1e4).astype(np.float32)
    np.testing.assert_allclose(norm(moved).numpy(), norm(moved.astype(float)).numpy(), atol=2e-3)


# --------------------------------------------------------------------------------- memory and slabs


def gradients(norm: Any, x: Array, g: Array) -> list[Array]:
    leaf = sn.Tensor(x, requires_grad=True)
    y = norm(leaf)
    (slope,) = sn.grad(y, [leaf], g)
    return [y.numpy(), slope.numpy()]


@every_norm
@pytest.mark.parametrize("slab", [1, 100, 10**6], ids=["an example", "some examples", "all"])
@pytest.mark.parametrize("is_last", [False, True], ids=["channels first", "channels last"])
def test_neither_slabs_nor_layout_matter(
    norm: Any, axes: tuple[int, ...], slab: int, is_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = np.random.default_rng(1).standard_normal(IMAGES.shape)
    expected = gradients(norm, IMAGES, g)
    monkeypatch.setattr(normalization, "SLAB", slab)
    x = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if is_last else IMAGES
    for mine, other in zip(gradients(norm, x, g), expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-13)
        # The result lies in memory as the input does, for the layers around to find it so.
        assert (mine.strides[1] < mine.strides[3]) == is_last


def test_features_in_any_layout_are_the_same() -> None:
    x = np.random.default_rng(0).standard_normal((7, 4))
    expected = gradients(SHARED["batch"][0], x, x**2)
    for mine, other in zip(gradients(SHARED["batch"][0], np.asfortranarray(x), x**2), expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------- running statistics


def test_running_statistics_move_by_the_momentum_with_the_unbiased_variance() -> None:
    layer = nn.BatchNorm2d(4, momentum=0.25).double()
    layer(IMAGES)
    mean, variance = IMAGES.mean(axis=(0, 2, 3)), IMAGES.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.state_dict()["running_mean"], 0.25 * mean, rtol=1e-13)
    np.testing.assert_allclose(layer.state_dict()["running_var"], 0.75 + 0.25 * variance, rtol=1e-13)
    assert layer.num_batches_tracked == 1


def test_a_batch_that_is_refused_is_not_counted() -> None:
    layer = nn.BatchNorm1d(4)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(np.ones((1, 4)))
    assert layer.num_batches_tracked == 0


def test_without_a_momentum_they_are_the_plain_averages() -> None:
    layer, batches = nn.BatchNorm1d(4, momentum=None).double(), [IMAGES[..., k, k] * k for k in range(3)]
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(
        layer.state_dict()["running_mean"], np.mean([b.mean(axis=0) for b in batches], axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(
        layer.state_dict()["running_var"],
        np.mean([b.var(axis=0, ddof=1) for b in batches], axis=0),
        rtol=1e-12,
    )


def test_evaluation_uses_them_and_leaves_them() -> None:
    layer = nn.BatchNorm2d(4)
    layer(IMAGES)
    before = layer.state_dict()
    layer.eval()
    together = layer(IMAGES).numpy()
    # An example's result no longer depends on the others.
    np.testing.assert_array_equal(layer(IMAGES[:1]).numpy(), together[:1])
    assert all(np.array_equal(before[name], array) for name, array in layer.state_dict().items())


def test_they_move_where_nothing_is_recorded_too_and_not_once_more_in_a_second_derivative() -> None:
    layer = nn.BatchNorm1d(4).double()
    with sn.no_grad():
        layer(IMAGES[..., 0, 0])
    assert layer.num_batches_tracked == 1
    once = layer.state_dict()["running_mean"]
    weight = next(layer.parameters())
    product = sn.make_hvp(lambda: (layer(IMAGES[..., 0, 0]) ** 3).sum(), [weight])
    moved = layer.state_dict()["running_mean"]
    assert not np.array_equal(moved, once)
    product([np.ones(4)])
    np.testing.assert_array_equal(layer.state_dict()["running_mean"], moved)


def test_plain_data_takes_the_layer_s_dtype() -> None:
    for layer in (nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)):
        assert layer(IMAGES).dtype == np.float32
        assert layer.eval()(IMAGES).dtype == np.float32


# --------------------------------------------------------------------------------- other functions


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_normalize_is_pytorch_s_at_zero_too(p: float, dim: int) -> None:
    torch = pytest.importorskip("torch")
    x = IMAGES[:, :, 0, 0].copy()
    x[2] = 0
    mine, other = sn.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    g = np.random.default_rng(0).standard_normal(x.shape)
    y, z = F.normalize(mine, p, dim), torch.nn.functional.normalize(other, p, dim)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-13)
    y.backward(g)
    z.backward(torch.as_tensor(g))
    assert mine.grad is not None
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_an_example_without_a_batch_is_normalised_by_itself() -> None:
    one = nn.InstanceNorm2d(4)(IMAGES[0]).numpy()
    np.testing.assert_array_equal(one, nn.InstanceNorm2d(4)(IMAGES).numpy()[0])


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "one value to train on": (
        lambda: nn.BatchNorm1d(4)(np.ones((1, 4))),
        r"batch_norm needs more than 1 value per channel for a variance, got an input of shape \(1, 4\)",
    ),
    "one position": (
        lambda: nn.InstanceNorm2d(4)(np.ones((6, 4, 1, 1))),
        r"instance_norm needs more than 1 value per channel of an example",
    ),
    "one value in a group": (
        lambda: nn.GroupNorm(4, 4)(np.ones((1, 4))),
        "group_norm needs more than 1 value per group of an example",
    ),
    "an image to BatchNorm1d": (
        lambda: nn.BatchNorm1d(4)(IMAGES),
        r"BatchNorm1d needs an input of shape \(batch, features\) or \(batch, channels, length\) with 4 channels, "
        r"got \(6, 4, 3, 5\)",
    ),
    "other channels": (
        lambda: nn.BatchNorm2d(3)(IMAGES),
        r"BatchNorm2d needs .* with 3 channels, got \(6, 4, 3, 5\)",
    ),
    "other channels to GroupNorm": (
        lambda: nn.GroupNorm(3, 6)(IMAGES),
        r"GroupNorm needs an input of shape \(batch, 6, \.\.\.\), got \(6, 4, 3, 5\)",
    ),
    "groups that do not divide": (
        lambda: nn.GroupNorm(3, 4),
        "GroupNorm needs a number of groups that divides the channels, got 3 groups and 4 channels",
    ),
    "groups that do not divide, in the function": (
        lambda: F.group_norm(IMAGES, 3),
        "group_norm needs a number of groups that divides the 4 channels, got 3",
    ),
    "weights for other channels": (
        lambda: F.group_norm(IMAGES, 2, sn.Tensor(np.ones(3))),
        r"group_norm needs weight, bias and statistics of shape \(4,\), .* got \(3,\)",
    ),
    "no statistics": (
        lambda: F.batch_norm(IMAGES, None, None),
        "batch_norm needs running statistics where it does not use the batch's, got None",
    ),
    "a vector": (
        lambda: F.group_norm(np.ones(3), 1),
        r"group_norm needs an input of shape \(batch, channels, \.\.\.\), got \(3,\)",
    ),
    "no features": (lambda: nn.BatchNorm1d(0), "BatchNorm1d needs num_features >= 1, got 0"),
    "a norm of no order": (
        lambda: F.normalize(IMAGES, 0.0),
        r"normalize needs a positive, finite p, got 0\.0",
    ),
    "an empty window": (
        lambda: F.local_response_norm(IMAGES, 0),
        r"local_response_norm needs \(batch, channels, \*space\) and size >= 1",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
