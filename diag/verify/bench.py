"""What an experiment is made with, and what it is."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from diag.capture.trial import Batch, Trial
from diag.verify.checks import Check


class Bench(NamedTuple):
    """What experiments are made with: the model, a batch, how many steps a short training takes, a seed."""

    trial: Trial
    batch: Batch
    steps: int
    seed: int


class Experiment(NamedTuple):
    """An experiment, and the rules whose findings one of its claims bears on."""

    run: Callable[[Bench], Iterator[Check]]
    rules: tuple[str, ...]
