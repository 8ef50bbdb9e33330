"""A probe and a rule of your own: one decorated function each.

python examples/own_probe.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import diag
import probes
import scratchnet as sn
from scratchnet import nn, optim

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own_probe")


@probes.probe(unit="fraction of entries", eats="gradient", cost="cheap", source="this example")
def zero_gradient_fraction(gradient: np.ndarray) -> float:
    """Fraction of a parameter's gradient that is exactly zero."""
    return float((gradient == 0).mean())


@diag.rule("zero_gradient_fraction")
def sparse_gradients(log: diag.Log) -> Iterator[diag.Finding]:
    """Parameters that get no gradient here and there: inputs that never change, units that never fire."""
    series = log.series("zero_gradient_fraction")
    for name, value in zip(series.columns, series.values[-1], strict=True):
        if value > 0.02:
            text = f"{value:.0%} of the gradient of {name!r} is exactly zero."
            evidence = diag.Evidence(series.name, value, "at most 0.02", 1, None, text)
            yield diag.Finding(
                "sparse_gradients",
                "note",
                None,
                int(series.steps[-1]),
                evidence,
                "Few units learn.",
                "Look why.",
                0.5,
            )


data = sn.data.load_digits()
model = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))
optimizer, criterion = optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()

with diag.Recorder(folder, every=5, probes=[zero_gradient_fraction]) as recorder:
    recorder.watch(model, optimizer, criterion=criterion)
    for x, y in sn.data.DataLoader((data.x_train, data.y_train), batch_size=16, shuffle=True, rng=0):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

for finding in diag.diagnose(diag.Log(folder), rules=[sparse_gradients]).findings:
    print(f"{finding.severity}: {finding.rule}: {finding.evidence}")
