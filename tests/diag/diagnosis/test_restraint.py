"""When a sign that would be worth a warning is none: what ends well, and what is so in health, too."""

import numpy as np
import pytest

from diag.diagnosis.task import does_well, errors_left
from diag.events import Layer, Model, Parameter
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes

SAME = np.ones(STEPS)
GUESS = np.log(10)
LONG = 400
NOISE = np.exp(np.random.default_rng(0).normal(0, 0.3, STEPS))
VALIDATIONS = range(4, STEPS, 5)
BINARY = Model((Layer("0", "Linear", (1,), ("0.weight",)),), (Parameter("0.weight", "0", (1, 4)),))


def validated(losses, accuracy=None):
    """Twelve validations, in losses of a guess."""
    more = {} if accuracy is None else {"val_accuracy": accuracy}
    losses = np.broadcast_to(losses, len(VALIDATIONS))
    return {step: {"val_loss": GUESS * loss, **more} for step, loss in zip(VALIDATIONS, losses, strict=True)}


def severity_of(finding):
    return finding.severity if finding else None


@pytest.mark.parametrize(
    ("accuracy", "loss", "expected"),
    [(0.95, 0.5, True), (0.8, 0.05, False), (None, 0.05, True), (None, 0.5, False)],
    ids=["right_though_unsure", "wrong_though_cheap", "low_loss", "high_loss"],
)
def test_a_classifier_does_well_by_its_accuracy_and_others_by_their_loss(log_of, accuracy, loss, expected):
    log = log_of({"criterion_loss": falling(), **of_classes(10)}, scalars=validated(loss, accuracy))
    assert does_well(log) == expected
    assert errors_left(log) == (None if accuracy is None else pytest.approx((1 - accuracy) / 0.9))


def test_what_is_no_accuracy_or_tells_too_little_acquits_nobody(log_of):
    loss = {"criterion_loss": falling(end=1.0), **of_classes(10)}
    for scalars in (validated(0.5, 95.0), {20: {"val_accuracy": 0.99}}):
        log = log_of(loss, scalars=scalars)
        assert errors_left(log) is None
        assert not does_well(log)
    # It has learned nothing, whatever the accuracy was.
    assert not does_well(
        log_of({"criterion_loss": SAME * 2.3, **of_classes(10)}, scalars=validated(0.5, 0.99))
    )


def test_of_two_classes_a_guess_names_the_more_frequent(log_of):
    targets = {
        "target_min": SAME * 0,
        "target_max": SAME,
        "target_mean": SAME * 0.1,
        "target_std": SAME * 0.3,
    }
    log = log_of({"criterion_loss": falling(), **targets}, scalars=validated(0.5, 0.9), model=BINARY)
    assert errors_left(log) == pytest.approx(1.0)


def test_a_loss_below_zero_is_not_known_to_be_good(log_of):
    assert not does_well(log_of({"criterion_loss": np.linspace(1.2, -0.1, STEPS)}))


@pytest.mark.parametrize(("end", "severity"), [(0.02, "note"), (1.0, "warning")])
def test_a_leap_that_lasts_matters_where_the_run_ends_poorly(found, end, severity):
    loss = np.geomspace(2, end, LONG) * np.exp(0.01 * np.random.default_rng(0).normal(size=LONG))
    loss[200:240] += 3.0
    assert severity_of(found("loss_spike", {"criterion_loss": loss}, steps=range(LONG))) == severity


@pytest.mark.parametrize(("accuracy", "severity"), [(0.95, "note"), (0.7, "warning")])
def test_scores_that_drift_matter_where_many_are_wrong(found, accuracy, severity):
    series = {
        "criterion_loss": np.r_[falling(45), np.full(STEPS - 45, 1.5)],
        "prediction_max": np.geomspace(1, 1000, STEPS),
        "prediction_min": -SAME,
        **of_classes(10),
    }
    assert severity_of(found("logit_drift", series, scalars=validated(0.3, accuracy))) == severity


