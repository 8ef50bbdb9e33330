"""How many examples each class has, as far as the targets' moments tell."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import begins_to_last, lasting
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import class_count, column, head_of, is_binary, is_short
from diag.log import Log

# Of more classes two moments tell next to nothing.
MOST_CLASSES = 20
LEAST_BATCHES = 20


@rule(("class_count_ratio", "target_mean"), LOSSES)
def class_imbalance(log: Log, *, largest_ratio: float, most_missed: float) -> Iterator[Finding]:
    """Classes far rarer than others, or never there, and a training that suffers from it."""
    classes = class_count(log)
    of_few = classes if classes is not None and classes <= MOST_CLASSES and "target_std" in log else None
    never = of_few and _never_there(log, of_few)
    if never:
        yield never
    elif "class_count_ratio" in log:
        yield from _counted(log, largest_ratio, most_missed)
    elif is_binary(log) and "prediction_max" in log:
        yield from _of_two(log, largest_ratio)
    elif of_few:
        yield from _of_many(log, of_few, largest_ratio)
    else:
        raise NotAssessableError("the log has no class counts, and targets whose moments do not tell them")


def _never_there(log: Log, classes: int) -> Finding | None:
    """The first or the last of the classes, if no recorded batch has an example of it."""
    least, most = column(log, "target_min"), column(log, "target_max")
    known = np.concatenate([least, most])
    known = known[np.isfinite(known)]
    if not known.size or len(most) < LEAST_BATCHES:
        return None
    end = int(known.max()) + 1
    absent = [*range(int(known.min())), *range(end, classes)]
    if not absent:
        return None
    return Finding(
        rule="class_imbalance",
        severity="warning" if is_short(log) else "note",
        layer=None,
        onset_step=int(log.series("target_max").steps[0]),
        evidence=Evidence(
            series="target_max" if end < classes else "target_min",
            value=float(absent[-1]),
            band=f"classes from 0 to {classes - 1}",
            readings=len(most),
            last_healthy_step=None,
            text=(
                f"The network has {classes} outputs, and no recorded batch has an example of class "
                f"{', '.join(map(str, absent))}."
            ),
        ),
        why="A class of which there are no examples is never named, and its own are taken for another's.",
        fix="See what became of the class: a filter, a mapping of labels that merges two, or an output too many.",
        confidence=0.8,
    )


def _counted(log: Log, largest_ratio: float, most_missed: float) -> Iterator[Finding]:
    """By the probe batch, which counts classes and looks for the rarest."""
    missed = log.series("rarest_class_error_rate").known()
    ratio = float(np.nanmax(column(log, "class_count_ratio")))
    if ratio <= largest_ratio:
        return
    rate = missed.values[:, 0]
    # That it is missed at first is the rule; that it still is when half of the run is over is not.
    spell = lasting(rate > most_missed, missed.steps)
    is_neglected = spell is not None and spell.start <= len(rate) / 2
    yield Finding(
        rule="class_imbalance",
        severity="warning" if is_neglected or is_short(log) else "note",
        layer=None,
        onset_step=spell.step if spell else int(log.steps[0]),
        evidence=Evidence(
            series="rarest_class_error_rate" if is_neglected else "class_count_ratio",
            value=float(rate[-1]) if is_neglected else ratio,
            band=f"at most {largest_ratio:g} to 1, or at most {most_missed:.0%} of the rarest class missed",
            readings=spell.readings if spell else max(len(rate), 1),
            last_healthy_step=spell.last_healthy_step if spell else None,
            text=(
                f"In the probe batch the most frequent class stands {ratio:.3g} to 1 against the rarest"
                + (f", of whose examples {rate[-1]:.0%} are missed in the end." if len(rate) else ".")
            ),
        ),
        **_IMBALANCE,
    )


def _of_two(log: Log, largest_ratio: float) -> Iterator[Finding]:
    share = float(np.nanmean(column(log, "target_mean")))
    ratio = max(share, 1 - share) / min(share, 1 - share)
    if ratio <= largest_ratio:
        return
    onset = begins_to_last(_always_the_same(log, rare_is_one=share < 0.5), least=5)
    is_neglected = onset is not None and onset <= len(column(log, "target_mean")) / 2
    yield Finding(
        rule="class_imbalance",
        severity="warning" if is_neglected or is_short(log) else "note",
        layer=None,
        onset_step=int(log.series("target_mean").steps[onset or 0]),
        evidence=Evidence(
            series="target_mean",
            value=ratio,
            band=f"at most {largest_ratio:g} to 1",
            readings=len(column(log, "target_mean")),
            last_healthy_step=None,
            text=(
                f"The classes stand {ratio:.3g} to 1 over all recorded batches"
                + (", and the rare one is predicted for no example any more." if is_neglected else ".")
            ),
        ),
        **_IMBALANCE,
    )


_IMBALANCE: Any = {
    "why": "Always naming the frequent class is nearly as good a guess as learning the difference.",
    "fix": "Weight the loss by inverse frequency or draw batches evenly, and set the last bias to the log odds.",
    "confidence": 0.8,
    "references": ("Thresholds: Amazon SageMaker Debugger, ClassImbalance",),
}


def _always_the_same(log: Log, rare_is_one: bool) -> np.ndarray:
    """Readings at which no prediction lies on the rare class's side."""
    head = head_of(log)
    middle = 0.5 if head is not None and head.kind in ("Sigmoid", "Hardsigmoid") else 0.0
    if rare_is_one:
        return np.asarray(column(log, "prediction_max") < middle)
    return np.asarray(column(log, "prediction_min") > middle)


