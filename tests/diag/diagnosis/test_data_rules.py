"""Rules about inputs and targets, on logs whose answer is known."""

import numpy as np
import pytest

import diag
from diag.events import Criterion, Layer, Model, Parameter
from tests.diag.diagnosis.conftest import STEPS, falling, of_classes, summary

STUCK = {"criterion_loss": np.full(STEPS, 2.3)}
LEARNS = {"criterion_loss": falling()}
ONE_OUTPUT = Model((Layer("0", "Linear", (1,), ("0.weight",)),), (Parameter("0.weight", "0", (1, 4)),))
EMBEDDED = Model((Layer("0", "Embedding", (8,)), Layer("1", "Linear", (10,))))


@pytest.mark.parametrize(
    ("mean", "std", "loss", "severity"),
    [
        (0, 1, STUCK, None),
        (0, 300, STUCK, "warning"),
        (50, 1, STUCK, "warning"),
        (0, 1e-3, STUCK, "warning"),
        (0, 300, LEARNS, "note"),
    ],
    ids=["standardised", "wide", "far_off", "narrow", "wide_but_learned"],
)
def test_inputs_of_another_size_matter_where_nothing_is_learned(found, mean, std, loss, severity):
    finding = found("unscaled_input", {**loss, **summary("input", mean=mean, std=std)})
    assert (finding.severity if finding else None) == severity
    if finding:
        assert finding.evidence.value == pytest.approx(np.hypot(mean, std))


def test_indices_into_an_embedding_have_no_scale(found):
    series = {**STUCK, **summary("input", mean=5000.0, std=2000.0)}
    assert found("unscaled_input", series, model=EMBEDDED) is None


def test_an_input_that_is_one_number_from_a_step_on_is_told_from_there(found):
    std = np.where(np.arange(STEPS) < 20, 1.0, 0.0)
    series = {**STUCK, "input_std": std, "input_mean": np.full(STEPS, 0.5)}
    finding = found("constant_input", series)
    assert (finding.severity, finding.onset_step, finding.evidence.last_healthy_step) == ("fault", 20, 19)
    assert found("constant_input", {**series, **LEARNS}) is None


@pytest.mark.parametrize(
    ("final", "severity"), [(9e4, "warning"), (8e3, "note")], ids=["no_better_than_the_mean", "explained"]
)
def test_targets_of_another_size_matter_where_they_are_not_reached(found, final, severity):
    # The squared distance of predictions about 0 from targets of 100 ± 300.
    series = {
        "criterion_loss": np.geomspace(1e4 + 9e4 + 1, final, STEPS),
        **summary("target", mean=100.0, std=300.0, min=-600.5, max=900.5),
        **summary("prediction", mean=0.0, std=1.0, min=-2.0, max=2.0),
    }
    finding = found("unscaled_target", series, model=ONE_OUTPUT)
    assert finding.severity == severity
    assert finding.evidence.value == pytest.approx(np.hypot(100, 300))


def test_class_indices_are_no_targets_to_scale(found):
    series = {**STUCK, **of_classes(10), **summary("prediction", std=1.0, mean=0.0, min=-1.0, max=1.0)}
    assert found("unscaled_target", series) is None


def two_classes(share, largest):
    spread = np.sqrt(share * (1 - share))
    return {
        **LEARNS,
        **summary("target", mean=share, std=spread, min=0.0, max=1.0),
        **summary("prediction", mean=-3.0, std=0.5, min=-5.0, max=largest),
    }


@pytest.mark.parametrize(
    ("share", "largest", "severity"),
    [(0.05, -1.0, "warning"), (0.05, 2.0, "note"), (0.4, -1.0, None)],
    ids=["never_predicted", "predicted", "balanced"],
)
def test_a_rare_class_matters_where_it_is_never_predicted(found, share, largest, severity):
    finding = found("class_imbalance", two_classes(share, largest), model=ONE_OUTPUT)
    assert (finding.severity if finding else None) == severity
    if finding:
        assert finding.evidence.value == pytest.approx(19)


def test_of_numbers_no_imbalance_is_assessed(log_of):
    targets = summary("target", mean=0.3, std=1.0, min=-2.0, max=2.0)
    series = {**LEARNS, **targets, **summary("prediction", max=1.0, min=-1.0)}
    assert "no class counts" in diag.diagnose(log_of(series)).not_assessed["class_imbalance"]


@pytest.mark.parametrize(
    ("shares", "severity"),
    [
        ([0.1] * 10, None),
        ([0.91, *[0.01] * 9], "warning"),
        ([0.2, 0.15, *[0.08125] * 8], None),
        ([0.53, *[0.47 / 9] * 9], "warning"),
    ],
    ids=["even", "one_of_all", "two_of_ten", "ten_to_one"],
)
def test_the_moments_of_the_targets_tell_of_one_class_that_has_nearly_all(found, shares, severity):
    classes = np.arange(10)
    mean = shares @ classes
    targets = summary("target", mean=mean, std=np.sqrt(shares @ classes**2 - mean**2), min=0.0, max=9.0)
    predictions = summary("prediction", max=1.0, min=-1.0)
    finding = found("class_imbalance", {**STUCK, **targets, **predictions})
    assert (finding.severity if finding else None) == severity