@pytest.mark.parametrize(("accuracy", "severity"), [(0.95, None), (0.7, "fault")])
def test_curvature_beyond_the_threshold_convicts_a_rate_only_where_many_are_wrong(found, accuracy, severity):
    series = {
        "criterion_loss": np.r_[falling(30, end=0.5), np.full(STEPS - 30, 1.0)],
        "update_ratio": {"0.weight": SAME * 2e-3},
        "top_eigenvalues": np.where(np.arange(STEPS) < 29, 5.0, 100.0),
        "stability_threshold": SAME * 20,
        **of_classes(10),
    }
    finding = found("learning_rate_too_high", series, scalars=validated(0.3, accuracy))
    assert severity_of(finding) == severity


@pytest.mark.parametrize(("accuracy", "severity"), [(0.95, None), (0.7, "fault")])
def test_a_long_step_convicts_a_rate_only_where_many_are_wrong(found, accuracy, severity):
    series = {
        "criterion_loss": np.r_[falling(30, end=0.5), np.full(STEPS - 30, 1.0)],
        "update_ratio": {"0.weight": np.where(np.arange(STEPS) == 29, 0.3, 2e-3)},
        **of_classes(10),
    }
    finding = found("learning_rate_too_high", series, scalars=validated(0.3, accuracy))
    assert severity_of(finding) == severity


@pytest.mark.parametrize(("level", "severity"), [(0.5, None), (1.0, "warning")])
def test_a_first_loss_that_is_low_by_chance_is_no_sign_that_nothing_is_learned(found, level, severity):
    series = {"criterion_loss": SAME * level * GUESS, **of_classes(10)}
    assert severity_of(found("slow_convergence", series)) == severity


@pytest.mark.parametrize(("left", "severity"), [(0.2, "note"), (0.5, "warning")])
def test_half_a_layer_may_do(found, left, severity):
    series = {
        "criterion_loss": falling(start=GUESS, end=left * GUESS),
        "dead_unit_rate": {"1": SAME * 0.8},
        "dead_unit_rate_pooled": {"1": SAME * 0.8},
        **of_classes(10),
    }
    assert severity_of(found("dead_units", series)) == severity


@pytest.mark.parametrize(("accuracy", "is_found"), [(0.9, False), (0.2, True)])
def test_who_names_most_classes_right_has_passed_something_on(found, accuracy, is_found):
    series = {"criterion_loss": falling(start=GUESS, end=0.01), **of_classes(10)}
    finding = found("label_corruption", series, scalars=validated(2.0, accuracy))
    assert (finding is not None) == is_found


@pytest.mark.parametrize(("accuracy", "severity"), [(0.7, "note"), (0.4, "warning")])
def test_who_names_most_classes_right_does_not_underfit(found, accuracy, severity):
    series = {"criterion_loss": falling(start=GUESS, end=0.75 * GUESS), **of_classes(10)}
    scalars = validated(np.linspace(1, 0.7, len(VALIDATIONS)), accuracy)
    assert severity_of(found("underfitting", series, scalars=scalars)) == severity


@pytest.mark.parametrize(
    ("losses", "is_found"),
    [
        ([0.6, 0.3, 0.6, 0.3, 0.31, 0.32, 0.33, 0.55], True),
        ([0.6, 0.3, 0.6, 0.3, 0.3, 0.29, 0.28, 0.28], False),
    ],
    ids=["once_more_in_the_end", "quietened"],
)
def test_jumps_that_a_schedule_has_quietened_have_done_no_harm(found, losses, is_found):
    series = {"criterion_loss": falling(), **of_classes(10)}
    finding = found("oscillation", series, scalars=validated([1.0, 0.9, 0.8, 0.7, *losses]))
    assert (finding is not None) == is_found


@pytest.mark.parametrize(
    ("schedule", "is_found"),
    [(SAME, True), (np.r_[np.full(15, 0.5), np.full(20, 3.5), np.full(25, 0.5)], False)],
    ids=["constant", "warm_up_and_decay"],
)
def test_a_schedule_that_ends_at_nothing_is_judged_by_its_longer_steps(found, schedule, is_found):
    series = {
        "criterion_loss": np.linspace(GUESS, 0.5 * GUESS, STEPS),
        "gradient_norm": SAME,
        "update_ratio": {"0.weight": 4e-4 * schedule},
        **of_classes(10),
    }
    assert (found("learning_rate_too_low", series) is not None) == is_found


