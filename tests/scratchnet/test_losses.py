"""Losses: known answers, laws, extremes, errors. Their equality with PyTorch's is in the table of blocks."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

import scratchnet as sn
import scratchnet.nn.functional as F
from scratchnet import nn
from scratchnet.tape import Array

LOGITS = np.random.default_rng(0).standard_normal((5, 3))
LABELS = np.array([2, 0, 1, 1, 2])


def log_softmax(x: Array) -> Array:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


# -------------------------------------------------------------------------------------- cross-entropy


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


# --------------------------------------------------------------------------------------- squared error


def test_mse_is_the_mean_of_the_squares_and_its_gradient_twice_the_difference() -> None:
    x = sn.Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    y = np.array([[0.0, 2.0], [1.0, 0.0]])
    loss = nn.MSELoss()(x, y)
    loss.backward()
    assert loss.item() == 21 / 4
    np.testing.assert_array_equal(np.asarray(x.grad), 2 * (x.numpy() - y) / 4)


def test_mse_reduces_as_it_is_told() -> None:
    x, y = np.array([1.0, 2.0]), np.array([0.0, 4.0])
    assert nn.MSELoss("sum")(x, y).item() == 5
    np.testing.assert_array_equal(nn.MSELoss("none")(x, y).numpy(), [1.0, 4.0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_has_both_derivatives_with_respect_to_input_and_target(reduction: Any) -> None:
    x, y = (sn.Tensor(LOGITS * scale, requires_grad=True) for scale in (1.0, -0.5))
    sn.check_gradients(lambda: (nn.MSELoss(reduction)(x, y) ** 2).sum(), [x, y], rng=0)


@pytest.mark.parametrize("criterion", [nn.MSELoss(r) for r in ("mean", "sum", "none")])
def test_a_float64_target_does_not_widen_a_float32_prediction(criterion: nn.Module) -> None:
    prediction = sn.Tensor(np.ones(3, np.float32), requires_grad=True)
    assert criterion(prediction, np.zeros(3)).dtype == np.float32
    assert criterion(prediction, [0.0, 0.0, 0.0]).dtype == np.float32


# --------------------------------------------------------------------------------------- other distances

pairs = hnp.arrays(np.float64, (2, 6), elements=st.floats(-50, 50))


@settings(max_examples=25, deadline=None)
@given(xy=pairs)
def test_huber_is_half_the_square_within_delta_and_a_line_beyond(xy: Array) -> None:
    x, y = xy
    wide, narrow = F.huber_loss(x, y, delta=200.0), F.huber_loss(x, y, delta=1e-9)
    assert wide.item() == pytest.approx(F.mse_loss(x, y).item() / 2, rel=1e-13)
    assert narrow.item() / 1e-9 == pytest.approx(F.l1_loss(x, y).item(), abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(xy=pairs, beta=st.floats(0.1, 10))
def test_smooth_l1_is_huber_over_beta_and_l1_without_it(xy: Array, beta: float) -> None:
    x, y = xy
    smooth = F.smooth_l1_loss(x, y, beta=beta).item()
    assert smooth == pytest.approx(F.huber_loss(x, y, delta=beta).item() / beta, rel=1e-13)
    assert F.smooth_l1_loss(x, y, beta=0.0).item() == F.l1_loss(x, y).item()


def test_the_gradient_of_a_huber_loss_is_the_clipped_error() -> None:
    x = sn.Tensor(np.array([-3.0, -0.5, 0.0, 0.5, 3.0]), requires_grad=True)
    F.huber_loss(x, np.zeros(5), "sum", delta=0.7).backward()
    np.testing.assert_array_equal(np.asarray(x.grad), [-0.7, -0.5, 0.0, 0.5, 0.7])


# ---------------------------------------------------------------------------------------- probabilities


@settings(max_examples=25, deadline=None)
@given(x=hnp.arrays(np.float64, 5, elements=st.floats(-15, 15)), p=st.floats(0.1, 9), w=st.floats(0.1, 9))
def test_bce_with_logits_is_bce_of_the_sigmoid(x: Array, p: float, w: float) -> None:
    target = np.array([0.0, 1.0, 0.3, 0.9, 0.5])
    rate = F.sigmoid(x)
    plain = F.binary_cross_entropy(rate, target, w).item()
    assert F.binary_cross_entropy_with_logits(x, target, w).item() == pytest.approx(plain, rel=1e-8)
    # A weight of what is positive divides the loss into its two parts.
    yes, no = (
        F.binary_cross_entropy(rate, np.ones(5), target),
        F.binary_cross_entropy(rate, np.zeros(5), 1 - target),
    )
    weighted = F.binary_cross_entropy_with_logits(x, target, pos_weight=p).item()
    assert weighted == pytest.approx(p * yes.item() + no.item(), rel=1e-8)


def test_a_certain_mistake_costs_a_hundred_and_certainty_that_is_right_nothing() -> None:
    x = sn.Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    loss = F.binary_cross_entropy(x, [0.0, 1.0, 1.0, 0.0], reduction="none")
    loss.sum().backward()
    np.testing.assert_array_equal(loss.numpy(), [0.0, 0.0, 100.0, 100.0])
    np.testing.assert_array_equal(np.asarray(x.grad), [0.0, 0.0, -1e12, 1e12])


def test_small_losses_of_float32_logits_keep_their_digits() -> None:
    x = np.array([-20.0, 20.0], np.float32)
    loss = F.binary_cross_entropy_with_logits(x, np.array([0.0, 1.0], np.float32), reduction="none")
    np.testing.assert_allclose(loss.numpy(), np.log1p(np.exp(-20.0)), rtol=1e-6)


def test_a_distribution_diverges_from_itself_by_nothing(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.ones(4), 3)
    assert F.kl_div(np.log(p), p, "batchmean").item() == pytest.approx(0, abs=1e-15)
    assert F.kl_div(np.log(p), np.log(p), "batchmean", log_target=True).item() == 0
    # A class without probability counts for nothing.
    assert F.kl_div(np.log([[0.5, 0.5]]), [[1.0, 0.0]], "batchmean").item() == pytest.approx(np.log(2))


def test_densities_are_those_of_scipy(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 3, 4))
    var = rng.uniform(0.5, 2, (3, 4))
    normal = -stats.norm.logpdf(y, x, np.sqrt(var))
    loss = F.gaussian_nll_loss(x, y, var, full=True, reduction="none")
    np.testing.assert_allclose(loss.numpy(), normal, rtol=1e-12)
    counts = np.array([50.0, 80.0, 120.0])
    poisson = -stats.poisson.logpmf(counts, np.exp(4.0))
    loss = F.poisson_nll_loss(np.full(3, 4.0), counts, full=True, reduction="none")
    # Stirling's approximation leaves 1/12y out.
    np.testing.assert_allclose(loss.numpy(), poisson, atol=2e-3)


def test_a_variance_that_is_too_small_is_lifted_but_keeps_its_gradient() -> None:
    var = sn.Tensor(np.array([1e-9]), requires_grad=True)
    loss = F.gaussian_nll_loss(np.zeros(1), np.ones(1), var, eps=0.5)
    loss.backward()
    assert loss.item() == pytest.approx((np.log(0.5) + 2) / 2)
    np.testing.assert_allclose(np.asarray(var.grad), (2 - 4) / 2)


# ------------------------------------------------------------------------------------------- all of them

ONES, EXTREME = np.ones((2, 2)), np.array([[1e4, -1e4], [-1e4, 1e4]])
AT_EXTREMES: dict[str, Callable[[Any], sn.Tensor]] = {
    "cross-entropy": lambda x: F.cross_entropy(x, [0, 0]),
    "cross-entropy, smoothed": lambda x: F.cross_entropy(x, [0, 0], label_smoothing=0.1),
    "cross-entropy, probabilities": lambda x: F.cross_entropy(x, ONES / 2),
    "bce with logits": lambda x: F.binary_cross_entropy_with_logits(x, ONES / 2, pos_weight=[3.0, 1.0]),
    "mse": lambda x: F.mse_loss(x, -EXTREME),
    "l1": lambda x: F.l1_loss(x, -EXTREME),
    "huber": lambda x: F.huber_loss(x, -EXTREME),
    "smooth l1": lambda x: F.smooth_l1_loss(x, -EXTREME),
    "soft margin": lambda x: F.soft_margin_loss(x, ONES),
    "hinge": lambda x: F.hinge_embedding_loss(x, -ONES),
    "multi-margin": lambda x: F.multi_margin_loss(x, [0, 0], p=2),
    "triplet": lambda x: F.triplet_margin_loss(x, -EXTREME, EXTREME + 1),
    "cosine": lambda x: F.cosine_embedding_loss(x, -EXTREME, [1, -1]),
    "kl": lambda x: F.kl_div(x, ONES / 2),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compute", AT_EXTREMES.values(), ids=AT_EXTREMES)
def test_at_extremes_a_loss_is_finite_in_value_gradient_and_product(
    compute: Callable[[Any], sn.Tensor], dtype: type
) -> None:
    # Warnings are errors here, so that an overflow on the way would be heard too.
    x = sn.Tensor(EXTREME.astype(dtype), requires_grad=True)
    loss = compute(x)
    loss.backward()
    assert loss.dtype == dtype
    assert np.isfinite(loss.item())
    assert np.isfinite(np.asarray(x.grad)).all()
    assert np.isfinite(sn.hvp(lambda: compute(x), [x], [np.ones((2, 2), dtype)])).all()


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
    "a column against a row": (
        lambda: nn.MSELoss()(np.zeros((4, 1)), np.zeros(4)),
        ValueError,
        r"mse_loss needs a target of the input's shape \(4, 1\), got \(4,\); reshape one of them",
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
    "a probability beyond one": (
        lambda: F.binary_cross_entropy([0.5, 1.5], [0.0, 1.0]),
        ValueError,
        r"probabilities in \[0, 1\], got an input in \[0\.5, 1\.5\]; use .*_with_logits",
    ),
    "weights that do not broadcast": (
        lambda: F.binary_cross_entropy_with_logits(LOGITS, LOGITS, pos_weight=np.ones(5)),
        ValueError,
        r"a pos_weight that broadcasts to the input's shape \(5, 3\), got \(5,\)",
    ),
    "a huber loss without a square": (
        lambda: F.huber_loss(LOGITS, LOGITS, delta=0.0),
        ValueError,
        r"delta > 0, got 0\.0; use l1_loss",
    ),
    "a corner rounded inward": (
        lambda: F.smooth_l1_loss(LOGITS, LOGITS, beta=-1.0),
        ValueError,
        r"beta >= 0, got -1",
    ),
    "an unknown reduction of kl": (
        lambda: F.kl_div(LOGITS, LOGITS, "median"),  # type: ignore[arg-type]
        ValueError,
        "kl_div needs reduction 'batchmean', 'mean', 'sum' or 'none', got 'median'",
    ),
    "a negative variance": (
        lambda: F.gaussian_nll_loss(LOGITS, LOGITS, -1.0),
        ValueError,
        r"variances >= 0, got -1; let the network give their logarithm",
    ),
    "a variance for nobody": (
        lambda: F.gaussian_nll_loss(LOGITS, LOGITS, np.ones(3)),
        ValueError,
        r"the input's shape \(5, 3\), one for each example \(5,\), or one number, got shape \(3,\)",
    ),
    "no least variance": (
        lambda: F.gaussian_nll_loss(LOGITS, LOGITS, 1.0, eps=0.0),
        ValueError,
        r"eps > 0, got 0",
    ),
    "an unknown reduction of mse": (
        lambda: nn.MSELoss("median")(LOGITS, LOGITS),  # type: ignore[arg-type]
        ValueError,
        "mse_loss needs reduction 'mean', 'sum' or 'none', got 'median'",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
