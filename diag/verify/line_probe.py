"""The loss along the optimiser's next step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diag.capture.trial import Numbers
from diag.verify.bench import Bench
from diag.verify.checks import Check, Verdict

ON_DIRECTION = ("wrong_update_direction",)
ON_HIGH_RATE = (
    "learning_rate_too_high",
    "oscillation",
    "loss_spike",
    "exploding_gradients",
    "weight_blow_up",
)
ON_LOW_RATE = ("learning_rate_too_low", "slow_convergence", "epsilon_dominates")

_MULTIPLES = 2.0 ** np.arange(-8, 13)
_LINE_SOURCE = (
    "Le Cun, Simard and Pearlmutter, Automatic Learning Rate Maximization, 1993; "
    "Goodfellow, Vinyals and Saxe, 2015, arXiv:1412.6544"
)


class _Line(NamedTuple):
    """The loss along the optimiser's next update, by multiples of it, and whether that leads downhill."""

    start: float
    losses: Numbers
    cosine: float

    @property
    def best(self) -> float:
        """The multiple with the lowest loss; 0 where every one is worse than standing still."""
        place = int(np.argmin(self.losses))
        return float(_MULTIPLES[place]) if self.losses[place] < self.start else 0.0

    @property
    def largest_that_holds(self) -> float:
        """The largest multiple up to which the loss never exceeds that at the start; 0 if none."""
        held = np.logical_and.accumulate(self.losses <= self.start)
        return float(_MULTIPLES[held][-1]) if held.any() else 0.0

    def check(self, claim: str, verdict: Verdict, text: str, meaning: str, rules: tuple[str, ...]) -> Check:
        numbers = {
            "loss": self.start,
            "loss_after_step": float(self.losses[_MULTIPLES == 1][0]),
            "best_multiple": self.best,
            "largest_multiple_that_holds": self.largest_that_holds,
            "cosine_to_gradient": self.cosine,
        }
        return Check("line_probe", claim, verdict, numbers, text, meaning, rules, _LINE_SOURCE)


def line_probe(bench: Bench) -> Iterator[Check]:
    """Whether the learning rate is too high or too low here, and whether a step leads downhill at all.

    The optimiser's next update is worked out by a copy of it, and the loss of this batch is looked at along
    that line, at 1/256 to 4096 times the update. Too high is confirmed where half a step already raises the
    loss, refuted where a whole step lowers it; at the edge of stability it stays between. Too low is
    confirmed where a step 1024 times as long is still better, and refuted up to 4 times: what lies between
    is usual, for a network that has just begun, or an optimiser that makes steps of one length, gains by
    many steps what no single one gives, and the noise between batches forbids what one batch allows.

    References:
        Le Cun, Simard and Pearlmutter, "Automatic Learning Rate Maximization by On-Line Estimation of the
        Hessian's Eigenvectors", 1993; Goodfellow, Vinyals and Saxe, "Qualitatively characterizing neural
        network optimization problems", 2015, arXiv:1412.6544.
    """
    line = _look_along_update(bench)
    if line is None:
        return
    yield _uphill(line)
    yield _too_high(line)
    yield _too_low(line)


def _look_along_update(bench: Bench) -> _Line | None:
    trial, batch = bench.trial, bench.batch
    _, start, gradient = trial.run(batch, wants_gradient=True)
    update = trial.next_update(gradient)
    if update is None or not update.any():
        return None
    # A step may lead beyond all numbers.
    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.array(
            [trial.run(batch, trial.weights + multiple * update).loss for multiple in _MULTIPLES]
        )
    wide = [vector.astype(np.float64) for vector in (gradient, update)]
    lengths = float(np.linalg.norm(wide[0])) * float(np.linalg.norm(wide[1]))
    cosine = float(np.vdot(*wide)) / max(lengths, 1e-300)
    return _Line(start, np.where(np.isfinite(losses), losses, np.inf), cosine)


def _uphill(line: _Line) -> Check:
    verdict: Verdict = "refuted" if line.cosine <= 0 else "confirmed" if line.cosine > 0.05 else "undecided"
    return line.check(
        "The optimiser's step leads uphill.",
        verdict,
        f"The cosine between the next update and this batch's gradient is {line.cosine:.3f}.",
        {
            "confirmed": "Look for a loss or a gradient of the wrong sign, for maximize=True, or for stale momentum.",
            "refuted": "A small enough step lowers the loss of this batch.",
            "undecided": "The update is nearly square to this batch's gradient: other batches' momentum outweighs it.",
        }[verdict],
        ON_DIRECTION,
    )


def _too_high(line: _Line) -> Check:
    holds = line.largest_that_holds
    verdict: Verdict = "undecided"
    if line.cosine <= 0:
        verdict = "refuted" if holds >= 1 else "confirmed" if holds < 0.5 else "undecided"
    after = float(line.losses[_MULTIPLES == 1][0])
    return line.check(
        "The learning rate is too high for this point.",
        verdict,
        f"A step takes the loss of this batch from {line.start:.4g} to {after:.4g}; the loss keeps from rising up to "
        f"{holds:g} of the step, and is lowest at {line.best:g} of it.",
        {
            "confirmed": f"Divide the learning rate by {_factor(holds)} or more, or warm it up.",
            "refuted": "A step at this rate lowers the loss; a rate that is too high is not the cause at this point.",
            "undecided": "The step is about as long as it can be: usual at the edge of stability, and no fault.",
        }[verdict],
        ON_HIGH_RATE,
    )


def _factor(holds: float) -> str:
    return f"{1 / holds:g}" if holds else f"more than {1 / _MULTIPLES[0]:g}"


def _too_low(line: _Line) -> Check:
    verdict: Verdict = "undecided"
    if line.cosine <= 0:
        verdict = "confirmed" if line.best >= 1024 else "refuted" if line.best <= 4 else "undecided"
    return line.check(
        "The learning rate is too low for this point.",
        verdict,
        f"Along the update the loss of this batch is lowest at {line.best:g} times the step, "
        f"{min(line.start, line.losses.min()):.4g} in place of {line.start:.4g}.",
        {
            "confirmed": "Raise the learning rate by steps of three, as long as the loss falls faster.",
            "refuted": "A longer step would not lower the loss of this batch by more.",
            "undecided": "A longer step would do better on this batch: usual early in a training, and with Adam.",
        }[verdict],
        ON_LOW_RATE,
    )
