"""The networks that are measured: each written once, for scratchnet's ``nn`` and for PyTorch's alike."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import scratchnet as sn


@dataclass(frozen=True)
class Network:
    """A model, what goes in and what should come out.

    Attributes:
        name: As the table shows it.
        make: Called with ``scratchnet.nn`` or ``torch.nn``.
        shape: Of the input, with the batch first.
        target: Shape of a target of floats, or the number of classes.
        limit: Least ratio of PyTorch's time over ours.
        steps: How many a turn has, so that a turn lasts some tenths of a second.
        widths: Of a multilayer perceptron, for its gradient by hand.
        predict: What of the model's output is the prediction.
    """

    name: str
    make: Callable[[Any], Any]
    shape: tuple[int, ...]
    target: tuple[int, ...] | int
    limit: float
    steps: int
    widths: tuple[int, ...] = ()
    predict: Callable[[Any], Any] = lambda output: output

    def data(self) -> tuple[Any, Any]:
        """Input and target, the same on every call."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal(self.shape).astype(np.float32)
        if isinstance(self.target, int):
            return x, rng.integers(0, self.target, self.shape[0])
        return x, rng.standard_normal(self.target).astype(np.float32)

    def criterion(self, nn: Any) -> Any:
        """Cross-entropy for classes, squared error for floats."""
        return nn.CrossEntropyLoss() if isinstance(self.target, int) else nn.MSELoss()


def _perceptron(widths: tuple[int, ...], batch: int, limit: float, steps: int, name: str = "") -> Network:
    def make(nn: Any) -> Any:
        layers: list[Any] = []
        for inputs, outputs in pairwise(widths[:-1]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    title = name or f"MLP {'-'.join(map(str, widths))}"
    return Network(f"{title}, batch {batch}", make, (batch, widths[0]), widths[-1], limit, steps, widths)


def _convolutional(side: int, steps: int) -> Network:
    def make(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (side // 4) ** 2, 10),
        )

    return Network(f"CNN 16-32 on {side}×{side}, batch 64", make, (64, 1, side, side), 10, 0.6, steps)


PERCEPTRONS = [
    _perceptron((64, 64, 10), 32, 2.5, 300),
    _perceptron((64, 256, 256, 10), 128, 1.2, 100),
    _perceptron((784, 512, 512, 10), 128, 1.0, 20),
    _perceptron((*[256] * 20, 10), 64, 1.0, 10, "MLP of 20 layers of 256"),
    _perceptron((1024, 2048, 2048, 1000), 256, 0.95, 2),
]
# Too small to count: it loads the libraries and starts their threads.
WARM_UP = _perceptron((4, 4, 2), 4, 0.0, 3)
NETWORKS = [
    *PERCEPTRONS,
    _convolutional(28, 4),
    _convolutional(8, 30),
    Network(
        "LSTM of 128 units, 64 steps, batch 32",
        lambda nn: nn.LSTM(128, 128, batch_first=True),
        (32, 64, 128),
        (32, 64, 128),
        0.7,
        4,
        predict=lambda output: output[0],
    ),
    Network(
        "transformer encoder layer 128-512, 4 heads, 64 positions, batch 16",
        lambda nn: nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True),
        (16, 64, 128),
        (16, 64, 128),
        0.8,
        4,
    ),
]


def train_here(network: Network) -> Callable[[], None]:
    """A function that trains scratchnet's side for one turn."""
    model, criterion = network.make(sn.nn), network.criterion(sn.nn)
    return _turn(network, model, criterion, sn.optim, network.data())


def train_both(network: Network) -> tuple[Callable[[], None], Callable[[], None]]:
    """A turn of scratchnet and a turn of PyTorch, which start from the same weights."""
    import torch

    mine, other = network.make(sn.nn), network.make(torch.nn)
    mine.load_state_dict({name: value.numpy() for name, value in other.state_dict().items()})
    x, y = network.data()
    return (
        _turn(network, mine, network.criterion(sn.nn), sn.optim, (x, y)),
        _turn(
            network,
            other,
            network.criterion(torch.nn),
            torch.optim,
            (torch.from_numpy(x), torch.from_numpy(y)),
        ),
    )


def train_in_pytorch(network: Network) -> Callable[[], None]:
    """A function that trains PyTorch's side for one turn."""
    import torch

    x, y = map(torch.from_numpy, network.data())
    return _turn(network, network.make(torch.nn), network.criterion(torch.nn), torch.optim, (x, y))


def _turn(
    network: Network, model: Any, criterion: Any, optim: Any, data: tuple[Any, Any]
) -> Callable[[], None]:
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = data

    def turn() -> None:
        for _ in range(network.steps):
            loss = criterion(network.predict(model(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return turn
