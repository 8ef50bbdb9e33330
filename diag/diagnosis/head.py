"""What comes out, and whether it is what the loss expects."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import class_count, column, does_well, head_of, is_impaired, is_short, severity_of
from diag.log import Log

INFINITE = math.inf
# What the output of a layer of this kind cannot leave.
RANGES: Mapping[str, tuple[float, float]] = {
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "ReLU": (0.0, INFINITE),
    "ReLU6": (0.0, 6.0),
    "Softplus": (0.0, INFINITE),
}
BOUNDED = ("Sigmoid", "Hardsigmoid")
SQUARES = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
PREDICTIONS = ("prediction_min", "prediction_max", "prediction_mean", "prediction_std")


@rule("prediction_std", "target_std", LOSSES)
def constant_output(log: Log, *, least_spread: float) -> Iterator[Finding]:
    """Predictions that are all alike, while the targets are not."""
    series = log.series("prediction_std")
    spread, wanted = series.values[:, 0], column(log, "target_std")
    # Scores of classes and targets have no common scale; numbers of a regression do.
    scale = wanted if class_count(log) is None else np.ones_like(wanted)
    onset = begins_to_last((spread <= least_spread * scale) & (wanted > 0), least=5)
    if onset is None:
        return
    step = int(series.steps[onset])
    yield Finding(
        rule="constant_output",
        severity=severity_of(log, step),
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series="prediction_std",
            value=float(np.median(spread[onset:])),
            band=f"above {least_spread:g} of the targets' spread",
            readings=len(spread) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=(
                f"Since step {step} all predictions lie at {column(log, 'prediction_mean')[-1]:.4g}, with a standard "
                f"deviation of {np.median(spread[onset:]):.2g}; that of the targets is {np.median(wanted):.3g}."
            ),
        ),
        why="Whatever comes in, the same goes out: the signal is lost on the way, or the last layer lets none out.",
        fix="Look for the first layer whose output does not vary: dead units, zero weights, a softmax over one unit.",
        confidence=0.7,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: data dependency",),
    )


@rule("prediction_example_std", "prediction_std", LOSSES)
def input_ignored(log: Log, *, least_share: float) -> Iterator[Finding]:
    """Predictions that are the same for every example of a batch."""
    series = log.series("prediction_example_std").known()
    spread = log.series("prediction_std").at(series.steps)[:, 0]
    share = series.values[:, 0] / np.maximum(spread, 1e-30)
    onset = begins_to_last(share < least_share)
    if onset is None or not is_impaired(log, int(series.steps[onset])):
        return
    step = int(series.steps[onset])
    yield Finding(
        rule="input_ignored",
        severity="fault",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series=series.name,
            value=float(np.median(share[onset:])),
            band=f"at least {least_share:g} of the spread of all predictions",
            readings=len(share) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=f"Since step {step} every example of a batch gets the same prediction.",
        ),
        why="The network has learned how frequent the answers are, and nothing of the inputs.",
        fix="Follow the input through the layers: where its variation ends is the dead layer or the wrong wiring.",
        confidence=0.75,
        references=("Karpathy, A Recipe for Training Neural Networks, 2019: input-independent baseline",),
    )


@rule("prediction_max", "target_max", LOSSES)
def head_loss_mismatch(log: Log, *, margin: float) -> Iterator[Finding]:
    """A head that cannot say what the loss asks for: targets out of its range, or no probabilities."""
    head = head_of(log)
    if head is None:
        return
    found = _one_unit(log) or _negative_loss(log) or _out_of_range(log, margin) or _distance_of_classes(log)
    if found is None:
        return
    series, value, band, readings, text, fix = found
    yield Finding(
        rule="head_loss_mismatch",
        severity="fault" if is_impaired(log) or series == "criterion_loss" else "warning",
        layer=head.name,
        onset_step=int(log.series(series).steps[0]),
        evidence=Evidence(series, value, band, readings, None, text),
        why="What the last layer can say and what the loss asks for do not meet: the best to be learned is wrong.",
        fix=fix,
        confidence=0.85,
        references=("Wardat et al., DeepDiagnosis, ICSE 2022: range of the output layer",),
    )


Mismatch = tuple[str, float, str, int, str, str]


def _one_unit(log: Log) -> Mismatch | None:
    """A softmax over a single unit, which is 1 whatever comes in."""
    head = head_of(log)
    least, most = column(log, "prediction_min"), column(log, "prediction_max")
    is_one = np.all(np.abs(least - 1) < 1e-6) and np.all(np.abs(most - 1) < 1e-6)
    if head is None or head.kind != "Softmax" or not is_one:
        return None
    text = "The softmax runs over a single unit, so every prediction is 1."
    return (
        "prediction_min",
        1.0,
        "below 1",
        len(least),
        text,
        "Use a sigmoid for one output, or one unit for each class.",
    )


def _negative_loss(log: Log) -> Mismatch | None:
    """Class indices and a loss below zero: what goes in is no logarithm of a probability."""
    outcome = Outcome.of(log)
    if outcome is None or class_count(log) is None or outcome.name != "criterion_loss":
        return None
    below = outcome.loss < -1e-6
    if np.count_nonzero(below) < 3:
        return None
    value = float(np.min(outcome.loss))
    text = f"The loss of the classes goes down to {value:.4g}; a negative log-likelihood cannot be below 0."
    fix = "Give NLLLoss the output of a log-softmax, or use CrossEntropyLoss on the scores themselves."
    return outcome.name, value, "at least 0", int(np.count_nonzero(below)), text, fix


def _out_of_range(log: Log, margin: float) -> Mismatch | None:
    """Targets that the last nonlinearity cannot reach."""
    head = head_of(log)
    if (
        head is None
        or head.kind not in RANGES
        or class_count(log) is not None
        or not _speaks_last(log, head.kind)
    ):
        return None
    low, high = RANGES[head.kind]
    width = high - low if math.isfinite(high) else float(np.median(column(log, "target_std")))
    beyond = np.maximum(column(log, "target_max") - high, low - column(log, "target_min"))
    outside = beyond > margin * width
    if np.count_nonzero(outside) <= len(outside) / 2:
        return None
    where = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
    reach = f"{np.min(column(log, 'target_min')):.3g} to {np.max(column(log, 'target_max')):.3g}"
    text = f"Targets go from {reach}, but the last layer, a {head.kind}, gives numbers {where}."
    fix = "Leave the last nonlinearity out for a regression, or bring the targets into its range."
    return "target_max", float(np.max(beyond)), where, int(np.count_nonzero(outside)), text, fix


def _distance_of_classes(log: Log) -> Mismatch | None:
    """A distance as the loss of classes that are written as ones among zeros, in a training that leaves much to do."""
    head = head_of(log)
    if (
        head is None
        or not any(criterion.kind in SQUARES for criterion in log.model.criteria)
        or not is_short(log)
    ):
        return None
    outputs, mean = math.prod(head.output_shape), column(log, "target_mean")
    least, most = column(log, "target_min"), column(log, "target_max")
    is_one_of_many = outputs > 2 and np.all(least == 0) and np.all(most == 1)
    if not is_one_of_many or not np.allclose(mean, 1 / outputs, atol=1e-3 / outputs):
        return None
    kind = log.model.criteria[0].kind
    text = (
        f"Each target is a one among {outputs - 1} zeros, a class, and the loss, {kind}, measures a distance."
    )
    fix = "Use CrossEntropyLoss, on the scores themselves and on class indices."
    return "target_mean", float(np.median(mean)), "numbers that are not classes", len(mean), text, fix


def _speaks_last(log: Log, kind: str) -> bool:
    """Whether the predictions keep to the range of that kind, as its output would."""
    low, high = RANGES[kind]
    return bool(
        np.nanmin(column(log, "prediction_min")) >= low - 1e-6
        and np.nanmax(column(log, "prediction_max")) <= high + 1e-6
    )


@rule(*PREDICTIONS, "target_max", "target_mean", "criterion_loss")
def redundant_softmax(log: Log, *, tolerance: float) -> Iterator[Finding]:
    """Probabilities given to a loss that makes probabilities of scores by itself."""
    bounds = _bounds(log)
    outcome = Outcome.of(log)
    if bounds is None or outcome is None or len(outcome.loss) < 5:
        return
    floor, ceiling, what = bounds
    if not np.all((outcome.loss >= floor - tolerance) & (outcome.loss <= ceiling + tolerance)):
        return
    head = head_of(log)
    yield Finding(
        rule="redundant_softmax",
        severity="warning",
        layer=head.name if head else None,
        onset_step=int(outcome.steps[0]),
        evidence=Evidence(
            series="criterion_loss",
            value=float(np.min(outcome.loss)),
            band=f"below {float(np.median(floor)):.4g}, as scores without bounds allow",
            readings=len(outcome.loss),
            last_healthy_step=None,
            text=(
                f"Predictions are {what}, and the loss never leaves the range from {float(np.median(floor)):.4g} "
                f"to {float(np.median(ceiling)):.4g} that the criterion has for probabilities taken as scores."
            ),
        ),
        why="The loss takes the probabilities for scores from 0 to 1: it cannot go to zero, and gradients are faint.",
        fix="Give the criterion the scores themselves: leave out the last softmax or sigmoid in training.",
        confidence=0.85,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: redundant softmax",),
    )


def _asks_for_scores(log: Log) -> bool:
    """Whether the criterion is one that makes probabilities of scores by itself."""
    return any(criterion.kind == "CrossEntropyLoss" for criterion in log.model.criteria)


Bounds = tuple[np.ndarray, np.ndarray, str]


def _bounds(log: Log) -> Bounds | None:
    """Least and largest loss at each reading of a criterion that wants scores and is given probabilities."""
    least, most, mean, std = (column(log, name) for name in PREDICTIONS)
    if np.min(least) < 0 or np.max(most) > 1 + 1e-6:
        return None
    classes = class_count(log)
    head = head_of(log)
    if classes is not None and _asks_for_scores(log) and head is not None and head.kind in BOUNDED:
        # The right class at 1 and all others at 0, and the other way round.
        floor, ceiling = math.log(1 + (classes - 1) / math.e), math.log(1 + (classes - 1) * math.e)
        return np.full_like(mean, floor), np.full_like(mean, ceiling), "numbers from 0 to 1"
    if classes is not None and np.allclose(mean, 1 / classes, atol=1e-3 / classes):
        # The right class at 1 and all others at 0, and the wrong one at 1.
        floor, ceiling = math.log(1 + (classes - 1) / math.e), math.log(math.e + classes - 1)
        return np.full_like(mean, floor), np.full_like(mean, ceiling), "probabilities that sum to 1"
    if head is None or head.kind != "Sigmoid" or np.max(column(log, "target_max")) > 1:
        return None
    # Predictions as far apart as these would give a smaller loss if they were taken for what they are.
    if classes is not None or float(np.median(std[-5:])) < 0.4:
        return None
    share = column(log, "target_mean")
    floor_of_each = share * math.log1p(math.exp(-1)) + (1 - share) * math.log(2)
    return floor_of_each, share * math.log(2) + (1 - share) * math.log1p(math.e), "probabilities of a sigmoid"


@rule("prediction_max", "prediction_min", LOSSES)
def logit_drift(log: Log, *, largest_score: float) -> Iterator[Finding]:
    """Scores of a classifier that grow without end."""
    if class_count(log) is None:
        return
    series = log.series("prediction_max").known()
    least = log.series("prediction_min").at(series.steps)[:, 0]
    size = np.maximum(np.abs(series.values[:, 0]), np.abs(least))
    onset = begins_to_last(~(size <= largest_score), least=5)
    if onset is None or onset == 0:
        return
    step = int(series.steps[onset])
    outcome = Outcome.of(log)
    is_hurt = outcome is not None and outcome.is_hurt_after(step)
    yield Finding(
        rule="logit_drift",
        severity="warning" if is_hurt and not does_well(log) else "note",
        layer=None,
        onset_step=step,
        evidence=Evidence(
            series="prediction_max",
            value=float(np.nanmax(size)),
            band=f"at most {largest_score:g} in size",
            readings=len(size) - onset,
            last_healthy_step=last_healthy(series.steps, onset),
            text=f"Since step {step} the largest score is beyond {largest_score:g}; it reaches {np.nanmax(size):.3g}.",
        ),
        why="Scores that far apart leave no gradient where they are right and a huge one where they are wrong.",
        fix="Add a penalty on the log of the softmax's sum (z-loss) or weight decay on the last layer.",
        confidence=0.6,
        references=(
            "Wortsman et al., Small-scale proxies for large-scale Transformer training instabilities, 2023",
        ),
    )
