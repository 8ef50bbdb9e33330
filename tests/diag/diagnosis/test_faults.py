"""Faults put in at random: the first finding names the fault, the layer and the step."""

import numpy as np
import pytest

import diag

DRAWS = 4
STEPS = 320


def kill(position):
    def fault(subject):
        subject.model[2 * position].bias.array[...] = -1e3

    return fault


def poison(position):
    def fault(subject):
        subject.model[2 * position].weight.array[0, 0] = np.nan

    return fault


def raise_learning_rate(factor):
    def fault(subject):
        subject.optimizer.param_groups[0]["lr"] *= factor

    return fault


def draw(seed):
    """A training, a cadence and a step, at random but reproducible."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(2, 5))
    settings = {"seed": seed, "depth": depth, "optimizer_kind": str(rng.choice(["SGD", "Adam"]))}
    every = int(rng.choice([1, 2]))
    step = int(rng.integers(30, 90)) * 2
    return rng, settings, every, step


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_layer_killed_at_a_step(training, record, seed):
    rng, settings, every, step = draw(seed)
    position = int(rng.integers(settings["depth"]))
    diagnosis = diag.diagnose(record(training(**settings), STEPS, {step: kill(position)}, every=every))
    first = diagnosis.findings[0]
    assert diagnosis.status == "fault"
    assert (first.rule, first.layer, first.onset_step) == ("dead_units", str(2 * position + 1), step)
    assert first.evidence.last_healthy_step == step - every


# A rate three thousand times too high may carry the loss past every number.
@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_learning_rate_raised_at_a_step(training, record, seed):
    rng, settings, every, step = draw(100 + seed)
    factor = float(rng.choice([100, 300, 1000, 3000]))
    diagnosis = diag.diagnose(
        record(training(**settings), STEPS, {step: raise_learning_rate(factor)}, every=every)
    )
    first = diagnosis.findings[0]
    assert diagnosis.status == "fault"
    assert (first.rule, first.layer, first.onset_step) == ("learning_rate_too_high", None, step)
    assert first.evidence.value == pytest.approx(factor)


@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_nan_put_in_at_a_step(training, record, seed):
    rng, settings, every, step = draw(200 + seed)
    position = int(rng.integers(settings["depth"]))
    diagnosis = diag.diagnose(record(training(**settings), STEPS, {step: poison(position)}, every=every))
    first = diagnosis.findings[0]
    assert diagnosis.status == "fault"
    assert (first.rule, first.layer, first.onset_step) == ("non_finite", str(2 * position), step)
    assert first.evidence.last_healthy_step == step - every


@pytest.mark.parametrize("seed", range(DRAWS))
def test_without_a_fault_nothing_above_a_note(training, record, seed):
    _, settings, every, _ = draw(300 + seed)
    diagnosis = diag.diagnose(record(training(**settings), STEPS, every=every))
    assert diagnosis.status == "healthy"
    assert {finding.severity for finding in diagnosis.findings} <= {"note"}


@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
def test_a_nan_between_two_recorded_steps_is_found_and_its_origin_not_guessed(training, record):
    log = record(training(depth=2), 60, {23: poison(1)}, every=5)
    first = diag.diagnose(log).findings[0]
    assert (first.rule, first.layer, first.onset_step) == ("non_finite", None, 25)
    assert "record every step" in first.evidence.text
    assert first.confidence <= 0.5


@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
def test_a_nan_in_a_gradient_is_traced_to_its_layer(training, record):
    subject = training(depth=2)

    def spoil(_):
        subject.optimizer.register_step_pre_hook(
            lambda _: subject.model[2].weight.grad.array.__setitem__((0, 0), np.nan)
        )

    spoil(None)
    log = record(subject, 20, every=1)
    first = diag.diagnose(log).findings[0]
    assert (first.rule, first.layer, first.onset_step) == ("non_finite", "2", 0)
    assert first.evidence.series == "gradient_non_finite_count"


@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
def test_bad_data_is_told_as_bad_data(training, record):
    subject = training(depth=2)
    subject.data.x_train[:, 5] = np.inf
    first = diag.diagnose(record(subject, 20, every=1)).findings[0]
    assert first.rule == "non_finite"
    assert "input is not finite" in first.evidence.text


def test_a_learning_rate_too_high_from_the_start(training, record):
    diagnosis = diag.diagnose(record(training(lr=30.0), 100, every=1))
    assert diagnosis.findings[0].rule == "learning_rate_too_high"
    assert diagnosis.findings[0].onset_step == 0


@pytest.mark.parametrize("lr", [0.0, 1e-6], ids=["zero", "tiny"])
def test_a_learning_rate_too_low(training, record, lr):
    diagnosis = diag.diagnose(record(training(lr=lr), 100, every=1))
    assert diagnosis.findings[0].rule == "learning_rate_too_low"
    assert diagnosis.status == "warning"


def test_sigmoids_in_a_deep_network_let_gradients_vanish(training, record):
    from scratchnet import nn

    log = record(training(depth=10, width=24, nonlinearity=nn.Sigmoid), 100, every=1)
    diagnosis = diag.diagnose(log)
    assert (diagnosis.findings[0].rule, diagnosis.findings[0].layer) == ("vanishing_gradients", "0")
    assert diagnosis.status == "fault"


def test_a_chaotic_network_lets_gradients_explode(training, record):
    from scratchnet import nn

    subject = training(depth=16, width=24, lr=1e-9, nonlinearity=nn.Tanh)
    for layer in list(subject.model)[:-1:2]:
        layer.weight.array *= 4
    first, *others = diag.diagnose(record(subject, 60, every=1)).findings
    assert (first.rule, first.severity) == ("bad_initialization", "fault")
    (exploding,) = (finding for finding in others if finding.rule == "exploding_gradients")
    assert (exploding.layer, exploding.severity, exploding.caused_by) == ("0", "fault", "bad_initialization")
    assert exploding.evidence.value > 70
