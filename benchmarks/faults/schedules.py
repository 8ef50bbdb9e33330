"""Learning rate over the run, as a multiple of what the optimiser was given."""

import math
from collections.abc import Callable


def factor(name: str, strength: float, step: int, steps: int, steps_a_pass: int) -> float:
    """The multiple at a step.

    Args:
        name: One of `SCHEDULES`.
        strength: What some of them take: a factor.
        step: From 0.
        steps: Of the whole run.
        steps_a_pass: Over the training set.
    """
    return SCHEDULES[name](strength, step / steps, step, steps_a_pass)


def _warm_up(share: float, end: float = 0.1) -> float:
    return min((share + 1e-3) / end, 1.0)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _one_cycle(share: float) -> float:
    return 0.1 + 0.9 * (share / 0.3 if share < 0.3 else (1 - share) / 0.7)


# Each takes the strength, the share of the run, the step, and how many steps a pass has.
SCHEDULES: dict[str, Callable[[float, float, int, int], float]] = {
    "constant": lambda *_: 1.0,
    "cosine": lambda _, share, *__: _cosine(share),
    "steps": lambda _, share, *__: 0.3 ** int(share * 3),
    "warm-up": lambda _, share, *__: _warm_up(share),
    "warm-up and cosine": lambda _, share, *__: _warm_up(share) * _cosine(share),
    "one cycle": lambda _, share, *__: _one_cycle(share),
    # What was meant for each pass happens at each step.
    "decay a step": lambda strength, _, step, __: strength**step,
    "decay a pass": lambda strength, _, step, steps_a_pass: strength ** (step // steps_a_pass),
    # A change in the middle of the run, as by a wrong resumption.
    "leap": lambda strength, share, *_: strength if share >= 0.5 else 1.0,
}
