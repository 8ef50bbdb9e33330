"""Cross-entropy: known answers, laws, errors. Its equality with PyTorch's is in the table of blocks."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
import scratchnet.nn.functional as F
from scratchnet import nn
from scratchnet.tape import Array

LOGITS = np.random.default_rng(0).standard_normal((5, 3))
LABELS = np.array([2, 0, 1, 1, 2])


def log_softmax(x: Array) -> Array:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    assert nn.CrossEntropyLoss()(np.zeros((4, 10)), [0, 3, 5, 9]).item() == pytest.approx(np.log(10))


@pytest.mark.parametrize("layout", ["C", "F"])
def test_its_gradient_is_the_softmax_minus_the_one_hot_target_over_the_batch(layout: Any) -> None:
    x = sn.Tensor(LOGITS.copy(layout), requires_grad=True)
    (recorded,) = sn.grad(nn.CrossEntropyLoss()(x, LABELS), [x], create_graph=True)
    nn.CrossEntropyLoss()(x, LABELS).backward()
    expected = (np.exp(log_softmax(LOGITS)) - np.eye(3)[LABELS]) / 5
    np.testing.assert_allclose(np.asarray(x.grad), expected, rtol=1e-13)
    np.testing.assert_allclose(recorded.numpy(), expected, rtol=1e-13)


def test_reductions_are_of_one_and_the_same_list_of_losses() -> None:
    each = -log_softmax(LOGITS)[np.arange(5), LABELS]
    np.testing.assert_allclose(F.cross_entropy(LOGITS, LABELS, reduction="none").numpy(), each, rtol=1e-13)
    assert F.cross_entropy(LOGITS, LABELS, reduction="sum").item() == pytest.approx(each.sum())
    assert F.cross_entropy(LOGITS, LABELS).item() == pytest.approx(each.mean())


def test_the_mean_with_class_weights_is_over_the_weights_of_the_examples() -> None:
    weight = np.array([1.0, 2.0, 5.0])
    each = -log_softmax(LOGITS)[np.arange(5), LABELS]
    expected = np.average(each, weights=weight[LABELS])
    assert nn.CrossEntropyLoss(weight=weight)(LOGITS, LABELS).item() == pytest.approx(expected)


@pytest.mark.parametrize("ignored", [-100, 0, 77])
def test_an_ignored_example_counts_for_nothing(ignored: int) -> None:
    x = sn.Tensor(LOGITS, requires_grad=True)
    labels = np.array([2, ignored, 1, 1, 2])
    loss = nn.CrossEntropyLoss(ignore_index=ignored)(x, labels)
    rest = [0, 2, 3, 4]
    assert loss.item() == pytest.approx(F.cross_entropy(LOGITS[rest], labels[rest]).item())
    loss.backward()
    assert not np.asarray(x.grad)[1].any()


def test_the_mean_over_no_example_at_all_is_nan_as_in_pytorch() -> None:
    x = sn.Tensor(LOGITS, requires_grad=True)
    loss = F.cross_entropy(x, [-100] * 5)
    (gradient,) = sn.grad(loss, [x])
    assert np.isnan(loss.item())
    assert not gradient.numpy().any()
    assert np.isnan(F.cross_entropy(LOGITS, [-100] * 5, label_smoothing=0.1).item())
    assert F.cross_entropy(LOGITS, [-100] * 5, reduction="sum").item() == 0


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    target = 0.8 * np.eye(3)[LABELS] + 0.2 / 3
    expected = -(target * log_softmax(LOGITS)).sum(axis=1).mean()
    assert nn.CrossEntropyLoss(label_smoothing=0.2)(LOGITS, LABELS).item() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_type_mean_the_same(dtype: type) -> None:
    loss = F.cross_entropy(LOGITS, LABELS.astype(dtype)).item()
    assert loss == F.cross_entropy(LOGITS, LABELS.tolist()).item()
    assert loss == F.cross_entropy(LOGITS, sn.Tensor(LABELS)).item()


def test_extreme_logits_give_a_finite_loss_and_gradient() -> None:
    x = sn.Tensor(np.array([[1e4, -1e4]]), requires_grad=True)
    loss = F.cross_entropy(x, [1])
    loss.backward()
    assert loss.item() == 2e4
    np.testing.assert_array_equal(np.asarray(x.grad), [[1.0, -1.0]])


SETTINGS = {
    f"{reduction}-{'weighted' if weight else 'plain'}-{smoothing}": {
        "reduction": reduction,
        "weight": weight,
        "label_smoothing": smoothing,
    }
    for reduction, weight, smoothing in itertools.product(
        ("mean", "sum", "none"), (None, [1.0, 2.0, 5.0]), (0.0, 0.3, 1.0)
    )
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_cross_entropy_has_both_derivatives_in_every_setting(setting: dict[str, Any]) -> None:
    x = sn.Tensor(LOGITS.copy(), requires_grad=True)
    criterion = nn.CrossEntropyLoss(ignore_index=1, **setting)
    sn.check_gradients(lambda: (criterion(x, LABELS) ** 2).sum(), [x], rng=0)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-100, 100), smoothing=st.floats(0, 1))
def test_cross_entropy_does_not_change_where_all_logits_of_an_example_shift(
    shift: float, smoothing: float
) -> None:
    moved = F.cross_entropy(LOGITS + shift, LABELS, label_smoothing=smoothing).item()
    assert moved == pytest.approx(
        F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing).item(), rel=1e-12
    )


def test_a_hessian_vector_product_is_that_of_the_closed_form(rng: np.random.Generator) -> None:
    x = sn.Tensor(LOGITS, requires_grad=True)
    v = rng.standard_normal((5, 3))
    p = np.exp(log_softmax(LOGITS))
    # Each row's Hessian is diag(p) − p pᵀ.
    expected = (p * v - p * (p * v).sum(axis=1, keepdims=True)) / 5
    (product,) = sn.hvp(lambda: F.cross_entropy(x, LABELS), [x], [v])
    np.testing.assert_allclose(product, expected, rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(smoothing=st.floats(0, 1))
def test_a_smoothed_label_is_a_mixture_of_labels(smoothing: float) -> None:
    own = F.cross_entropy(LOGITS, LABELS).item()
    any_class = np.mean([F.cross_entropy(LOGITS, np.full(5, label)).item() for label in range(3)])
    smoothed = F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing).item()
    assert smoothed == pytest.approx((1 - smoothing) * own + smoothing * any_class, rel=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_certain_probabilities_are_labels(reduction: Any, smoothing: float) -> None:
    settings = {"reduction": reduction, "label_smoothing": smoothing}
    certain = F.cross_entropy(LOGITS, np.eye(3)[LABELS], **settings)
    np.testing.assert_allclose(
        certain.numpy(), F.cross_entropy(LOGITS, LABELS, **settings).numpy(), rtol=1e-13
    )


def test_pixels_are_examples(rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    flat = F.cross_entropy(x.transpose(0, 2, 3, 1).reshape(-1, 3), labels.ravel(), reduction="none")
    each = F.cross_entropy(x, labels, reduction="none")
    np.testing.assert_allclose(each.numpy(), flat.numpy().reshape(2, 4, 5), rtol=1e-14)


def test_cross_entropy_is_the_likelihood_of_the_log_softmax() -> None:
    options: dict[str, Any] = {"weight": [1.0, 2.0, 5.0], "ignore_index": 0}
    likelihood = F.nll_loss(F.log_softmax(LOGITS), LABELS, **options)
    assert F.cross_entropy(LOGITS, LABELS, **options).item() == pytest.approx(likelihood.item(), rel=1e-14)


def test_a_class_that_is_masked_with_infinity_costs_nothing_until_it_is_the_label() -> None:
    x = np.array([[1.0, 2.0, -np.inf]])
    assert F.cross_entropy(x, [0]).item() == pytest.approx(F.cross_entropy(x[:, :2], [0]).item())
    assert F.cross_entropy(x, [2]).item() == np.inf


def test_what_is_ignored_may_be_infinite() -> None:
    x = np.array([[-1.0, -2.0], [-np.inf, 0.0]])
    assert F.nll_loss(x, [1, -100]).item() == 2
    assert F.nll_loss(x, [1, 0], weight=[0.0, 1.0]).item() == 2


# ---------------------------------------------------------------------------------------------- errors

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a label too high": (
        lambda: F.cross_entropy(LOGITS, [0, 1, 2, 3, 0]),
        ValueError,
        r"labels in 0\.\.2 for 3 classes \(or ignore_index=-100\), got 3",
    ),
    "a negative label": (lambda: F.cross_entropy(LOGITS, [0, 1, -1, 2, 0]), ValueError, "got -1"),
    "an ignored label that is not the one": (
        lambda: F.cross_entropy(LOGITS, [0, 1, -100, 2, 0], ignore_index=-1),
        ValueError,
        "got -100",
    ),
    "float labels": (
        lambda: F.cross_entropy(LOGITS, LABELS.astype(float)),
        TypeError,
        r"cross_entropy needs integer labels, got float64; use \.astype\(int\)",
    ),
    "fewer labels than examples": (
        lambda: F.cross_entropy(LOGITS, [0, 1]),
        ValueError,
        r"labels of shape \(5,\) for its input of shape \(5, 3\), got \(2,\)",
    ),
    "labels in a column": (
        lambda: F.cross_entropy(LOGITS, LABELS[:, None]),
        ValueError,
        r"labels of shape \(5,\) .* got \(5, 1\)",
    ),
    "logits of one example": (
        lambda: F.cross_entropy(np.zeros(3), [0]),
        ValueError,
        r"labels of shape \(\) for its input of shape \(3,\), got \(1,\)",
    ),
    "weights of another number of classes": (
        lambda: F.cross_entropy(LOGITS, LABELS, weight=[1.0, 2.0]),
        ValueError,
        r"a weight for each of 3 classes, got shape \(2,\)",
    ),
    "smoothing by more than everything": (
        lambda: F.cross_entropy(LOGITS, LABELS, label_smoothing=1.5),
        ValueError,
        r"label_smoothing in \[0, 1\], got 1\.5",
    ),
    "an unknown reduction of cross-entropy": (
        lambda: nn.CrossEntropyLoss(reduction="median")(LOGITS, LABELS),  # type: ignore[arg-type]
        ValueError,
        "cross_entropy needs reduction 'mean', 'sum' or 'none', got 'median'",
    ),
    "logits of integers": (
        lambda: F.cross_entropy([[1, 2]], [0]),
        TypeError,
        r"cross_entropy needs an input of floats, got int64; convert it with \.astype\(float\)",
    ),
    "no axis of classes": (
        lambda: F.cross_entropy(1.0, 0),
        ValueError,
        r"input of shape \(batch, classes\), got a number",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