@pytest.mark.parametrize(
    ("at", "is_found"), [(1, False), (2, True), (30, True)], ids=["warm_up", "soon", "later"]
)
def test_the_first_steps_of_a_warm_up_are_no_leap(found, at, is_found):
    series = {
        "criterion_loss": falling(start=GUESS, end=0.5 * GUESS),
        "learning_rate": np.where(np.arange(STEPS) < at, 0.01, 0.08),
        "update_ratio": {"0.weight": SAME * 0.02},
        **of_classes(10),
    }
    assert (found("learning_rate_too_high", series) is not None) == is_found


@pytest.mark.parametrize(("bad", "severity"), [(36, "warning"), (20, "note")])
def test_a_confident_start_matters_where_it_takes_half_of_the_run_to_unlearn(found, bad, severity):
    loss = GUESS * np.r_[np.linspace(4, 1.1, bad), np.full(STEPS - bad, 0.8)]
    assert severity_of(found("wrong_initial_loss", {"criterion_loss": loss, **of_classes(10)})) == severity


def test_a_normalisation_in_front_has_a_small_gradient_in_health(found):
    layers = (Layer("0", "BatchNorm1d", (4,), ("0.weight",)), *NETWORK.layers[1:])
    model = Model(layers, (Parameter("0.weight", "0", (4,)), *NETWORK.parameters[2:]))
    series = {"criterion_loss": falling(start=GUESS, end=0.6 * GUESS), **of_classes(10)}
    norms = {"gradient_norm": {"0": SAME * 0.05, "2": SAME}, "gradient_norm_ratio": SAME * 0.05}
    assert found("vanishing_gradients", {**series, **norms}) is not None
    assert found("vanishing_gradients", {**series, **norms}, model=model) is None


def test_a_normalisation_in_front_hides_no_faint_matrix(found):
    layers = (
        Layer("0", "BatchNorm1d", (4,), ("0.weight",)),
        *NETWORK.layers[1:],
        Layer("3", "Linear", (10,), ("3.w",)),
    )
    parameters = Parameter("0.weight", "0", (4,)), *NETWORK.parameters[2:], Parameter("3.w", "3", (10, 10))
    series = {"criterion_loss": falling(start=GUESS, end=0.6 * GUESS), **of_classes(10)}
    norms = {"gradient_norm": {"0": SAME, "2": SAME * 0.01, "3": SAME}, "gradient_norm_ratio": SAME}
    assert found("vanishing_gradients", {**series, **norms}, model=Model(layers, parameters)).layer == "2"


@pytest.mark.parametrize(("end", "severity"), [(0.3, "note"), (1.0, "fault")])
def test_weights_that_grow_are_no_fault_while_something_is_learned(found, end, severity):
    loss = np.r_[falling(40, start=GUESS, end=end * GUESS), np.full(STEPS - 40, end * GUESS)]
    norms = {"weight_norm": {"0.weight": np.geomspace(1, 100, STEPS), "2.weight": SAME}}
    assert (
        severity_of(found("weight_blow_up", {"criterion_loss": loss, **of_classes(10), **norms})) == severity
    )


def test_a_sum_that_is_begun_anew_is_worth_a_warning_though_all_is_learned(found):
    odd = np.arange(STEPS) % 2
    series = {
        "criterion_loss": falling(end=0.05) * NOISE[::-1],
        "gradient_norm": (1 + 0.6 * odd) * (1 + NOISE / 50),
    }
    assert severity_of(found("missing_zero_grad", series)) == "warning"


@pytest.mark.parametrize(("end", "severity"), [(0.05, None), (0.5, "warning")])
def test_a_norm_that_keeps_its_way_matters_where_much_is_left(found, end, severity):
    loss = falling(start=GUESS, end=end * GUESS) * NOISE
    series = {"criterion_loss": loss, "gradient_norm": 3 + np.sin(np.arange(STEPS) / 4), **of_classes(10)}
    assert severity_of(found("missing_zero_grad", series)) == severity