def _of_many(log: Log, classes: int, largest_ratio: float) -> Iterator[Finding]:
    """By the most even shares that have the targets' moments."""
    mean, std = column(log, "target_mean"), column(log, "target_std")
    shares = most_even(classes, float(np.nanmean(mean)), float(np.nanmean(mean**2 + std**2)))
    ratio = float(shares.max() / max(shares.min(), 1e-12))
    if ratio <= largest_ratio:
        return
    yield Finding(
        rule="class_imbalance",
        severity="warning" if is_short(log) else "note",
        layer=None,
        onset_step=int(log.series("target_mean").steps[0]),
        evidence=Evidence(
            series="target_std",
            value=ratio,
            band=f"at most {largest_ratio:g} to 1",
            readings=len(mean),
            last_healthy_step=None,
            text=(
                f"By mean and spread of the targets, as evenly as they allow, the classes stand {ratio:.3g} to 1: "
                f"class {int(np.argmax(shares))} has about {shares.max():.0%} of the examples, "
                f"class {int(np.argmin(shares))} about {shares.min():.2g} of all."
            ),
        ),
        **_IMBALANCE,
    )


def most_even(classes: int, mean: float, square: float) -> NDArray[np.float64]:
    """Of all shares of classes 0, 1, … with these two moments the most even: those of the largest entropy.

    They are proportional to exp(a k + b k²); a and b are found by Newton's method on the entropy's dual.

    Example:
        >>> most_even(3, 1.0, 5 / 3).round(3).tolist()
        [0.333, 0.333, 0.333]
    """
    labels = np.arange(classes) / (classes - 1)
    features = np.stack([labels, labels**2])
    wanted = np.array([mean / (classes - 1), square / (classes - 1) ** 2])
    weights = np.zeros(2)
    shares = np.full(classes, 1 / classes)
    for _ in range(50):
        centered = features - (features @ shares)[:, None]
        # A little is added for the case that only one class, or two, are left.
        curvature = (centered * shares) @ centered.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, wanted - features @ shares)
        # Half of all mass may not be moved at once: far from the solution Newton's step is too long.
        weights += step / max(1.0, float(np.abs(step).max()) / 5)
        logits = weights @ features
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
    return shares
