"""A long run that never was: the log that a recorder would have written, at the speed of the disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diag.events import Axis, Column, Columns, Layer, Model, Optimizer, Parameter, Readings
from diag.log import LogWriter, write_run

OF_LINEAR = ("gradient_norm",)
OF_RELU = ("dead_unit_rate", "dead_unit_rate_pooled")
OF_LAYER = ("activation_mean", "activation_rms", "activation_non_finite_count")
OF_PARAMETER = ("weight_norm", "gradient_norm", "gradient_non_finite_count", "update_norm", "update_ratio")
OF_NETWORK = (
    "criterion_loss",
    "gradient_norm",
    "gradient_norm_ratio",
    "learning_rate",
    "wall_time",
    "recording_seconds",
    *(f"{of}_{name}" for of in ("input", "prediction", "target") for name in ("mean", "std", "min", "max")),
)


def write_long_run(folder: Path, layers: int, steps: int) -> None:
    """Writes a healthy run of as many recorded steps, every second layer a ReLU, with the default series."""
    model = _model(layers)
    columns = Columns(_cells(model))
    typical = np.array([_typical(cell.name) for cell in columns.cells])
    varies = np.array(["count" not in cell.name for cell in columns.cells])
    rng = np.random.default_rng(0)
    write_run(folder, {"lr": 0.1})
    writer = LogWriter(folder, describe=lambda: model, chunk_rows=512)
    for step in range(steps):
        values = typical * np.exp(0.2 * varies * rng.standard_normal(len(typical)))
        writer.write(step, Readings(columns, _of_step(values, columns, step / steps)))
    writer.close()


def _model(depth: int) -> Model:
    layers: list[Layer] = []
    parameters: list[Parameter] = []
    for index in range(depth):
        name = f"features.{index}"
        if index % 2:
            layers.append(Layer(name, "ReLU", (256,)))
            continue
        own = [
            Parameter(f"{name}.weight", name, (256, 256)),
            Parameter(f"{name}.bias", name, (256,)),
        ]
        parameters += own
        layers.append(Layer(name, "Linear", (256,), tuple(parameter.name for parameter in own)))
    return Model(tuple(layers), tuple(parameters), (Optimizer("", "SGD", {"lr": 0.1, "momentum": 0.9}),))


def _cells(model: Model) -> Iterator[Column]:
    for layer in model.layers:
        for name in (*OF_LAYER, *(OF_LINEAR if layer.kind == "Linear" else OF_RELU)):
            yield Column(name, layer.name, "layers")
    for parameter in model.parameters:
        for name in OF_PARAMETER:
            yield Column(name, parameter.name, "parameters")
    axis: Axis = "network"
    for name in OF_NETWORK:
        yield Column(name, "", axis)


def _typical(name: str) -> float:
    sizes = {"update_ratio": 1e-3, "update_norm": 1e-2, "dead_unit_rate": 0.05, "dead_unit_rate_pooled": 0.02}
    return 0.0 if "count" in name else sizes.get(name, 1.0)


def _of_step(values: NDArray[np.float64], columns: Columns, progress: float) -> NDArray[np.float64]:
    """The noise of a step, with the few numbers that have a course of their own."""
    for place, cell in enumerate(columns.cells[-len(OF_NETWORK) :], len(values) - len(OF_NETWORK)):
        if cell.name == "criterion_loss":
            values[place] *= 2.3 * np.exp(-3 * progress)
        elif cell.name == "learning_rate":
            values[place] = 0.1
        elif cell.name == "wall_time":
            values[place] = 3600 * progress
    return values
