"""The batch against the noise of its gradient."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import lasting
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import column, is_impaired, is_short
from diag.log import Log

NOISE = ("gradient_noise_squared_norm", "gradient_noise_variance", "gradient_noise_examples")
# Signal and noise are averaged over so many looks before one is divided by the other.
WINDOW = 3
REFERENCE = "McCandlish et al., An Empirical Model of Large-Batch Training, 2018, arXiv:1812.06162"


@rule(*NOISE, "batch_size", LOSSES)
def noisy_gradients(log: Log, *, largest_multiple: float, least_batch: float) -> Iterator[Finding]:
    """A gradient that is mostly noise at this batch size, in a training that does not get anywhere."""
    steps, scale, seen = _noise_scale(log)
    batch = _batch_size(log)
    if seen < largest_multiple * batch:
        raise NotAssessableError(
            f"the noise was measured on {seen:g} examples, too few to tell {largest_multiple:g} batches of "
            f"{batch:g}; give noise() more"
        )
    spell = lasting(scale > largest_multiple * batch, steps)
    if spell is None:
        return
    value = float(np.median(scale[spell.start :])) / batch
    # Noise grows in any training that goes well; a handful of examples at a time is a choice.
    is_held_up = is_impaired(log) or (batch < least_batch and is_short(log))
    yield Finding(
        rule="noisy_gradients",
        severity="warning" if is_held_up else "note",
        layer=None,
        onset_step=spell.step,
        evidence=Evidence(
            series="gradient_noise_scale",
            value=value,
            band=f"at most {largest_multiple:g} times the batch",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"Since step {spell.step} the gradient noise scale is {value:.3g} times the batch of {batch:g} "
                f"or more: of a step's gradient most is what its examples happen to be."
            ),
        ),
        why="Steps follow the examples that a batch happens to hold more than what all of them have in common.",
        fix="Take larger batches or accumulate, lower the learning rate; check that labels fit their inputs.",
        confidence=0.5,
        references=(REFERENCE,),
    )


@rule(*NOISE, "batch_size", LOSSES)
def wasteful_batch(log: Log, *, largest_multiple: float) -> Iterator[Finding]:
    """A batch so much larger than the noise scale that most of its examples say what the others have said."""
    steps, scale, _ = _noise_scale(log)
    batch = _batch_size(log)
    spell = lasting(batch > largest_multiple * scale, steps)
    # Noise grows as a training goes on: a batch is wasted where it is so through half of it at least.
    if spell is None or spell.readings < len(steps) / 2:
        return
    # Where no noise was measured at all, it is below that of one example.
    value = batch / max(float(np.median(scale[spell.start :])), 1.0)
    yield Finding(
        rule="wasteful_batch",
        severity="note",
        layer=None,
        onset_step=spell.step,
        evidence=Evidence(
            series="gradient_noise_scale",
            value=value,
            band=f"a batch of at most {largest_multiple:g} times the noise scale",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"The batch of {batch:g} is {value:.3g} times the gradient noise scale of "
                f"{np.median(scale[spell.start :]):.3g}: a smaller one would get nearly as far with each step."
            ),
        ),
        why="Beyond the noise scale, twice the batch costs twice as much and brings a step hardly further.",
        fix="Take smaller batches and more steps; where the hardware has nothing else to do, this is no loss.",
        confidence=0.6,
        references=(REFERENCE,),
    )


def _noise_scale(log: Log) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Steps, the noise scale as a ratio of running means, and on how many examples it was measured.

    It is never told as more than those examples, for beyond them signal and noise cannot be told apart.
    """
    signal = log.series("gradient_noise_squared_norm").known()
    noise = log.series("gradient_noise_variance").at(signal.steps)[:, 0]
    seen = float(np.nanmax(column(log, "gradient_noise_examples")))
    if len(signal.steps) < WINDOW:
        raise NotAssessableError(f"the noise was measured {len(signal.steps)} times, fewer than {WINDOW}")
    means = [
        np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid") for values in (signal.values[:, 0], noise)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(means[0] > 0, np.maximum(means[1], 0) / means[0], seen)
    return signal.steps[WINDOW - 1 :], np.minimum(scale, seen), seen


def _batch_size(log: Log) -> float:
    if any(happening.kind == "accumulation" for happening in log.happenings):
        raise NotAssessableError("several backward passes went into a step, so its batch is not known")
    return float(np.nanmedian(column(log, "batch_size")))
