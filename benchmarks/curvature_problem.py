"""The network whose curvature is measured, on PyTorch, and how its eigenvalues are marked against the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import ratios

WIDTHS = (64, 128, 128, 10)
BATCH = 512
LEARNING_RATE = 0.2
STEPS = 300
K = 5
TURNS = 3
GRADIENTS_A_TURN = 50

# What is found: eigenvalues and products.
Found: TypeAlias = tuple[list[float], int]
Search: TypeAlias = Callable[[], Found]


class Problem:
    """A tanh network, its loss on one batch of noise with random labels, and full-batch training."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        first, second, third, classes = WIDTHS
        self.x, self.y = torch.randn(BATCH, first), torch.randint(0, classes, (BATCH,))
        self.model = torch.nn.Sequential(
            torch.nn.Linear(first, second),
            torch.nn.Tanh(),
            torch.nn.Linear(second, third),
            torch.nn.Tanh(),
            torch.nn.Linear(third, classes),
        )
        self.criterion = torch.nn.CrossEntropyLoss()
        self.parameters = list(self.model.parameters())
        self.dim = sum(parameter.numel() for parameter in self.parameters)

    def train(self, steps: int) -> None:
        """Gradient descent."""
        optimizer = torch.optim.SGD(self.parameters, lr=LEARNING_RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(self.loss())
            optimizer.step()

    def loss(self) -> torch.Tensor:
        """On the batch."""
        loss: torch.Tensor = self.criterion(self.model(self.x), self.y)
        return loss

    def gradient(self) -> tuple[torch.Tensor, ...]:
        """What all times are counted in."""
        return torch.autograd.grad(self.loss(), self.parameters)

    def make_hvp(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The exact product on flat vectors, from a graph of the gradient that is kept."""
        gradient = _joined(torch.autograd.grad(self.loss(), self.parameters, create_graph=True))

        def hvp(vector: torch.Tensor) -> torch.Tensor:
            return _joined(torch.autograd.grad(gradient, self.parameters, vector, retain_graph=True))

        return hvp

    def dense_hessian(self, rows: int = 64) -> torch.Tensor:
        """All of it, some rows at a time: the gradient's derivative by each weight."""
        gradient = _joined(torch.autograd.grad(self.loss(), self.parameters, create_graph=True))
        hessian = torch.empty(self.dim, self.dim)
        for first in range(0, self.dim, rows):
            last = min(first + rows, self.dim)
            units = torch.zeros(last - first, self.dim)
            units[torch.arange(last - first), torch.arange(first, last)] = 1.0
            parts = torch.autograd.grad(
                gradient, self.parameters, units, retain_graph=True, is_grads_batched=True
            )
            hessian[first:last] = torch.cat([part.flatten(1) for part in parts], dim=1)
        return hessian

    def save(self, file: Path) -> None:
        """Weights and batch, for another process."""
        torch.save({"model": self.model.state_dict(), "x": self.x, "y": self.y}, file)

    def load(self, file: Path) -> None:
        """What `save` wrote."""
        saved = torch.load(file)
        self.model.load_state_dict(saved["model"])
        self.x, self.y = saved["x"], saved["y"]


def marked(found: Any, truth: NDArray[np.float64]) -> dict[str, float]:
    """How wrong the largest eigenvalues are, and how many are missed.

    An eigenvalue is missed if no estimate lies nearer to it than to any other one. Each estimate counts
    for one alone.
    """
    values = np.sort(np.asarray(found, dtype=np.float64))[::-1]
    error = float(np.abs(values / truth[:K] - 1).max())
    nearest = {int(np.abs(truth - value).argmin()) for value in values}
    return {"error": error, "missed": float(len(set(range(K)) - nearest))}


def measured(problem: Problem, search: Search) -> dict[str, Any]:
    """What a search finds, and how many gradients would have taken as long, turn by turn."""
    kept: list[Found] = []

    def gradients() -> None:
        for _ in range(GRADIENTS_A_TURN):
            problem.gradient()

    def side() -> None:
        kept.append(search())

    found = ratios(gradients, {"side": side}, turns=TURNS, warm_up=1)["side"]
    values, products = kept[-1]
    return {"values": values, "products": products, "times": [each * GRADIENTS_A_TURN for each in found]}


def _joined(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in parts])