FIVE = Model(
    (Layer("0", "Linear", (5,), ("0.weight",)),), criteria=(Criterion("", "CrossEntropyLoss", "mean"),)
)


@pytest.mark.parametrize(
    ("last", "end", "severity"),
    [(3.0, 1.0, "warning"), (3.0, 0.05, "note"), (4.0, 1.0, None)],
    ids=["missing_and_short", "missing", "all_there"],
)
def test_a_class_of_which_no_batch_has_an_example_is_named(found, last, end, severity):
    series = {
        "criterion_loss": falling(start=1.6, end=end),
        **summary("target", mean=2.0, std=1.4, min=0.0, max=last),
    }
    finding = found("class_imbalance", series, model=FIVE)
    assert (finding.severity if finding else None) == severity
    if finding:
        assert (finding.evidence.value, finding.evidence.series) == (4.0, "target_max")


def batches(period, *, of_one_and_zero=False, size=32.0):
    """Summaries of batches that come again after so many steps."""
    rng = np.random.default_rng(0)
    turns = np.arange(STEPS) % period
    mean, most, target = (
        rng.normal(0, 0.1, STEPS)[turns],
        rng.normal(3, 0.2, STEPS)[turns],
        rng.normal(4.5, 0.3, STEPS)[turns],
    )
    moments = {"mean": mean, "std": 1.0, "min": -most, "max": most}
    if of_one_and_zero:
        moments = {"mean": 0.5, "std": 0.5, "min": 0.0, "max": 1.0}
    targets = {**of_classes(10), "target_mean": np.full(STEPS, 4.5) if of_one_and_zero else target}
    return {**summary("input", **moments), **targets, "batch_size": np.full(STEPS, size)}


def ending(training, validation):
    """Losses that end at shares of a guess's."""
    guess = np.log(10)
    return {
        "series": {"criterion_loss": falling(start=guess, end=training * guess)},
        "scalars": {step: {"val_loss": validation * guess} for step in range(9, STEPS, 10)},
    }


@pytest.mark.parametrize(
    ("period", "training", "validation", "severity"),
    [
        (3, 0.01, 0.5, "warning"),
        (1, 0.01, 0.5, "warning"),
        (3, 0.3, 0.35, "note"),
        (STEPS, 0.01, 0.5, None),
        (STEPS // 2, 0.01, 0.5, None),
    ],
    ids=["three_batches", "one_batch", "harmless", "always_new", "not_often_enough"],
)
def test_batches_that_come_again_matter_where_they_are_known_by_heart(
    found, period, training, validation, severity
):
    case = ending(training, validation)
    case["series"] |= batches(period)
    finding = found("repeated_batches", **case)
    assert (finding.severity if finding else None) == severity
    if finding:
        assert (finding.evidence.value, finding.onset_step) == (period, 0)


def test_steps_on_a_large_set_as_a_whole_may_be_meant(found):
    case = ending(0.01, 0.5)
    case["series"] |= batches(1, size=500.0)
    assert found("repeated_batches", **case).severity == "note"


def test_batches_whose_examples_were_only_put_in_another_order_are_the_same_but_for_rounding(found):
    case = ending(0.01, 0.5)
    case["series"] |= batches(1)
    case["series"]["input_mean"] = np.random.default_rng(1).normal(0, 1e-8, STEPS)
    assert found("repeated_batches", **case).evidence.value == 1


def test_of_ones_among_zeros_every_batch_may_have_as_many(found):
    case = ending(0.01, 0.5)
    case["series"] |= batches(1, of_one_and_zero=True)
    assert found("repeated_batches", **case) is None


@pytest.mark.parametrize(
    ("accuracy", "loss", "is_found"),
    [(0.1, LEARNS, True), (0.5, LEARNS, False), (0.1, STUCK, False)],
    ids=["memorises", "generalises", "learns_nothing"],
)
def test_labels_are_doubted_where_only_the_training_set_is_learned(found, accuracy, loss, is_found):
    scalars = {step: {"val_accuracy": accuracy} for step in range(9, STEPS, 10)}
    finding = found("label_corruption", {**loss, **of_classes(10)}, scalars=scalars)
    assert (finding is not None) == is_found


def test_targets_that_are_all_one_number_are_no_loss_to_measure_by(log_of):
    model = Model(ONE_OUTPUT.layers, ONE_OUTPUT.parameters, criteria=(Criterion("", "MSELoss", "mean"),))
    series = {
        "criterion_loss": falling(),
        **summary("target", mean=0.0, std=0.0, min=0.0, max=0.0),
        **summary("input", mean=0.5, std=1.0, min=-1.0, max=1.0),
    }
    scalars = {step: {"val_loss": 0.5, "val_accuracy": 0.5} for step in range(4, STEPS, 5)}
    findings = diag.diagnose(log_of(series, model=model, scalars=scalars)).findings
    assert "label_corruption" not in {finding.rule for finding in findings}
