"""How far a training fell short, and what follows for what is odd in any case."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from diag.diagnosis.outcome import Outcome
from diag.diagnosis.regularization import dropout_rates, has_dropout
from diag.diagnosis.task import shortfall, training_left
from diag.events import Criterion, Layer, Model, Optimizer, Parameter
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes, summary

SAME = np.ones(STEPS)
GUESS = np.log(10)


@pytest.mark.parametrize(("validation", "expected"), [(None, 0.2), (0.5, 0.5), (0.1, 0.2)])
def test_the_shortfall_is_what_is_left_of_a_guess_on_the_worse_of_both_sets(log_of, validation, expected):
    series = {"criterion_loss": np.r_[np.full(20, GUESS), np.full(STEPS - 20, 0.2 * GUESS)], **of_classes(10)}
    scalars = {} if validation is None else {step: {"val_loss": validation * GUESS} for step in (39, 49, 59)}
    log = log_of(series, scalars=scalars)
    assert training_left(log) == pytest.approx(0.2)
    assert shortfall(log) == pytest.approx(expected)


def test_where_a_guess_is_unknown_the_first_loss_stands_for_it(log_of):
    assert shortfall(log_of({"criterion_loss": np.r_[4.0, np.ones(STEPS - 1)]})) == pytest.approx(0.25)


def test_batches_of_one_class_each_do_not_make_a_guess_cheap(log_of):
    # All of the variance lies between batches.
    targets = summary("target", mean=np.where(np.arange(STEPS) % 2, 1.0, -1.0), std=0.1, min=-1.2, max=1.2)
    predictions = summary("prediction", mean=0.0, std=0.1, min=-0.2, max=0.2)
    log = log_of({"criterion_loss": np.r_[1.02, np.full(STEPS - 1, 0.1)], **targets, **predictions})
    assert shortfall(log) == pytest.approx(0.1 / 1.01)


def test_a_loss_that_was_not_heard_is_none_beyond_all_numbers(log_of):
    heard = np.arange(STEPS) < 40
    mode = {"evaluation_mode_rate": np.where(heard, 0.0, 1.0)}
    log = log_of({"criterion_loss": np.where(heard, falling(), np.nan), **mode})
    outcome = Outcome.of(log)
    assert outcome is not None
    assert len(outcome.loss) == 40
    assert np.isfinite(outcome.final)


@pytest.mark.parametrize(("end", "severity"), [(0.05, "note"), (0.5, "warning"), (1.0, "fault")])
def test_what_is_odd_is_as_grave_as_the_training_is_poor(found, end, severity):
    """A layer that is drawn too small, in a training that ends well, middling, or where it began."""
    loss = np.r_[np.geomspace(GUESS, end * GUESS, 40), np.full(STEPS - 40, end * GUESS)]
    norms = {"weight_norm": {"0.weight": SAME * 0.01 * np.sqrt(8), "2.weight": SAME * np.sqrt(10)}}
    finding = found("bad_initialization", {"criterion_loss": loss, **of_classes(10), **norms})
    assert finding.severity == severity


# ------------------------------------------------------------------------------------- dropout

LAYERS = (
    Layer("0", "Linear", (8,), ("0.weight",)),
    Layer("drop", "Dropout", (8,)),
    Layer("2", "Linear", (10,), ("2.weight",)),
)
DROPPING = Model(LAYERS, NETWORK.parameters[::2])


def sizes(after, mean=0.5):
    """What comes in has a size of 1 and a mean of 0.5."""
    return {
        "activation_rms": {"0": SAME, "drop": SAME * after, "2": SAME},
        "activation_mean": {"0": SAME * 0.5, "drop": SAME * mean, "2": SAME},
    }


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_the_rate_of_dropout_is_told_by_what_it_does_to_the_size(log_of, rate):
    log = log_of({"criterion_loss": falling(), **sizes(1 / np.sqrt(1 - rate))}, model=DROPPING)
    assert dropout_rates(log) == {"drop": pytest.approx(rate, abs=1e-6)}
    assert has_dropout(log) == (rate > 0)


def test_what_gets_a_residual_sum_is_not_taken_for_dropout(log_of):
    log = log_of({"criterion_loss": falling(), **sizes(2.0, mean=1.5)}, model=DROPPING)
    assert dropout_rates(log) == {}
    # It is there, and its rate is not known.
    assert has_dropout(log)


@pytest.mark.parametrize(
    ("rate", "loss", "is_found"),
    [(0.9, np.full(STEPS, 2.3), True), (0.9, falling(), False), (0.3, np.full(STEPS, 2.3), False)],
    ids=["most_units", "but_learned", "usual"],
)
def test_dropout_of_most_units_is_too_much_where_little_is_learned(found, rate, loss, is_found):
    series = {
        "criterion_loss": loss,
        "weight_norm": {"0.weight": SAME, "2.weight": SAME},
        **sizes(1 / np.sqrt(1 - rate)),
    }
    finding = found("over_regularized", series, model=DROPPING)
    assert (finding.layer if finding else None) == ("drop" if is_found else None)


# -------------------------------------------------------------------------- rates and schedules

RATIO = {"update_ratio": {"0.weight": SAME * 2e-3, "2.weight": SAME * 2e-3}}
HALF = np.r_[np.geomspace(GUESS, 0.5 * GUESS, 20), np.full(STEPS - 20, 0.5 * GUESS)]


@pytest.mark.parametrize(
    ("rate", "loss", "is_found"),
    [
        (0.9 ** np.arange(STEPS), HALF, True),
        (0.9 ** np.arange(STEPS), falling(start=GUESS), False),
        (0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)), HALF, False),
    ],
    ids=["decayed_at_once", "decayed_but_learned", "cosine"],
)
def test_a_rate_that_is_gone_before_half_of_the_run_is_too_low(found, rate, loss, is_found):
    finding = found(
        "learning_rate_too_low",
        {"criterion_loss": loss, "learning_rate": 0.1 * rate, **of_classes(10), **RATIO},
    )
    assert (finding is not None) == is_found
    if finding:
        assert finding.onset_step == np.argmax(rate < 0.1)


@pytest.mark.parametrize(
    ("loss", "is_found"), [(np.linspace(GUESS, 0.5 * GUESS, STEPS), True), (falling(start=GUESS), False)]
)
def test_faint_steps_are_too_slow_where_much_is_left(found, loss, is_found):
    series = {"criterion_loss": loss, "gradient_norm": SAME, "update_ratio": {"0.weight": SAME * 3e-4}}
    assert (found("learning_rate_too_low", {**series, **of_classes(10)}) is not None) == is_found


@pytest.mark.parametrize(
    ("kind", "end", "is_found"),
    [("Adagrad", 0.5, True), ("Adagrad", 0.05, False), ("SGD", 0.5, False)],
    ids=["withered", "withered_but_learned", "another"],
)
def test_adagrads_steps_wither(found, kind, end, is_found):
    withering = 1 / np.sqrt(1 + np.arange(STEPS))
    series = {
        "criterion_loss": np.linspace(GUESS, end * GUESS, STEPS),
        "gradient_norm": SAME,
        "update_norm": {"0.weight": 0.01 * withering},
        "update_ratio": {"0.weight": 0.01 * withering},
    }
    model = replace(NETWORK, optimizers=(Optimizer("", kind, {"lr": 0.01}),))
    assert (found("learning_rate_too_low", {**series, **of_classes(10)}, model=model) is not None) == is_found


def test_what_was_learned_and_is_lost_again_is_a_rate_too_high(found):
    loss = np.r_[falling(40, end=0.1), np.full(STEPS - 40, 1.5)]
    finding = found("learning_rate_too_high", {"criterion_loss": loss, **RATIO})
    assert (finding.severity, finding.onset_step) == ("fault", 40 + 1)


@pytest.mark.parametrize(("died_at", "is_found"), [(40, False), (50, True)], ids=["before", "after"])
def test_what_is_lost_since_a_layer_died_is_no_fault_of_the_rate(found, died_at, is_found):
    loss = np.r_[falling(40, end=0.1), np.full(STEPS - 40, 1.5)]
    death = {"dead_unit_rate": {"1": np.where(np.arange(STEPS) < died_at, 0.1, 1.0)}}
    finding = found("learning_rate_too_high", {"criterion_loss": loss, **RATIO, **death})
    assert (finding is not None) == is_found


@pytest.mark.parametrize(("scatter", "is_found"), [(1e-5, True), (0.1, False)])
def test_a_gradient_whose_norm_never_changes_is_clipped(found, scatter, is_found):
    norm = 0.01 * (1 + scatter * np.sin(np.arange(STEPS)))
    finding = found("clipping_always_active", {"criterion_loss": np.full(STEPS, 2.3), "gradient_norm": norm})
    assert (finding.severity if finding else None) == ("warning" if is_found else None)


# ---------------------------------------------------------------------------------- the head


def ending_in(kind, criterion):
    layers = (Layer("0", "Linear", (10,), ("0.weight",)), Layer("1", kind, (10,)))
    return Model(
        layers,
        (Parameter("0.weight", "0", (10, 4)),),
        (Optimizer("", "SGD"),),
        (Criterion("", criterion, "mean"),),
    )


def test_numbers_from_zero_to_one_are_no_scores(found):
    predictions = summary("prediction", min=0.1, max=0.9, mean=0.5, std=0.2)
    series = {"criterion_loss": falling(start=2.3, end=1.7), **of_classes(10), **predictions}
    assert found("redundant_softmax", series, model=ending_in("Sigmoid", "CrossEntropyLoss")).layer == "1"
    assert found("redundant_softmax", series, model=ending_in("Sigmoid", "MultiMarginLoss")) is None


@pytest.mark.parametrize(("criterion", "is_found"), [("MSELoss", True), ("CrossEntropyLoss", False)])
def test_classes_as_ones_among_zeros_ask_for_another_loss(found, criterion, is_found):
    targets = summary("target", mean=0.1, std=0.3, min=0.0, max=1.0)
    predictions = summary("prediction", mean=0.1, std=0.2, min=-0.5, max=1.0)
    series = {"criterion_loss": np.full(STEPS, 0.09), **targets, **predictions}
    finding = found("head_loss_mismatch", series, model=ending_in("Identity", criterion))
    assert (finding is not None) == is_found


def test_a_first_batch_that_is_hard_by_chance_is_no_wrong_start(found):
    loss = np.r_[20.0, np.full(STEPS - 1, 2.31)]
    assert found("wrong_initial_loss", {"criterion_loss": loss, **of_classes(10)}).severity == "note"


# ------------------------------------------------------------------------ the rest by its subject


@pytest.mark.parametrize(
    ("bias", "layer"),
    [({"0.bias": 3.0}, "0"), ({"0.bias": 0.5}, None), ({"2.bias": 3.0}, None)],
    ids=["far", "near", "head"],
)
def test_biases_that_outweigh_the_inputs_are_a_bad_start(found, bias, layer):
    sizes = {"0.weight": 8, "0.bias": 8, "2.weight": 10, "2.bias": 10}
    norms = {
        name: SAME * bias.get(name, float("weight" in name)) * np.sqrt(size) for name, size in sizes.items()
    }
    finding = found("bad_initialization", {"criterion_loss": np.full(STEPS, 2.3), "weight_norm": norms})
    assert (finding.layer if finding else None) == layer


@pytest.mark.parametrize(
    ("ratio", "end", "is_found"),
    [(0.05, 0.6, True), (0.05, 0.1, False), (0.3, 0.6, False)],
    ids=["faint_and_poor", "faint_but_learned", "usual"],
)
def test_a_tenth_of_the_gradient_is_too_little_where_much_is_left(found, ratio, end, is_found):
    series = {"criterion_loss": falling(start=GUESS, end=end * GUESS), **of_classes(10)}
    norms = {"gradient_norm": {"0": SAME * ratio, "2": SAME}, "gradient_norm_ratio": SAME * ratio}
    finding = found("vanishing_gradients", {**series, **norms})
    assert (finding is not None) == is_found
    if finding:
        assert (finding.severity, finding.layer, finding.onset_step) == ("warning", "0", 0)


@pytest.mark.parametrize(
    ("accuracies", "severity"), [(np.full(12, 0.8), "note"), (np.linspace(0.8, 0.6, 12), "warning")]
)
def test_overfitting_matters_where_it_costs_accuracy(found, accuracies, severity):
    losses = GUESS * np.r_[1.5, 0.5, 0.2, np.linspace(0.25, 1.2, 9)]
    scalars = {
        step: {"val_loss": loss, "val_accuracy": accuracy}
        for step, loss, accuracy in zip(range(4, STEPS, 5), losses, accuracies, strict=True)
    }
    finding = found(
        "overfitting", {"criterion_loss": falling(start=GUESS), **of_classes(10)}, scalars=scalars
    )
    assert finding.severity == severity


@pytest.mark.parametrize(("end", "severity"), [(0.7, "warning"), (0.55, "note"), (0.3, None)])
def test_a_classifier_that_stays_near_a_guess_on_both_sets_underfits(found, end, severity):
    scalars = {
        step: {"val_loss": loss}
        for step, loss in zip(range(4, STEPS, 5), np.linspace(GUESS, end * GUESS, 12), strict=True)
    }
    series = {"criterion_loss": falling(start=GUESS, end=end * GUESS), **of_classes(10)}
    finding = found("underfitting", series, scalars=scalars)
    assert (finding.severity if finding else None) == severity


@pytest.mark.parametrize(
    ("asks", "severity"), [(True, "warning"), (False, "note")], ids=["forgotten", "on_purpose"]
)
def test_parameters_that_ask_for_a_gradient_are_hardly_left_out_on_purpose(found, asks, severity):
    parameters = tuple(
        Parameter(each.name, each.layer, each.shape, each.layer != "0", 1, asks or each.layer != "0")
        for each in NETWORK.parameters
    )
    loss = np.r_[falling(30, start=GUESS, end=0.4 * GUESS), np.full(STEPS - 30, 0.4 * GUESS)]
    moves = {"update_norm": {"2.weight": SAME}, "gradient_norm": {"2.weight": SAME}}
    series = {"criterion_loss": loss, **of_classes(10), **moves}
    assert found("frozen_parameters", series, model=Model(NETWORK.layers, parameters)).severity == severity


@pytest.mark.parametrize(("examples", "severity"), [(50, "note"), (500, "warning")])
def test_three_examples_of_fifty_may_be_lost_by_chance_and_thirty_of_five_hundred_not(
    found, examples, severity
):
    losses = np.r_[0.9, 0.5, 0.2, np.linspace(0.25, 0.7, 9)]
    # One example more or less, and in the end six in a hundred.
    accuracies = np.r_[0.9, 0.9 + 1 / examples, np.full(10, 0.84)]
    scalars = {
        step: {"val_loss": loss, "val_accuracy": accuracy}
        for step, loss, accuracy in zip(range(4, STEPS, 5), losses, accuracies, strict=True)
    }
    finding = found(
        "overfitting", {"criterion_loss": falling(start=GUESS), **of_classes(10)}, scalars=scalars
    )
    assert finding.severity == severity


@pytest.mark.parametrize(("ratio", "is_found"), [(0.05, True), (1e-4, False)], ids=["long", "warming_up"])
def test_a_rate_that_leaps_matters_where_steps_are_long_then(found, ratio, is_found):
    leap = np.arange(STEPS) >= 30
    series = {
        "learning_rate": np.where(leap, 0.1, 0.01),
        "update_ratio": {"0.weight": np.where(leap, ratio, 1e-5)},
    }
    loss = np.where(leap, 3.0, 1.0)
    finding = found("learning_rate_too_high", {"criterion_loss": np.r_[2.3, loss[1:]], **series})
    assert (finding is not None and finding.evidence.series == "learning_rate") == is_found


@pytest.mark.parametrize(
    ("rate", "is_found"),
    [
        (np.r_[np.full(30, 0.01), np.full(30, 0.1)], True),
        (np.r_[0.1, np.full(29, 0.01), np.full(30, 0.1)], False),
    ],
    ids=["beyond_all_before", "back_to_where_it_began"],
)
def test_a_rate_beyond_all_before_is_worth_a_warning_where_the_training_falls_short(found, rate, is_found):
    series = {"learning_rate": rate, "update_ratio": {"0.weight": SAME * 0.05}}
    finding = found("learning_rate_too_high", {"criterion_loss": HALF, **of_classes(10), **series})
    assert ((finding.severity, finding.onset_step) if finding else None) == (
        ("warning", 30) if is_found else None
    )


@pytest.mark.parametrize(("period", "is_found"), [(12, True), (2, True), (1, False)])
def test_a_sum_that_is_begun_anew_now_and_then_is_told_by_its_teeth(found, period, is_found):
    noise = np.random.default_rng(0).uniform(0.9, 1.1, STEPS)
    norm = (1 + np.arange(STEPS) % period) * noise
    finding = found("missing_zero_grad", {"criterion_loss": np.full(STEPS, 2.3), "gradient_norm": norm})
    assert (finding.severity if finding else None) == ("fault" if is_found else None)


ODD = np.arange(STEPS) % 2
NOISE = np.random.default_rng(1).uniform(0.8, 1.2, STEPS)


@pytest.mark.parametrize(
    ("norm", "loss", "is_found"),
    [
        ((1 + 0.6 * ODD) * NOISE, 2.3 * NOISE[::-1], True),
        (np.where(np.arange(STEPS) == 11, np.nan, (1 + 0.6 * ODD) * NOISE), 2.3 * NOISE[::-1], True),
        ((1 + 0.6 * ODD) * NOISE, 2.3 * (1 + 0.6 * ODD), False),
        ((1 + 9.0 * ODD) * NOISE, 2.3 * NOISE[::-1], False),
        (NOISE, 2.3 * NOISE[::-1], False),
    ],
    ids=["sums_of_two", "one_without_a_number", "two_batches_in_turn", "ten_times", "batches"],
)
def test_a_sum_of_two_is_larger_at_every_other_step(found, norm, loss, is_found):
    finding = found("missing_zero_grad", {"criterion_loss": loss, "gradient_norm": norm})
    assert (finding is not None and "every other step" in finding.evidence.text) == is_found


SWING = 3 + np.sin(np.arange(STEPS) / 4)


@pytest.mark.parametrize(
    ("norm", "loss", "is_found"),
    [(SWING, 2.3 * NOISE, True), (SWING, SWING, False), (NOISE, 2.3 * NOISE, False)],
    ids=["sum", "whole_set_at_each_step", "batches"],
)
def test_a_sum_keeps_its_way_where_the_loss_goes_up_and_down(found, norm, loss, is_found):
    finding = found("missing_zero_grad", {"criterion_loss": loss, "gradient_norm": norm})
    assert (finding.severity if finding else None) == ("fault" if is_found else None)


def chain(*widths):
    """Linear layers from one width to the next."""
    pairs = list(pairwise(widths))
    return Model(
        tuple(
            Layer(f"{index}", "Linear", (end,), (f"{index}.weight",)) for index, (_, end) in enumerate(pairs)
        ),
        tuple(
            Parameter(f"{index}.weight", f"{index}", (end, start)) for index, (start, end) in enumerate(pairs)
        ),
    )


@pytest.mark.parametrize(
    ("widths", "layer"),
    [((64, 48, 2, 48, 10), "1"), ((64, 2, 48, 10), "0"), ((64, 48, 24, 10), None), ((64, 64, 10), None)],
    ids=["in_the_middle", "first", "funnel", "wide"],
)
def test_what_underfits_through_a_bottleneck_is_told_where(found, widths, layer):
    scalars = {step: {"val_loss": 0.8 * GUESS} for step in range(4, STEPS, 5)}
    series = {"criterion_loss": falling(start=GUESS, end=0.8 * GUESS), **of_classes(10)}
    assert found("underfitting", series, scalars=scalars, model=chain(*widths)).layer == layer


@pytest.mark.parametrize(
    ("widths", "end", "severity"),
    [((64, 48, 2, 48, 10), 0.3, "warning"), ((64, 48, 2, 48, 10), 0.05, None), ((64, 48, 48, 10), 0.3, None)],
    ids=["narrow_and_short", "narrow_and_good", "wide"],
)
def test_what_has_to_pass_a_bottleneck_falls_short_sooner(found, widths, end, severity):
    scalars = {step: {"val_loss": end * GUESS} for step in range(4, STEPS, 5)}
    series = {"criterion_loss": falling(start=GUESS, end=end * GUESS), **of_classes(10)}
    finding = found("underfitting", series, scalars=scalars, model=chain(*widths))
    assert (finding.severity if finding else None) == severity


def test_since_when_a_loss_is_lost_again(log_of):
    outcome = Outcome.of(log_of({"criterion_loss": np.r_[falling(30), np.full(STEPS - 30, 2.0)]}))
    assert outcome is not None
    assert outcome.risen_since() in range(30, 35)
    assert outcome.best < 35
    assert outcome.around(0) == pytest.approx(2.3)
