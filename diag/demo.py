"""The demonstration: two runs on real handwritten digits, one healthy and one made sick on purpose."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import scratchnet as sn
from diag.recorder import Recorder
from scratchnet import nn, optim

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Experiment:
    """One run of the demonstration.

    Attributes:
        name: Of the run's folder.
        story: What happens in it, in one sentence.
        killed_layer: Name of a linear layer whose units are all switched off, or None.
        killed_at: The step at which that happens.
    """

    name: str
    story: str
    killed_layer: str | None = None
    killed_at: int = 0


HEALTHY = Experiment("healthy", "A network as it should be.")
SICK = Experiment(
    "sick",
    "The same network; at step 400 the biases of layer '2' fall so low that no unit behind it fires again.",
    killed_layer="2",
    killed_at=400,
)
EPOCHS = 30
BATCH_SIZE = 64


def train(
    experiment: Experiment, folder: Path, *, progress: Progress = lambda *_: None, seed: int = 0
) -> float:
    """Trains and records one experiment.

    Args:
        experiment: Which.
        folder: Where the run is recorded.
        progress: Called after each epoch with the epochs done, all epochs, and the test accuracy.
        seed: Of the data's split, the weights and the order of the examples.

    Returns:
        The accuracy on the test part in the end, in [0, 1].

    Raises:
        FileExistsError: If the folder holds a log already.
    """
    data = sn.data.load_digits(rng=seed)
    model = build_model(seed)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    batches = sn.data.DataLoader((data.x_train, data.y_train), batch_size=BATCH_SIZE, shuffle=True, rng=seed)
    probe = data.x_train[:256], data.y_train[:256]
    config = {
        "experiment": experiment.name,
        "lr": 0.05,
        "momentum": 0.9,
        "batch_size": BATCH_SIZE,
        "seed": seed,
    }
    step, accuracy = 0, 0.0
    with Recorder(folder, config=config, every=2) as recorder:
        recorder.watch(model, optimizer, criterion=criterion)
        recorder.curvature(lambda: criterion(model(probe[0]), probe[1]), every=100, k=3)
        for epoch in range(EPOCHS):
            for x, y in batches:
                if experiment.killed_layer is not None and step == experiment.killed_at:
                    kill(model, experiment.killed_layer)
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
            val_loss, accuracy = evaluate(model, data.x_test, data.y_test)
            recorder.log(val_loss=val_loss, val_accuracy=accuracy)
            progress(epoch + 1, EPOCHS, accuracy)
    return accuracy


def build_model(seed: int) -> nn.Sequential:
    """A rectified network with three hidden layers, initialised for it."""
    generator = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in ((64, 96), (96, 64), (64, 48)):
        layer = nn.Linear(inputs, outputs, rng=generator)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", rng=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(48, 10, rng=generator))


def kill(model: nn.Module, layer: str) -> None:
    """Pushes the biases of a linear layer so low that no unit behind it fires."""
    bias = dict(model.named_parameters())[f"{layer}.bias"]
    bias.array[...] = -1e3


def evaluate(model: nn.Module, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and accuracy, in evaluation mode and unrecorded."""
    model.eval()
    with sn.no_grad():
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y).item()
    model.train()
    return loss, float((logits.numpy().argmax(axis=1) == y).mean())
