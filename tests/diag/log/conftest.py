"""A small model, a clock that stands still, and a writer on a folder of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from diag.events import Layer, Model, Optimizer, Parameter, Reading
from diag.log import LogWriter

MODEL = Model(
    layers=(
        Layer("features.0", "Linear", (128,), ("features.0.weight", "features.0.bias")),
        Layer("features.1", "ReLU", (128,)),
        Layer("tête", "Linear", (10,), ("tête.weight",)),
    ),
    parameters=(
        Parameter("features.0.weight", "features.0", (128, 64)),
        Parameter("features.0.bias", "features.0", (128,)),
        Parameter("tête.weight", "tête", (10, 128), is_trained=False),
    ),
    optimizers=(
        Optimizer("", "SGD", {"lr": 0.1, "betas": (0.9, 0.999), "nesterov": False, "foreach": None}),
    ),
)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def model() -> Model:
    return MODEL


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_writer(tmp_path: Path, clock: Clock) -> Callable[..., LogWriter]:
    def opened(**settings: Any) -> LogWriter:
        return LogWriter(tmp_path / "run", **{"describe": lambda: MODEL, "clock": clock, **settings})

    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def readings_at() -> Callable[[int], Sequence[Reading]]:
    """Readings of every axis whose values name their step."""

    def readings(step: int) -> Sequence[Reading]:
        return [
            Reading("dead_unit_rate", "features.1", step + 0.25, "layers"),
            Reading("update_ratio", "features.0.weight", step + 0.5, "parameters"),
            Reading("criterion_loss", "", step + 0.75, "network"),
            Reading("sharpness", "", float(step), "curvature"),
            Reading("top_eigenvalues", "", [step + 3.0, step + 2.0, step + 1.0], "curvature"),
        ]

    return readings
