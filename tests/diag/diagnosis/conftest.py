"""Logs written by hand, whose answer is known, and small trainings to put faults into."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import diag
import scratchnet as sn
from diag.diagnosis import Finding
from diag.events import Axis, Layer, Model, Optimizer, Parameter, Reading
from diag.log import LogWriter
from scratchnet import nn, optim

STEPS = 60
CURVATURE = ("top_eigenvalues", "preconditioned_top_eigenvalue", "stability_threshold")
NETWORK = Model(
    layers=(
        Layer("0", "Linear", (8,), ("0.weight", "0.bias")),
        Layer("1", "Tanh", (8,)),
        Layer("2", "Linear", (10,), ("2.weight", "2.bias")),
    ),
    parameters=(
        Parameter("0.weight", "0", (8, 4)),
        Parameter("0.bias", "0", (8,)),
        Parameter("2.weight", "2", (10, 8)),
        Parameter("2.bias", "2", (10,)),
    ),
    optimizers=(Optimizer("", "SGD", {"lr": 0.1}),),
)


def falling(steps=STEPS, start=2.3, end=0.1):
    return np.geomspace(start, end, steps)


def of_classes(classes=10, steps=STEPS):
    """Series of targets that are class indices."""
    constant = {"min": 0.0, "max": classes - 1.0, "mean": (classes - 1) / 2, "std": 2.9}
    return {f"target_{name}": np.full(steps, value) for name, value in constant.items()}


def summary(name, steps=STEPS, **numbers):
    """Series of a summary: mean, std, min and max of an array."""
    return {f"{name}_{key}": np.broadcast_to(np.float64(value), steps) for key, value in numbers.items()}


@pytest.fixture
def log_of(tmp_path: Path):
    """Writes a log: series by name; for layers and parameters a mapping from column to series."""

    def written(series, model=NETWORK, scalars=None, steps=range(STEPS)):
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        writer = LogWriter(folder, describe=lambda: model)
        for index, step in enumerate(steps):
            readings = []
            for name, values in series.items():
                if isinstance(values, Mapping):
                    axis: Axis = (
                        "layers" if set(values) <= {layer.name for layer in model.layers} else "parameters"
                    )
                    readings += [Reading(name, key, float(some[index]), axis) for key, some in values.items()]
                else:
                    axis = "curvature" if name in CURVATURE else "network"
                    value = (
                        np.atleast_1d(values[index]) if name == "top_eigenvalues" else float(values[index])
                    )
                    readings.append(Reading(name, "", value, axis))
            writer.write(step, readings)
        for step, values in (scalars or {}).items():
            writer.write_scalars(step, values)
        writer.close()
        return diag.Log(folder)

    return written


@pytest.fixture
def found(log_of):
    """What one rule finds in a log written by hand: its only finding, or None."""

    def judged(rule: str, series, **settings) -> Finding | None:
        diagnosis = diag.diagnose(log_of(series, **settings))
        assert rule not in diagnosis.not_assessed, diagnosis.not_assessed[rule]
        some = [finding for finding in diagnosis.findings if finding.rule == rule]
        assert len(some) <= 1
        return some[0] if some else None

    return judged


def mlp(sizes=(64, 48, 48, 10), nonlinearity=nn.ReLU, draw=None, end=None, seed=0):
    """Linear layers with a nonlinearity between; `draw` fills each weight matrix."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs, rng=rng)
        if draw is not None:
            linear.weight.array[...] = draw(rng, linear.weight.shape)
            assert linear.bias is not None
            linear.bias.array[...] = 0
        else:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", rng=rng)
        layers += [linear, nonlinearity()]
    return nn.Sequential(*layers[:-1], *([end] if end else []))


def look_at(recorder, model, criterion, x, y, every, chunk=32):
    """Looks at the first thousand examples, at most."""

    def loss(start, end):
        return lambda: criterion(model(x[start:end]), y[start:end])

    starts = range(0, min(len(x), 1024) - chunk + 1, chunk)
    recorder.representation(loss(0, 256), every=every)
    recorder.noise([loss(start, start + chunk) for start in starts], examples=chunk, every=every)


@pytest.fixture
def trained(tmp_path):
    """Trains a network, records every step, and says what comes of it."""

    def diagnosed(
        model,
        x,
        y,
        criterion,
        optimizer=None,
        *,
        steps=200,
        batch=32,
        validation=None,
        zero=True,
        sign=1,
        every=1,
        looks=None,
        before_step=lambda step: None,
        forgets_eval=False,
    ):
        optimizer = optimizer or optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        rng = np.random.default_rng(0)
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        with diag.Recorder(folder, every=every) as recorder, np.errstate(all="ignore"):
            recorder.watch(model, optimizer, criterion=criterion)
            if looks:
                look_at(recorder, model, criterion, x, y, looks)
            for step in range(steps):
                before_step(step)
                rows = rng.choice(len(x), min(batch, len(x)), replace=False)
                loss = criterion(model(x[rows]), y[rows])
                if zero:
                    optimizer.zero_grad()
                (loss * sign).backward()
                optimizer.step()
                if validation and step % 20 == 19:
                    model.train(forgets_eval)
                    with sn.no_grad():
                        scores = model(validation[0])
                        recorder.log(val_loss=criterion(scores, validation[1]).numpy())
                        if validation[1].ndim == 1:
                            recorder.log(val_accuracy=np.mean(scores.numpy().argmax(axis=1) == validation[1]))
                    model.train()
        return diag.diagnose(diag.Log(folder))

    return diagnosed
