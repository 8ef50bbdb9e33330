"""Rival rules on series made by hand: each fires where its definition says, and only there."""

import numpy as np
import pytest

from benchmarks.faults.rivals import (
    RIVALS,
    alarms,
    autotrainer,
    deepchecker,
    sagemaker,
    telemetry,
    torchmortem,
)
from benchmarks.faults.rivals.reading import consecutive
from tests.diag.diagnosis.conftest import STEPS, falling, log_of  # noqa: F401 - a fixture

SAME = np.ones(STEPS)
SMOOTH = {"criterion_loss": falling()}


def parameters(name, first, last=None):
    """A series of both weight matrices."""
    second = first if last is None else last
    return {name: {"0.weight": SAME * first, "2.weight": SAME * second}}


def layers(name, first, last=None):
    """A series of both layers that have weights, or of the nonlinearity between."""
    if last is None:
        return {name: {"1": SAME * first}}
    return {name: {"0": SAME * first, "2": SAME * last}}


def after(quiet, loud, start=30):
    """A series that changes at a step."""
    return np.where(np.arange(STEPS) < start, quiet, loud)


CASES = [
    # rule, series that make it fire, series that do not
    (
        sagemaker.vanishing_gradient,
        parameters("rival_gradient_size", 1e-8),
        parameters("rival_gradient_size", 1e-6),
    ),
    (sagemaker.saturated_activation, layers("rival_tanh_ends", 0.6), layers("rival_tanh_ends", 0.4)),
    (sagemaker.weight_update_ratio, parameters("update_ratio", 11.0), parameters("update_ratio", 9.0)),
    (sagemaker.weight_update_ratio, parameters("update_ratio", 1e-9), parameters("update_ratio", 1e-7)),
    (sagemaker.unchanged_tensor, parameters("update_ratio", 1e-6), parameters("update_ratio", 1e-4)),
    (sagemaker.loss_not_decreasing, {"criterion_loss": SAME}, SMOOTH),
    (
        sagemaker.poor_weight_initialization,
        parameters("weight_norm", 10.0, 1.0),
        parameters("weight_norm", 1.0),
    ),
    (
        sagemaker.poor_weight_initialization,
        parameters("rival_gradient_range", 9e-4),
        parameters("rival_gradient_range", 2e-3),
    ),
    (autotrainer.gradient_vanish, layers("gradient_norm", 9e-5, 1.0), layers("gradient_norm", 2e-4, 1.0)),
    (autotrainer.gradient_vanish, layers("gradient_norm", 9e-5, 1.0), layers("gradient_norm", 9e-5, 1e-2)),
    (autotrainer.gradient_explode, layers("gradient_norm", 71.0, 1.0), layers("gradient_norm", 69.0, 1.0)),
    (autotrainer.gradient_explode, {"criterion_loss": after(1.0, 1e3)}, {"criterion_loss": after(1.0, 9e2)}),
    (
        autotrainer.dying_relu,
        parameters("rival_gradient_zeros", 0.7),
        parameters("rival_gradient_zeros", 0.69),
    ),
    (
        deepchecker.diverging_weights,
        parameters("weight_norm", after(1.0, 2.1)),
        parameters("weight_norm", after(1.0, 1.5)),
    ),
    (
        deepchecker.vanishing_gradient,
        parameters("rival_gradient_size", 9e-7),
        parameters("rival_gradient_size", 2e-6),
    ),
    (
        deepchecker.vanishing_gradient,
        parameters("rival_gradient_size", after(1.0, 0.4)),
        parameters("rival_gradient_size", after(1.0, 0.6)),
    ),
    (
        deepchecker.exploding_gradient,
        parameters("rival_gradient_size", after(1.0, 2.0)),
        parameters("rival_gradient_size", after(1.0, 1.9)),
    ),
    (deepchecker.unstable_learning, parameters("update_ratio", 0.11), parameters("update_ratio", 0.09)),
    (deepchecker.unstable_learning, parameters("update_ratio", 9e-5), parameters("update_ratio", 2e-4)),
    (deepchecker.untrained_weights, parameters("update_norm", 0.0, 1.0), parameters("update_norm", 1.0)),
    (deepchecker.slow_loss, {"criterion_loss": SAME}, SMOOTH),
    (deepchecker.diverging_loss, {"criterion_loss": after(1.0, 1.1)}, SMOOTH),
    (deepchecker.flickering_loss, {"criterion_loss": 2 + np.cos(np.pi * np.arange(STEPS))}, SMOOTH),
    (
        deepchecker.saturated_activations,
        layers("rival_tanh_saturation", 0.6),
        layers("rival_tanh_saturation", 0.4),
    ),
    (torchmortem.dead_activations, layers("rival_zero_share", 0.6), layers("rival_zero_share", 0.4)),
    (
        torchmortem.dead_activations,
        layers("rival_zero_share", after(0.0, 0.6)),
        layers("rival_zero_share", after(0.0, 0.6, 50)),
    ),
    (torchmortem.saturated_activations, layers("rival_beyond_share", 0.6), layers("rival_beyond_share", 0.4)),
    (
        torchmortem.vanishing_gradients,
        layers("rival_output_gradient", 0.01, 1.0),
        layers("rival_output_gradient", 0.011, 1.0),
    ),
    (
        torchmortem.exploding_gradients,
        layers("rival_output_gradient", 1.0, 1001.0),
        layers("rival_output_gradient", 1.0, 999.0),
    ),
    (
        torchmortem.stalled_gradients,
        layers("rival_output_gradient", after(1.0, 0.0), 1.0),
        layers("rival_output_gradient", after(1.0, 0.0, 45), 1.0),
    ),
    (
        torchmortem.gradient_noise,
        layers("rival_output_gradient", after(0.0, 9.0, 50), 1.0),
        layers("rival_output_gradient", after(1.0, 2.0), 1.0),
    ),
    (torchmortem.update_ratio, parameters("update_ratio", 0.11), parameters("update_ratio", 1e-3)),
    (torchmortem.update_ratio, parameters("update_ratio", 9e-6), parameters("update_ratio", 2e-5)),
    (
        torchmortem.weight_norms,
        parameters("weight_norm", np.linspace(1, 11, STEPS)),
        parameters("weight_norm", np.linspace(1, 9, STEPS)),
    ),
    (torchmortem.plateau, {"criterion_loss": SAME}, SMOOTH),
    (torchmortem.catapult, {"criterion_loss": after(1.0, 2.1)}, {"criterion_loss": after(1.0, 1.9)}),
]


