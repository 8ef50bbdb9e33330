"""A training of one of the networks, turn by turn, with or without somebody who listens."""

from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.networks import Network


class Trained(NamedTuple):
    """What a listener is shown before the training begins."""

    model: Any
    optimizer: Any
    criterion: Any


class Pass(NamedTuple):
    """What a step computed before its backward pass."""

    step: int
    prediction: Any
    target: Any
    loss: Any


class Listener(NamedTuple):
    """What is done in each step besides training.

    Attributes:
        after_step: Called at the end of a step.
        backward: Called instead of the loss's backward pass, which it has to run.
    """

    after_step: Callable[[int], None] = lambda _step: None
    backward: Callable[[Pass], None] = lambda forward: forward.loss.backward()


Listen = Callable[[Trained], Listener]


def recording(folder: Path, every: int, stack: ExitStack) -> Listen:
    """Diag's whole default set, into both sinks; ends with the stack."""

    def listen(trained: Trained) -> Listener:
        # Where the peers live it is not installed, and where memory is measured loading it counts.
        import diag

        recorder = stack.enter_context(diag.Recorder(folder, every=every))
        recorder.watch(trained.model, trained.optimizer, criterion=trained.criterion)
        return Listener()

    return listen


def training(
    framework: str, network: Network, listen: Listen | None = None, *, steps: int, device: str = "cpu"
) -> Callable[[], None]:
    """A function that trains for one turn of so many steps, heard by the listener."""
    nn, optim = import_module(f"{framework}.nn"), import_module(f"{framework}.optim")
    model, criterion = network.make(nn), network.criterion(nn)
    x, y = network.data()
    if framework == "torch":
        model, x, y = model.to(device), _tensor(x, device), _tensor(y, device)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    listener = listen(Trained(model, optimizer, criterion)) if listen else Listener()
    numbers = count()

    def turn() -> None:
        for step in islice(numbers, steps):
            prediction = network.predict(model(x))
            loss = criterion(prediction, y)
            optimizer.zero_grad()
            listener.backward(Pass(step, prediction, y, loss))
            optimizer.step()
            listener.after_step(step)
        if device == "cuda":
            _await_device()

    return turn


def _tensor(array: Any, device: str) -> Any:
    import torch

    return torch.from_numpy(array).to(device)


def _await_device() -> None:
    import torch

    torch.cuda.synchronize()
