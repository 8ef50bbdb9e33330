"""Rules about the start and the training loop, on logs whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

import diag
from diag.events import Layer, Optimizer
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes, summary

STUCK = {"criterion_loss": np.full(STEPS, 2.3)}
LEARNS = {"criterion_loss": falling()}
SAME = np.ones(STEPS)


def weights(first, last=1.0):
    """Norms of both matrices; a gain of 1 is the root of the number of units."""
    return {"weight_norm": {"0.weight": SAME * first * np.sqrt(8), "2.weight": SAME * last * np.sqrt(10)}}


@pytest.mark.parametrize(
    ("first", "last", "layer"),
    [(1.41, 0.58, None), (0.01, 1.0, "0"), (20.0, 1.0, "0"), (1.0, 50.0, "2"), (1.0, 0.001, None)],
    ids=["he", "small", "large", "large_head", "small_head"],
)
def test_weights_are_held_against_the_number_of_their_inputs(found, first, last, layer):
    finding = found("bad_initialization", {**STUCK, **weights(first, last)})
    assert (finding.layer if finding else None) == layer
    if finding:
        assert finding.severity == "fault"
        assert finding.evidence.value == pytest.approx(first if layer == "0" else last)


def test_odd_weights_that_learn_are_a_note(found):
    assert found("bad_initialization", {**LEARNS, **weights(0.01)}).severity == "note"


@pytest.mark.parametrize(("passed_on", "layer"), [(0.001, "1"), (0.5, None)], ids=["fades", "keeps_its_size"])
def test_a_signal_that_fades_over_the_layers_is_a_bad_start(found, passed_on, layer):
    sizes = {"activation_rms": {"0": SAME, "1": SAME * passed_on, "2": SAME}}
    finding = found("bad_initialization", {**STUCK, **weights(1.0), **sizes})
    assert (finding.layer if finding else None) == layer


def test_a_head_may_start_at_zero_whatever_follows_it(found):
    layers = (*NETWORK.layers, Layer("3", "LogSoftmax", (10,)))
    sizes = {"activation_rms": {"0": SAME, "1": SAME, "2": SAME * 0.0, "3": SAME * 2.3}}
    model = replace(NETWORK, layers=layers)
    assert found("bad_initialization", {**STUCK, **weights(1.0), **sizes}, model=model) is None


def test_a_log_that_begins_later_says_nothing_of_the_start(log_of):
    log = log_of({**STUCK, **weights(0.01)}, steps=range(100, 160))
    assert "does not hold step 0" in diag.diagnose(log).not_assessed["bad_initialization"]


def test_matrices_that_stay_at_zero_are_told_and_a_head_that_leaves_it_is_not(found):
    gradients = {"gradient_norm": {"0.weight": SAME, "2.weight": SAME}}
    finding = found("symmetric_initialization", {**STUCK, **gradients, **weights(0.0, 0.0)})
    assert (finding.layer, finding.evidence.readings) == ("0", 2)
    leaves = {"weight_norm": {"0.weight": SAME, "2.weight": np.linspace(0, 1, STEPS)}}
    assert found("symmetric_initialization", {**STUCK, **gradients, **leaves}) is None


def test_rows_that_are_all_alike_have_a_stable_rank_of_one(found):
    series = {**STUCK, **weights(1.0), "gradient_norm": {"0.weight": SAME}}
    for rank, layer in ((1.0, "0"), (2.5, None)):
        finding = found("symmetric_initialization", {**series, "stable_rank": {"0.weight": SAME * rank}})
        assert (finding.layer if finding else None) == layer


@pytest.mark.parametrize(
    ("loss", "severity"),
    [
        (np.geomspace(20, 2.0, STEPS), "warning"),
        (np.r_[20.0, falling(STEPS - 1)], "note"),
        (falling(start=2.5), None),
    ],
    ids=["for_long", "for_one_step", "as_it_should"],
)
def test_a_first_loss_far_above_a_guess(found, loss, severity):
    finding = found("wrong_initial_loss", {"criterion_loss": loss, **of_classes(10)})
    assert (finding.severity if finding else None) == severity


def moved(first, second, pushed=1.0):
    return {
        "update_norm": {"0.weight": SAME * first, "2.weight": SAME * second},
        "gradient_norm": {"0.weight": SAME * pushed, "2.weight": SAME},
    }


@pytest.mark.parametrize(
    ("loss", "severity"), [(STUCK, "warning"), (LEARNS, "note")], ids=["learns_little", "fine_tuning"]
)
def test_weights_that_are_pushed_and_do_not_move(found, loss, severity):
    finding = found("frozen_parameters", {**loss, **moved(0.0, 0.1)})
    assert (finding.severity, finding.layer) == (severity, "0")
    assert found("frozen_parameters", {**loss, **moved(0.1, 0.1)}) is None


def test_weights_that_no_optimiser_has_are_frozen(found):
    first, *rest = NETWORK.parameters
    model = replace(NETWORK, parameters=(replace(first, is_trained=False), *rest))
    finding = found("frozen_parameters", {**STUCK, **moved(0.1, 0.1)}, model=model)
    assert "no optimiser has them" in finding.evidence.text


def test_parameters_that_no_gradient_reaches(found):
    reached = {"0.bias": SAME, "2.weight": SAME, "2.bias": SAME}
    for pushed, rule_finds in ((np.zeros(STEPS), True), (SAME, False)):
        series = {**STUCK, "gradient_norm": {"0.weight": pushed, **reached}}
        finding = found("disconnected_parameters", series)
        assert (finding is not None) == rule_finds
        if finding:
            assert (finding.layer, finding.severity, finding.evidence.value) == ("0", "warning", 1.0)


def test_gradients_that_pile_up_are_told_from_gradients_that_grow(found):
    time = np.arange(STEPS)
    loss = np.r_[falling(10, 2.3, 1.0), np.linspace(1.0, 3.0, STEPS - 10)]
    piled = np.minimum(1 + 0.6 * time, 8) * (1 + 0.001 * (-1) ** time)
    finding = found("missing_zero_grad", {"criterion_loss": loss, "gradient_norm": piled})
    assert (finding.severity, finding.onset_step) == ("fault", 1)
    noisy = 1 + 0.3 * np.random.default_rng(0).random(STEPS)
    for healthy in (noisy, np.minimum(1.8**time, 1e6), SAME):
        assert found("missing_zero_grad", {"criterion_loss": loss, "gradient_norm": healthy}) is None


def test_a_start_that_was_not_recorded_at_every_step_says_nothing_of_a_sum(log_of):
    log = log_of({**STUCK, "gradient_norm": SAME}, steps=range(0, 10 * STEPS, 10))
    assert "record with every=1" in diag.diagnose(log).not_assessed["missing_zero_grad"]


@pytest.mark.parametrize(
    ("loss", "ratio", "is_found"),
    [
        (np.linspace(2.3, 20.0, STEPS), 1e-3, True),
        (np.linspace(2.3, 20.0, STEPS), 0.3, False),
        (np.r_[falling(30), np.linspace(1, 20, 30)], 1e-3, False),
    ],
    ids=["climbs", "leaps", "falls_first"],
)
def test_a_loss_that_only_climbs_by_small_steps(found, loss, ratio, is_found):
    series = {"criterion_loss": loss, "update_ratio": {"0.weight": SAME * ratio}, **moved(0.3, 0.3)}
    assert (found("wrong_update_direction", series) is not None) == is_found


def test_an_optimiser_that_was_told_to_maximise_is_believed(found):
    model = replace(NETWORK, optimizers=(Optimizer("", "SGD", {"maximize": True}),))
    series = {
        "criterion_loss": np.linspace(2.3, 20, STEPS),
        "update_ratio": {"0.weight": SAME},
        **moved(1.0, 1.0),
    }
    assert found("wrong_update_direction", series, model=model).confidence == 0.95


def test_input_summaries_are_not_needed_for_the_start(found):
    assert found("bad_initialization", {**STUCK, **weights(0.01), **summary("input", mean=0.0)}) is not None
