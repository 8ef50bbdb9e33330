"""A small training that every test of diag can run, record and break."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import diag
import scratchnet as sn
from scratchnet import nn, optim

# No test depends on time: on a busy machine an example may take longer than Hypothesis expects.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

Fault = Callable[["Training"], None]


@dataclass
class Training:
    """A classifier of digits in training; `step` counts from 0, a fault strikes before its step."""

    seed: int = 0
    depth: int = 3
    width: int = 48
    batch_size: int = 64
    lr: float = 0.05
    nonlinearity: type[nn.Module] = nn.ReLU
    optimizer_kind: str = "SGD"
    step: int = 0
    model: nn.Sequential = field(init=False)
    optimizer: optim.Optimizer = field(init=False)
    criterion: nn.CrossEntropyLoss = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.data = sn.data.load_digits(rng=0)
        layers: list[nn.Module] = []
        for position in range(self.depth):
            layer = nn.Linear(self.width if position else 64, self.width, rng=rng)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", rng=rng)
            layers += [layer, self.nonlinearity()]
        self.model = nn.Sequential(*layers, nn.Linear(self.width, 10, rng=rng))
        if self.optimizer_kind == "SGD":
            self.optimizer = optim.SGD(self.model.parameters(), lr=self.lr, momentum=0.9)
        else:
            self.optimizer = optim.Adam(self.model.parameters(), lr=self.lr / 25)
        self.criterion = nn.CrossEntropyLoss()
        self.order = np.random.default_rng(self.seed)

    def run(self, steps: int, faults: dict[int, Fault] | None = None) -> None:
        """Trains on random batches; a network that diverges does so without NumPy's warnings."""
        with np.errstate(all="ignore"):
            for _ in range(steps):
                (faults or {}).get(self.step, lambda _: None)(self)
                rows = self.order.choice(len(self.data.y_train), self.batch_size, replace=False)
                loss = self.criterion(self.model(self.data.x_train[rows]), self.data.y_train[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.step += 1


@pytest.fixture(scope="session")
def training() -> type[Training]:
    return Training


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., diag.Log]:
    """Records a training into a fresh folder and gives back its log."""

    def recorded(
        subject: Training, steps: int, faults: dict[int, Fault] | None = None, **settings: Any
    ) -> diag.Log:
        folder = tmp_path_factory.mktemp("record") / "run"
        with diag.Recorder(folder, **settings) as recorder:
            recorder.watch(subject.model, subject.optimizer, criterion=subject.criterion)
            subject.run(steps, faults)
        return diag.Log(folder)

    return recorded
