"""The gradient against differences of the loss."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diag.capture.trial import Numbers
from diag.verify.bench import Bench
from diag.verify.checks import Check, Verdict

ON_GRADIENT = (
    "wrong_update_direction",
    "vanishing_gradients",
    "exploding_gradients",
    "disconnected_parameters",
)

_MOST_PARAMETERS = 40
_TOLERANCE = 0.05


class _Slope(NamedTuple):
    """A parameter's slope as the gradient has it and as two losses have it, and how sure that is."""

    name: str
    told: float
    measured: float
    doubt: float

    @property
    def size(self) -> float:
        return max(abs(self.told), abs(self.measured))

    @property
    def error(self) -> float:
        """Relative."""
        return abs(self.told - self.measured) / max(self.size, 1e-300)

    @property
    def is_wrong(self) -> bool:
        return abs(self.told - self.measured) > _TOLERANCE * self.size + 3 * self.doubt

    @property
    def is_sure(self) -> bool:
        return self.is_wrong or (self.size > 0 and 3 * self.doubt <= 0.1 * self.size)


def gradient_check(bench: Bench) -> Iterator[Check]:
    """Whether the gradient is the loss's own, parameter by parameter.

    Each parameter is moved a little along its gradient (or, where that is zero, along a random direction),
    and the change of the loss compared with what the gradient promises. Two step lengths and the loss's
    rounding say how far the comparison is to be trusted, so that single precision will do. Errors of a
    few per cent are not seen, nor those square to the gradient. At most 40 parameters are looked at, evenly chosen.

    References:
        Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3; Stanford CS231n, notes on gradient
        checks.
    """
    trial, rng = bench.trial, np.random.default_rng(bench.seed)
    _, loss, gradient = trial.run(bench.batch, wants_gradient=True)
    names = list(trial.spans)
    chosen = dict.fromkeys(names[place] for place in _evenly(len(names), _MOST_PARAMETERS))
    slopes = [_slope(bench, name, loss, gradient, rng) for name in chosen]
    wrong = [slope for slope in slopes if slope.is_wrong]
    sure = [slope for slope in slopes if slope.is_sure]
    verdict: Verdict = "confirmed" if wrong else "refuted" if sure else "undecided"
    worst = max(wrong or sure or slopes, key=lambda slope: slope.error)
    listed = ", ".join(slope.name for slope in wrong[:5]) + (" and more" if len(wrong) > 5 else "")
    yield Check(
        experiment="gradient_check",
        claim="The gradient is not the loss's own.",
        verdict=verdict,
        numbers={
            "parameters": float(len(slopes)),
            "measurable": float(len(sure)),
            "wrong": float(len(wrong)),
            "largest_error": worst.error,
        },
        text=(
            f"Of {len(slopes)} parameters {len(sure)} could be measured; the gradient of {worst.name} promises a slope "
            f"of {worst.told:.4g} where the loss has {worst.measured:.4g}."
        ),
        meaning={
            "confirmed": f"Look at the backward pass of, and at what is detached behind: {listed}.",
            "refuted": "The backward pass is right, to within the few per cent that this check can see.",
            "undecided": "The loss hardly moves with any parameter, or too unevenly: try another batch, or float64.",
        }[verdict],
        rules=ON_GRADIENT,
        source="Griewank and Walther, Evaluating Derivatives, 2008, chapter 3; CS231n, Gradient checks",
    )


def _evenly(amount: int, most: int) -> list[int]:
    return np.linspace(0, amount - 1, min(amount, most)).round().astype(int).tolist()


def _slope(bench: Bench, name: str, loss: float, gradient: Numbers, rng: np.random.Generator) -> _Slope:
    trial, span = bench.trial, bench.trial.spans[name]
    own = gradient[span].astype(np.float64)
    told = float(np.linalg.norm(own))
    along = own / told if told else rng.standard_normal(own.size) / math.sqrt(own.size)
    # As far as changes the loss by a thousandth: much more than its rounding, much less than bends it.
    far = 0.01 * max(float(np.linalg.norm(trial.weights[span])), 0.01 * math.sqrt(own.size))
    step = min(far, 1e-3 * abs(loss) / told) if told and loss else far

    def measured(length: float) -> float:
        losses = []
        for side in (length, -length):
            moved = trial.weights.copy()
            moved[span] += (side * along).astype(moved.dtype)
            losses.append(trial.run(bench.batch, moved).loss)
        return (losses[0] - losses[1]) / (2 * length)

    coarse, fine = measured(step), measured(step / 2)
    rounding = 8 * trial.precision * abs(loss) / step
    return _Slope(name, told, fine, abs(coarse - fine) + rounding)
