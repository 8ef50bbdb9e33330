"""Rules about labels and their order, on logs whose answer is known."""

import numpy as np
import pytest

from diag.diagnosis.classes import most_even
from diag.events import Layer, Model
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes, summary

GUESS = np.log(10)
DROPPED = Model((*NETWORK.layers[:2], Layer("drop", "Dropout", (8,)), NETWORK.layers[2]), NETWORK.parameters)


def ends(training, validation, at_best=None):
    """Losses that end at shares of a guess's."""
    losses = np.linspace(GUESS, validation * GUESS, 6)
    losses[2] = (validation if at_best is None else at_best) * GUESS
    return {
        "series": {"criterion_loss": falling(start=GUESS, end=training * GUESS), **of_classes(10)},
        "scalars": {step: {"val_loss": loss} for step, loss in zip(range(9, STEPS, 10), losses, strict=True)},
    }


@pytest.mark.parametrize(
    ("training", "validation", "is_found"),
    [
        (0.85, 1.0, True),
        (0.94, 0.96, True),
        (0.7, 0.92, True),
        (0.99, 1.0, False),
        (0.7, 0.85, False),
        (0.6, 0.2, True),
        (0.3, 0.25, False),
        (0.1, 0.4, False),
    ],
    ids=[
        "passes_nothing_on",
        "passes_less_on_than_little",
        "passes_hardly_anything_on",
        "learns_nothing",
        "passes_some_on",
        "harder_than_validation",
        "as_hard",
        "easier",
    ],
)
def test_labels_are_doubted_where_training_and_validation_differ_the_wrong_way(
    found, training, validation, is_found
):
    assert (found("label_corruption", **ends(training, validation)) is not None) == is_found


# One example of two hundred and fifty more or less is 0.004.
RISES_AND_FALLS = [0.4, 0.7, 0.8, 0.804, 0.8, 0.75, 0.7, 0.6, 0.6, 0.6]


@pytest.mark.parametrize(
    ("accuracies", "end", "is_found"),
    [
        (RISES_AND_FALLS, 0.1, True),
        (RISES_AND_FALLS, 2.0, False),
        ([0.4, 0.7, 0.8, 0.8, 0.8, 0.79, 0.78, 0.77, 0.78, 0.77], 0.1, False),
        ([0.4, 0.7, 0.704, 0.9, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7], 0.1, False),
    ],
    ids=["unlearned", "lost_with_the_training_loss", "kept", "one_lucky_reading"],
)
def test_an_accuracy_that_learning_by_heart_takes_away_tells_of_wrong_labels(
    found, accuracies, end, is_found
):
    scalars = {
        step: {"val_loss": 0.6 * GUESS, "val_accuracy": accuracy}
        for step, accuracy in zip(range(5, STEPS, 6), accuracies, strict=True)
    }
    loss = np.r_[falling(30, start=GUESS, end=1.0), np.geomspace(1.0, end, STEPS - 30)]
    finding = found("label_corruption", {"criterion_loss": loss, **of_classes(10)}, scalars=scalars)
    assert (finding is not None and finding.evidence.series == "val_accuracy") == is_found


def test_dropout_makes_training_the_harder_of_the_two(found):
    case = ends(0.6, 0.2)
    sizes = {"0": 1.0, "1": 1.0, "drop": np.sqrt(2), "2": 1.0}
    case["series"]["activation_rms"] = {name: np.full(STEPS, size) for name, size in sizes.items()}
    case["series"]["activation_mean"] = {name: np.full(STEPS, 0.3) for name in sizes}
    assert found("label_corruption", **case, model=DROPPED) is None


def drifting(step, spread):
    """Targets whose mean runs through the classes, with a spread within each batch."""
    mean = 4.5 + 4 * np.sin(step * np.arange(STEPS))
    return summary("target", mean=mean, std=spread, min=0.0, max=9.0)


@pytest.mark.parametrize(
    ("step", "spread", "is_found"),
    [(0.2, 0.3, True), (0.2, 9.0, False), (2.6, 0.3, False)],
    ids=["class_by_class", "hardly_apart", "to_and_fro"],
)
def test_batches_that_are_alike_within_and_drift_are_not_shuffled(found, step, spread, is_found):
    finding = found("unshuffled_data", {"criterion_loss": falling(), **drifting(step, spread)})
    assert (finding is not None) == is_found


def test_targets_that_are_all_one_number_have_no_order(found):
    targets = summary("target", mean=1.0, std=0.0, min=1.0, max=1.0)
    assert found("unshuffled_data", {"criterion_loss": falling(), **targets}) is None


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [1.0, 0.0, 0.0]])
def test_two_moments_fix_three_classes(shares):
    classes = np.arange(3)
    found = most_even(3, float(shares @ classes), float(shares @ classes**2))
    np.testing.assert_allclose(found, shares, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 5, 20])
def test_the_most_even_shares_have_the_moments_that_were_asked_for(classes):
    rng = np.random.default_rng(0)
    labels, shares = np.arange(classes), rng.dirichlet(np.ones(classes))
    found = most_even(classes, float(shares @ labels), float(shares @ labels**2))
    assert found @ labels == pytest.approx(shares @ labels, abs=1e-3)
    assert found @ labels**2 == pytest.approx(shares @ labels**2, abs=1e-2)
    entropy = [-np.sum(each * np.log(np.maximum(each, 1e-12))) for each in (found, shares)]
    assert entropy[0] >= entropy[1] - 1e-6
