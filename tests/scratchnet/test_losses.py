"""Losses but cross-entropy: known answers, laws, extremes, errors. Their equality with PyTorch's is in the blocks."""

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
    "a column against a row": (
        lambda: nn.MSELoss()(np.zeros((4, 1)), np.zeros(4)),
        ValueError,
        r"mse_loss needs a target of the input's shape \(4, 1\), got \(4,\); reshape one of them",
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
