"""Rules about the course of loss, validation, weights, steps and curvature, on logs whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

import diag
from diag.diagnosis.loss_curve import turning_points
from diag.events import Optimizer, Reading
from diag.log import LogWriter
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes

LONG = 400
STUCK = {"criterion_loss": np.full(STEPS, 2.3)}
LEARNS = {"criterion_loss": falling()}
NOISE = np.random.default_rng(0).normal(0, 1, LONG)
SAME = np.ones(STEPS)


def waves(height):
    time = np.arange(LONG)
    return 1.5 * np.exp(-time / 40) + 0.3 + height * (1 + np.sin(time / 8)) * np.linspace(1, 1.5, LONG)


@pytest.mark.parametrize(
    ("loss", "severity"),
    [
        (waves(0.4), "warning"),
        (waves(0.02), None),
        (2 * np.exp(-np.arange(LONG) / 60) + 0.5 + 0.2 * NOISE, None),
        (1 + 0.3 * NOISE, None),
    ],
    ids=["swings", "ripples", "noise_on_progress", "noise_alone"],
)
def test_swings_are_told_from_noise(found, loss, severity):
    finding = found("oscillation", {"criterion_loss": loss}, steps=range(LONG))
    assert (finding.severity if finding else None) == severity


def test_a_turn_counts_once_it_has_gone_far_enough():
    assert turning_points(np.array([3.0, 1.0, 2.0, 1.9, 0.0]), 0.5) == [1, 2]
    assert turning_points(np.array([3.0, 1.0, 2.0, 1.9, 0.0]), 5.0) == []


@pytest.mark.parametrize(
    ("late", "is_found"),
    [
        ([0.3, 0.6, 0.3, 0.6, 0.3, 0.6, 0.3, 0.6], True),
        ([0.30, 0.38, 0.30, 0.38, 0.30, 0.38, 0.30, 0.38], False),
        ([0.6, 0.5, 0.4, 0.3, 0.45, 0.5, 0.55, 0.6], False),
    ],
    ids=["to_and_fro", "a_little", "once"],
)
def test_validations_of_the_same_examples_that_jump_are_told(found, late, is_found):
    losses = np.array([1.0, 0.9, 0.8, 0.7, *late])
    series = {"criterion_loss": falling(), **of_classes(10)}
    finding = found("oscillation", series, scalars=validated(np.log(10) * losses))
    assert (finding is not None) == is_found
    if finding:
        assert (finding.severity, finding.evidence.series) == ("warning", "val_loss")
        assert finding.onset_step == 24


def leaping(length):
    loss = 0.5 + 2 * np.exp(-np.arange(LONG) / 60) + 0.02 * NOISE
    loss[200 : 200 + length] += 3.0
    return loss


@pytest.mark.parametrize(("length", "severity"), [(1, "note"), (60, "warning"), (0, None)])
def test_a_leap_of_the_loss_matters_where_it_lasts(found, length, severity):
    finding = found("loss_spike", {"criterion_loss": leaping(length)}, steps=range(LONG))
    assert (finding.severity if finding else None) == severity
    if finding:
        assert (finding.onset_step, finding.evidence.last_healthy_step) == (200, 199)


def validated(losses, accuracies=None):
    scalars = {step: {"val_loss": loss} for step, loss in zip(range(4, STEPS, 5), losses, strict=True)}
    for step, accuracy in zip(scalars, accuracies or [], strict=False):
        scalars[step]["val_accuracy"] = accuracy
    return scalars


RISES = [2.0, 1.5, 1.0, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
FALLS = [2.0, 1.5, 1.2, 1.0, 0.9, 0.85, 0.8, 0.82, 0.79, 0.8, 0.78, 0.8]
FLICKERS = [1.0, 0.6, 1.1, 0.7, 1.0, 0.6, 1.2, 0.7, 1.1, 0.6, 1.0, 0.8]


@pytest.mark.parametrize(
    ("losses", "accuracies", "severity"),
    [
        (RISES, None, "warning"),
        (FALLS, None, None),
        (FLICKERS, None, None),
        (RISES, [0.9] * 12, "note"),
        ([0.5, 0.4, 0.3, *RISES[3:]], None, "fault"),
    ],
    ids=["rises", "falls", "flickers", "keeps_its_accuracy", "ends_worse_than_it_began"],
)
def test_a_validation_loss_that_climbs_while_training_falls(found, losses, accuracies, severity):
    finding = found("overfitting", LEARNS, scalars=validated(losses, accuracies))
    assert (finding.severity if finding else None) == severity
    if finding:
        assert finding.onset_step == finding.evidence.last_healthy_step


def test_a_validation_loss_may_have_been_zero(found):
    assert (
        found("overfitting", LEARNS, scalars=validated([2.0, 1.0, 0.0, *RISES[3:]])).evidence.value == np.inf
    )


def test_a_validation_loss_that_climbs_with_the_training_loss_is_something_else(found):
    series = {"criterion_loss": np.r_[falling(20), np.full(40, 3.0)]}
    assert found("overfitting", series, scalars=validated(RISES)) is None


@pytest.mark.parametrize(("end", "is_found"), [(1.6, True), (0.3, False)], ids=["poor", "good"])
def test_both_losses_high_and_alike_are_underfitting(found, end, is_found):
    series = {"criterion_loss": falling(end=end), **of_classes(10)}
    finding = found("underfitting", series, scalars=validated(np.linspace(2.3, end, 12)))
    assert (finding is not None) == is_found


def norms(growth):
    return {
        "weight_norm": {
            "0.weight": np.geomspace(1, growth, STEPS),
            "2.weight": np.geomspace(1, growth, STEPS),
        }
    }


@pytest.mark.parametrize(
    ("growth", "rule", "severity"),
    [(100, "weight_blow_up", "fault"), (0.01, "over_regularized", "fault"), (3, None, None)],
    ids=["grow", "shrink", "stay"],
)
def test_weights_that_grow_or_shrink_while_nothing_is_learned(log_of, growth, rule, severity):
    diagnosis = diag.diagnose(log_of({**STUCK, **norms(growth)}))
    told = {
        f.rule: f.severity for f in diagnosis.findings if f.rule in ("weight_blow_up", "over_regularized")
    }
    assert told == ({rule: severity} if rule else {})


def test_weights_that_grow_or_shrink_in_a_run_that_learns_are_no_fault(log_of):
    for growth in (100, 0.01):
        assert diag.diagnose(log_of({**LEARNS, **norms(growth)})).status == "healthy"


@pytest.mark.parametrize(
    ("kind", "size", "is_found"),
    [("Adam", 1e-9, True), ("Adam", 1e-3, False), ("SGD", 1e-9, False)],
    ids=["tiny", "usual", "without_epsilon"],
)
def test_gradients_as_small_as_epsilon(found, kind, size, is_found):
    model = replace(NETWORK, optimizers=(Optimizer("", kind, {"eps": 1e-8}),))
    series = {
        **STUCK,
        "gradient_norm": {"0.weight": SAME * size * np.sqrt(32), "2.weight": SAME * size * np.sqrt(80)},
    }
    finding = found("epsilon_dominates", series, model=model)
    assert (finding is not None) == is_found
    if finding:
        assert finding.evidence.value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("before", "loss", "severity"),
    [(50.0, STUCK, "warning"), (50.0, LEARNS, "note"), (1.0, STUCK, None)],
    ids=["hard_and_stuck", "hard", "never"],
)
def test_gradients_that_are_always_clipped(found, before, loss, severity):
    series = {**loss, "gradient_norm": SAME, "gradient_norm_before_clipping": SAME * before}
    finding = found("clipping_always_active", series)
    assert (finding.severity if finding else None) == severity


@pytest.mark.parametrize(("sharpness", "is_found"), [(20.0, True), (4.0, False), (90.0, False)])
def test_sharpness_about_the_threshold_is_a_state(found, sharpness, is_found):
    series = {**LEARNS, "top_eigenvalues": SAME * sharpness, "stability_threshold": SAME * 20}
    finding = found("edge_of_stability", series)
    assert (finding is not None) == is_found
    if finding:
        assert (finding.severity, finding.evidence.value) == ("note", 1.0)


def test_an_optimiser_without_a_threshold_is_not_assessed(log_of):
    series = {**LEARNS, "top_eigenvalues": SAME, "stability_threshold": np.full(STEPS, np.nan)}
    assert "no stability threshold" in diag.diagnose(log_of(series)).not_assessed["edge_of_stability"]


@pytest.mark.parametrize(
    ("name", "loss", "severity"),
    [("0", STUCK, "fault"), ("0", LEARNS, "note"), ("2", STUCK, None)],
    ids=["hidden", "learns", "head"],
)
def test_a_saturated_layer_matters_where_nothing_is_learned(found, name, loss, severity):
    rate = np.where(np.arange(STEPS) < 10, 0.1, 0.8)
    finding = found("saturated_units", {**loss, "saturation_rate": {name: rate}})
    assert (finding.severity if finding else None) == severity
    if finding:
        assert (finding.onset_step, finding.layer) == (10, "0")


@pytest.mark.parametrize(
    ("end", "steps", "is_found"),
    [(0.8, range(STEPS), True), (0.8, range(100, 100 + STEPS), False), (0.1, range(STEPS), False)],
    ids=["short", "long_enough", "well_learned"],
)
def test_a_run_that_ends_soon_while_much_is_left_was_too_short(found, end, steps, is_found):
    series = {"criterion_loss": falling(end=end), **of_classes(10)}
    finding = found("too_few_steps", series, steps=steps)
    assert (finding is not None) == is_found
    if finding:
        assert (finding.severity, finding.evidence.value) == ("warning", STEPS)


def test_a_short_run_whose_loss_has_stopped_falling_needs_something_else(found):
    series = {"criterion_loss": np.r_[falling(20, end=0.8), np.full(40, 0.8)], **of_classes(10)}
    assert found("too_few_steps", series) is None


def test_a_loss_that_is_lost_beyond_all_numbers_was_not_still_falling(found):
    series = {"criterion_loss": np.r_[falling(20), np.full(40, np.inf)], **of_classes(10)}
    assert found("too_few_steps", series) is None


def test_the_steadier_validation_says_whether_a_short_run_is_still_falling(found):
    noisy = np.where(np.arange(STEPS) % 2, 0.7, 1.3) * falling(end=1.0)
    series = {"criterion_loss": noisy, **of_classes(10)}
    finding = found("too_few_steps", series, scalars=validated(np.geomspace(2.3, 1.0, 12)))
    assert finding.evidence.series == "val_loss"


def test_gradients_that_are_infinite_from_the_start_are_told(tmp_path):
    writer = LogWriter(tmp_path / "run", describe=lambda: NETWORK)
    for step in range(STEPS):
        network = {"criterion_loss": 2.3, "gradient_norm": np.inf, "gradient_norm_ratio": np.inf}
        readings = [Reading(name, "", value, "network") for name, value in network.items()]
        writer.write(
            step, [*readings, *(Reading("gradient_norm", layer, np.inf, "layers") for layer in "02")]
        )
    writer.close()
    findings = {finding.rule: finding for finding in diag.diagnose(diag.Log(tmp_path / "run")).findings}
    assert (findings["exploding_gradients"].layer, findings["exploding_gradients"].onset_step) == ("0", 0)
