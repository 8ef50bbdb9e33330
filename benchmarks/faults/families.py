"""The programs that everything starts from, by family, and which half of the suite each belongs to.

A family is an architecture on a data set. The tuning half is for setting thresholds; the scored half is
only ever scored. Both have all architectures and both tasks, and no family is in both.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

from benchmarks.faults.program import Data, Descent, Framework, Loop, Network, Program

Half = Literal["tuning", "scored"]
HALVES: tuple[Half, ...] = ("tuning", "scored")
FRAMEWORKS: tuple[Framework, ...] = ("scratchnet", "torch")


class Seeds(NamedTuple):
    """What the random numbers of a half are drawn from.

    Attributes:
        mutants: Of which mutants there are.
        healthy: Of which healthy programs there are.
        labels: The first of the trainings that a label is made of.
        recorded: The first of the recorded trainings, none of which is one of a label's.
    """

    mutants: int
    healthy: int
    labels: int
    recorded: int


# What of a draw has been looked at after it was scored can no longer tell how rules do on what nobody has seen: the
# scored half was drawn afresh on 28 November 2026, and no training comes again. The first draw (2026) had been looked
# at operator by operator, of the second (2030) the rules behind its ten false alarms in 200 healthy runs; of the third
# (2034, the next number that deals the architectures out evenly) those behind its seven, so that its healthy programs
# and all recorded trainings were drawn once more.
SEEDS: dict[Half, Seeds] = {"tuning": Seeds(2026, 2026, 0, 1000), "scored": Seeds(2034, 2035, 40_000, 60_000)}

Norm = Literal["", "batch", "layer"]

ADAM = Descent("Adam", 3e-3)
MOMENTUM = Descent("SGD", 0.03, (("momentum", 0.9),))


def _mlp(
    data: str,
    descent: Descent,
    *,
    width: int = 32,
    depth: int = 2,
    activation: str = "ReLU",
    norm: Norm = "",
    dropout: float = 0.0,
) -> Program:
    network = Network("mlp", width, depth, (activation,) * depth, norm=norm, dropout=dropout)
    return _program(data, network, descent)


def _cnn(data: str, descent: Descent, *, norm: Norm = "") -> Program:
    return _program(data, Network("cnn", 8, 2, ("ReLU",) * 2, norm=norm), descent, steps=160)


def _recurrent(data: str, descent: Descent, *, cell: str = "LSTM") -> Program:
    return _program(data, Network("recurrent", 24, 1, ("ReLU",), cell=cell), descent)


def _transformer(data: str, descent: Descent) -> Program:
    return _program(data, Network("transformer", 16, 2, ("ReLU",) * 2), descent, steps=160)


def _program(data: str, network: Network, descent: Descent, steps: int = 240) -> Program:
    criterion = "MSELoss" if data in REGRESSIONS else "CrossEntropyLoss"
    return Program("scratchnet", Data(data), network, descent, Loop(steps, criterion=criterion))


REGRESSIONS = frozenset(
    {
        "diabetes",
        "petal width",
        "alcohol",
        "tumour area",
        "friedman",
        "spot",
        "left from right",
        "waves",
        "sums",
    }
)
_SLOW = Descent("SGD", 0.01, (("momentum", 0.9),))

FAMILIES: dict[Half, tuple[Program, ...]] = {
    "tuning": (
        _mlp("digits", MOMENTUM, width=48, dropout=0.1),
        _mlp("wine", ADAM),
        _mlp("moons", MOMENTUM, depth=3, activation="Tanh"),
        _mlp("clouds", Descent("AdamW", 3e-3), depth=3, norm="batch"),
        _mlp("diabetes", _SLOW, width=16),
        _mlp("alcohol", Descent("AdamW", 1e-3)),
        _cnn("digits", _SLOW),
        _cnn("spot", ADAM, norm="batch"),
        _recurrent("tones", Descent("Adam", 5e-3)),
        _recurrent("waves", ADAM, cell="GRU"),
        _transformer("rows of digits", ADAM),
        _transformer("sums", ADAM),
    ),
    "scored": (
        _mlp("breast cancer", MOMENTUM, norm="batch"),
        _mlp("iris", ADAM, activation="Tanh"),
        _mlp("spirals", Descent("Adam", 1e-2), depth=3),
        _mlp("friedman", _SLOW, dropout=0.05),
        _mlp("petal width", ADAM, activation="Tanh"),
        _mlp("tumour area", _SLOW),
        _cnn("stripes", ADAM),
        _cnn("left from right", Descent("Adam", 1e-3), norm="batch"),
        _recurrent("rows of digits", Descent("Adam", 5e-3), cell="GRU"),
        _recurrent("sums", Descent("Adam", 1e-2)),
        _transformer("majority", ADAM),
        _transformer("waves", ADAM),
    ),
}


def programs(half: Half) -> list[Program]:
    """Every family of a half, in either framework."""
    return [replace(program, framework=framework) for program in FAMILIES[half] for framework in FRAMEWORKS]
