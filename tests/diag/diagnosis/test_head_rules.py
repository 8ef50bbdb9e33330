"""Rules about what comes out and what the loss expects, on logs whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from diag.diagnosis.task import class_count, guess_loss
from diag.events import Criterion, Layer, Model
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes, summary

STUCK = {"criterion_loss": np.full(STEPS, 2.3)}
LEARNS = {"criterion_loss": falling()}


def ending_in(kind, width=1):
    return Model((Layer("0", "Linear", (width,)), Layer("1", kind, (width,))))


def regression(low, high, **prediction):
    return {**summary("target", mean=0.3, std=1.1, min=low, max=high), **summary("prediction", **prediction)}


@pytest.mark.parametrize(
    ("kind", "low", "high", "is_found"),
    [
        ("Sigmoid", -2.5, 2.5, True),
        ("Sigmoid", 0.0, 1.001, False),
        ("Tanh", -2.5, 2.5, True),
        ("ReLU", -2.5, 2.5, True),
        ("ReLU", 0.0, 99.5, False),
        ("Linear", -2.5, 2.5, False),
    ],
)
def test_targets_that_the_last_layer_cannot_reach(found, kind, low, high, is_found):
    series = {**LEARNS, **regression(low, high, mean=0.5, std=0.2, min=0.1, max=0.9)}
    finding = found("head_loss_mismatch", series, model=ending_in(kind))
    assert (finding is not None) == is_found
    if finding:
        assert (finding.severity, finding.layer) == ("warning", "1")


def test_predictions_beyond_the_last_layers_range_are_not_its_own(found):
    series = {**LEARNS, **regression(-2.5, 2.5, mean=0.5, std=2.0, min=-3.0, max=3.0)}
    assert found("head_loss_mismatch", series, model=ending_in("Sigmoid")) is None


def test_a_likelihood_of_classes_below_zero_is_no_logarithm(found):
    series = {
        "criterion_loss": np.linspace(0.1, -1.0, STEPS),
        **of_classes(10),
        **summary("prediction", max=0.9, min=0.0),
    }
    finding = found("head_loss_mismatch", series)
    assert (finding.severity, finding.evidence.value) == ("fault", -1.0)


def test_a_softmax_over_one_unit_says_one(found):
    series = {**STUCK, **regression(0.0, 1.0, mean=1.0, std=0.0, min=1.0, max=1.0)}
    finding = found("head_loss_mismatch", series, model=ending_in("Softmax"))
    assert "single unit" in finding.evidence.text


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_the_loss_of_probabilities_taken_for_scores_stays_above_its_floor(found, classes):
    floor = math.log(1 + (classes - 1) / math.e)
    series = {
        "criterion_loss": np.linspace(math.log(classes), floor + 0.01, STEPS),
        **of_classes(classes),
        **summary("prediction", mean=1 / classes, std=0.1, min=0.0, max=1.0),
    }
    model = ending_in("Softmax", classes)
    finding = found("redundant_softmax", series, model=model)
    assert finding.evidence.band.startswith(f"below {floor:.4g}")
    lower = {**series, "criterion_loss": np.linspace(math.log(classes), 0.5 * floor, STEPS)}
    assert found("redundant_softmax", lower, model=model) is None


def test_scores_whose_loss_is_high_are_no_probabilities(found):
    scores = {**of_classes(10), **summary("prediction", mean=0.1, std=1.0, min=-2.0, max=2.0)}
    assert found("redundant_softmax", {**STUCK, **scores}) is None


@pytest.mark.parametrize(
    ("loss", "severity"),
    [(np.full(STEPS, 1.2), "fault"), (falling(start=1.2), "note")],
    ids=["stuck", "learns"],
)
def test_predictions_that_are_all_alike_from_a_step_on(found, loss, severity):
    spread = np.where(np.arange(STEPS) < 12, 0.5, 1e-9)
    series = {
        "criterion_loss": loss,
        **regression(-2.5, 2.5, mean=0.3, min=0.3, max=0.3),
        "prediction_std": spread,
    }
    finding = found("constant_output", series, model=ending_in("Linear"))
    assert (finding.severity, finding.onset_step, finding.evidence.last_healthy_step) == (severity, 12, 11)


def test_predictions_that_vary_are_not_constant(found):
    series = {**STUCK, **regression(-2.5, 2.5, mean=0.3, std=0.05, min=0.2, max=0.4)}
    assert found("constant_output", series, model=ending_in("Linear")) is None


def test_examples_that_all_get_the_same_scores(found):
    series = {**STUCK, **of_classes(10), **summary("prediction", std=1.0, mean=0.0)}
    blind = {**series, "prediction_example_std": np.full(STEPS, 1e-8)}
    assert found("input_ignored", blind).severity == "fault"
    assert found("input_ignored", {**series, "prediction_example_std": np.full(STEPS, 0.5)}) is None


@pytest.mark.parametrize(
    ("loss", "severity"),
    [(falling(), "note"), (np.r_[falling(30), np.full(30, 3.0)], "warning")],
    ids=["learns", "suffers"],
)
def test_scores_that_grow_without_end(found, loss, severity):
    largest = np.where(np.arange(STEPS) < 30, 10.0, 500.0)
    series = {
        "criterion_loss": loss,
        **of_classes(10),
        **summary("prediction", min=-5.0),
        "prediction_max": largest,
    }
    finding = found("logit_drift", series)
    assert (finding.severity, finding.onset_step, finding.evidence.value) == (severity, 30, 500.0)
    assert found("logit_drift", {**series, "prediction_max": np.full(STEPS, 30.0)}) is None


@pytest.mark.parametrize(
    ("kind", "reduction", "classes", "guess"),
    [
        ("CrossEntropyLoss", "mean", 10, np.log(10)),
        ("MSELoss", "mean", None, 2.9**2),
        ("MSELoss", "sum", None, None),
        ("L1Loss", "mean", None, None),
    ],
)
def test_a_criterion_that_is_known_says_what_the_targets_are(log_of, kind, reduction, classes, guess):
    model = replace(NETWORK, criteria=(Criterion("", kind, reduction),))
    log = log_of({**STUCK, **of_classes(10)}, model=model)
    assert class_count(log) == classes
    assert guess_loss(log) == (None if guess is None else pytest.approx(guess))
