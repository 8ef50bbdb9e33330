"""How rival rules read a log: what every one of them needs."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

import diag

Numbers = NDArray[np.float64]
Rule = Callable[[diag.Log], bool]
Rules = Mapping[str, Rule]


def alarms(rules: Rules, log: diag.Log) -> list[str]:
    """The rules that fire."""
    # A run that went astray has infinities to subtract and zeros to divide by; what comes of it is below no limit.
    with np.errstate(all="ignore"):
        return [name for name, rule in rules.items() if rule(log)]


def loss(log: diag.Log) -> Numbers:
    """The training loss; infinite where it is no number."""
    values = log.series("criterion_loss").values[:, 0] if "criterion_loss" in log else np.empty(0)
    return np.where(np.isfinite(values), values, np.inf)


def logged(log: diag.Log, name: str) -> Numbers:
    """What the training loop logged, such as ``val_loss``."""
    return log.series(name).values[:, 0] if name in log else np.empty(0)


def of_layers(log: diag.Log, name: str, *kinds: str) -> Numbers:
    """A series of the layers of some kinds, shape ``(n, layers)``."""
    if name not in log.names["layers"]:
        return np.empty((0, 0))
    series = log.series(name, of="layers")
    kind = {layer.name: layer.kind for layer in log.model.layers}
    chosen = [index for index, column in enumerate(series.columns) if not kinds or kind.get(column) in kinds]
    return series.values[:, chosen]


def of_parameters(log: diag.Log, name: str, *, matrices: bool = False) -> Numbers:
    """A series of all parameters, or of the weight matrices, shape ``(n, parameters)``."""
    if name not in log.names["parameters"]:
        return np.empty((0, 0))
    series = log.series(name, of="parameters")
    wide = {parameter.name for parameter in log.model.parameters if len(parameter.shape) >= 2}
    chosen = [index for index, column in enumerate(series.columns) if not matrices or column in wide]
    return series.values[:, chosen]


def has_lost_numbers(log: diag.Log) -> bool:
    """Whether anything was not finite."""
    counts = (of_layers(log, "activation_non_finite_count"), of_parameters(log, "gradient_non_finite_count"))
    return any(bool(np.any(count > 0)) for count in counts) or bool(np.any(np.isinf(loss(log))))


def consecutive(mask: NDArray[np.bool_], least: int) -> bool:
    """Whether something holds over so many readings in a row, in any column.

    Example:
        >>> consecutive(np.array([True, False, True, True]), 2)
        True
    """
    columns = mask.reshape(len(mask), -1)
    if len(columns) < least:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(columns, least, axis=0)
    return bool(windows.all(axis=-1).any())