@pytest.mark.parametrize(
    ("rule", "loud", "quiet"), CASES, ids=[f"{case[0].__name__}{index}" for index, case in enumerate(CASES)]
)
def test_a_rule_fires_on_one_side_of_its_threshold(log_of, rule, loud, quiet):  # noqa: F811
    assert rule(log_of({**SMOOTH, **loud}))
    assert not rule(log_of({**SMOOTH, **quiet}))


def test_a_lost_number_alarms_in_all_four(log_of):  # noqa: F811
    log = log_of(
        {"criterion_loss": after(1.0, np.nan), "activation_non_finite_count": layers("", after(0, 5))[""]}
    )
    assert all(alarms(rules, log) for rules in RIVALS.values())


def test_the_gate_of_autotrainer_keeps_silent_where_the_accuracy_is_good(log_of):  # noqa: F811
    series = {**SMOOTH, **layers("gradient_norm", 71.0, 1.0)}
    for accuracy, fires in (([0.3, 0.5], True), ([0.3, 0.9], False), ([0.9, 0.905], True)):
        scalars = {step: {"val_accuracy": value} for step, value in zip((20, 50), accuracy, strict=True)}
        assert autotrainer.gradient_explode(log_of(series, scalars=scalars)) == fires


def test_autotrainer_hears_an_accuracy_that_goes_up_and_down(log_of):  # noqa: F811
    for swing, fires in ((0.03, True), (0.02, False)):
        scalars = {step: {"val_accuracy": 0.4 + swing * (step % 2)} for step in range(10)}
        assert autotrainer.oscillating_loss(log_of(SMOOTH, scalars=scalars)) == fires


def test_overfitting_in_sagemaker_is_one_evaluation_a_tenth_above(log_of):  # noqa: F811
    series = {"criterion_loss": SAME}
    for loss, fires in ((1.11, True), (1.09, False)):
        assert (
            sagemaker.overfit(log_of(series, scalars={5: {"val_loss": 1.0}, 50: {"val_loss": loss}})) == fires
        )


def test_no_rule_fires_on_a_log_that_holds_next_to_nothing(log_of):  # noqa: F811
    log = log_of(SMOOTH)
    assert {name: alarms(rules, log) for name, rules in RIVALS.items()} == {name: [] for name in RIVALS}


@pytest.mark.parametrize(
    ("probe", "array", "expected"),
    [
        (telemetry.rival_zero_share, [[0.0, 1.0], [0.0, 0.0]], 0.75),
        (telemetry.rival_beyond_share, [[0.96, -0.96], [0.0, 0.9]], 0.5),
        (telemetry.rival_output_gradient, [[3.0, 4.0]], 5.0),
        (telemetry.rival_quiet_units, [[0.0, 1.0], [-1.0, -1.0]], 0.5),
        (telemetry.rival_tanh_ends, [[1.0, 0.5], [-1.0, 1.0]], 0.5),
        (telemetry.rival_sigmoid_ends, [[1.0, 0.5], [0.0, 1.0]], 0.5),
        (telemetry.rival_dead_units, [[0.0, 1.0], [0.0, 0.0]], 0.5),
        (telemetry.rival_tanh_saturation, [[0.9, 0.1], [-0.9, 0.9]], 0.5),
        (telemetry.rival_sigmoid_saturation, [[0.95, 0.5], [0.05, 0.9]], 0.5),
        (telemetry.rival_gradient_size, [[1.0, -3.0]], 2.0),
        (telemetry.rival_gradient_zeros, [[0.0, -3.0]], 0.5),
        (telemetry.rival_gradient_range, [np.linspace(0, 1, 101)], 0.9),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_rivals_measure(probe, array, expected):
    assert float(probe(np.array(array))) == pytest.approx(expected)


def test_channels_are_the_units_of_images():
    images = np.zeros((2, 3, 4, 4))
    images[:, 0] = 1
    assert float(telemetry.rival_quiet_units(images)) == pytest.approx(2 / 3)


def test_a_condition_has_to_hold_in_one_column():
    assert consecutive(np.array([[True, False], [True, True]]), 2)
    assert not consecutive(np.array([[True, False], [False, True]]), 2)
