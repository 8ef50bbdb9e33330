"""A run's main measures, each as one number a step: what runs are set side by side by, and what a terminal shows."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.learning_rate import typical_update_ratio
from diag.diagnosis.outcome import loss_series
from diag.diagnosis.pairs import pairs_of
from diag.diagnosis.stability import sharpness_name, sharpness_over_threshold
from diag.log import Log, Series


@dataclass(frozen=True, eq=False)
class Curve:
    """One number a step.

    Attributes:
        steps: Shape ``(n,)``, rising.
        values: Shape ``(n,)``; NaN means "no number".
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        """The last value that is a number, infinities included; NaN where there is none."""
        numbers = self.values[~np.isnan(self.values)]
        return float(numbers[-1]) if numbers.size else float("nan")

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at steps that the curve has, shape as ``steps``."""
        return self.values[np.searchsorted(self.steps, steps)]


@dataclass(frozen=True)
class Measure:
    """What a curve shows.

    Attributes:
        name: As in the log where one series is shown as it is.
        title: For a person.
        reading: How to read it; empty for the user's own scalars.
        reference: The value to compare with, or None.
        is_share: Whether it lies in [0, 1], so that differences count as they are and not as ratios.
    """

    name: str
    title: str
    reading: str = ""
    reference: float | None = None
    is_share: bool = False


def curves(log: Log) -> Mapping[Measure, Curve]:
    """The main measures that a log has.

    Args:
        log: Of a run in any state.

    Returns:
        By measure, in a fixed order: those of each watched pair, then the user's scalars; none that has no
        number at all.

    Example:
        >>> from pathlib import Path
        >>> from diag.events import Model
        >>> from diag.log import LogWriter
        >>> folder = Path(getfixture("tmp_path"))
        >>> writer = LogWriter(folder, describe=Model)
        >>> writer.write_scalars(3, {"val_accuracy": 0.9})
        >>> writer.close()
        >>> {measure.name: curve.last for measure, curve in curves(Log(folder)).items()}
        {'val_accuracy': 0.9}
    """
    pairs = pairs_of(log)
    found = {_named(measure, pair.name): make(pair) for pair in pairs for measure, make in _MAIN.items()}
    losses = {series.name for pair in pairs if (series := loss_series(pair)) and series.axis == "scalars"}
    scalars = [name for name in log.names["scalars"] if name not in losses]
    found |= {_measure_of(name): _first_column(log.series(name, of="scalars")) for name in scalars}
    return {
        measure: curve
        for measure, curve in found.items()
        if curve is not None and not np.isnan(curve.values).all()
    }


def _named(measure: Measure, pair: str) -> Measure:
    if not pair:
        return measure
    return replace(measure, name=f"{pair}.{measure.name}", title=f"{measure.title} ({pair})")


def _measure_of(scalar: str) -> Measure:
    return Measure(scalar, scalar, is_share="acc" in scalar.lower())


def _first_column(series: Series) -> Curve:
    return Curve(series.steps, series.values[:, 0])


def _loss(log: Log) -> Curve | None:
    series = loss_series(log)
    return None if series is None else _first_column(series)


def _network(name: str) -> Callable[[Log], Curve | None]:
    return lambda log: _first_column(log.series(name, of="network")) if name in log.names["network"] else None


def _update_ratio(log: Log) -> Curve | None:
    return Curve(*typical_update_ratio(log)) if "update_ratio" in log.names["parameters"] else None


def _dead_unit_rate(log: Log) -> Curve | None:
    if "dead_unit_rate_pooled" not in log.names["layers"]:
        return None
    series = log.series("dead_unit_rate_pooled", of="layers")
    with warnings.catch_warnings():
        # A step without a number in any layer has none here either, and that is all there is to say.
        warnings.simplefilter("ignore", RuntimeWarning)
        return Curve(series.steps, np.nanmean(series.values, axis=1))


def _top_eigenvalue(log: Log) -> Curve | None:
    if "top_eigenvalues" not in log.names["curvature"]:
        return None
    return _first_column(log.series("top_eigenvalues", of="curvature"))


def _sharpness_over_threshold(log: Log) -> Curve | None:
    known = log.names["curvature"]
    if "stability_threshold" not in known or sharpness_name(log) not in known:
        return None
    return Curve(*sharpness_over_threshold(log))


_MAIN: Mapping[Measure, Callable[[Log], Curve | None]] = {
    Measure("loss", "Loss", "The loss that is optimised."): _loss,
    Measure(
        "gradient_norm", "Gradient norm", "Of all trained parameters together; its size alone is no verdict."
    ): _network("gradient_norm"),
    Measure(
        "gradient_norm_ratio",
        "First layer's gradient over the last's",
        "1 (dashed) is level. Far below it the gradient vanishes on its way back, far above it explodes.",
        reference=1.0,
    ): _network("gradient_norm_ratio"),
    Measure(
        "dead_unit_rate_pooled",
        "Dead units, mean over layers",
        "Share of the units of rectifying layers that fire for none of the last 1,000 examples.",
        is_share=True,
    ): _dead_unit_rate,
    Measure(
        "update_ratio",
        "Update ratio, median over weight matrices",
        "Norm of a step's update over the norm of the weight; about 10⁻³ is usual.",
    ): _update_ratio,
    Measure(
        "top_eigenvalue", "Largest eigenvalue of the Hessian", "How sharply the loss is curved."
    ): _top_eigenvalue,
    Measure(
        "sharpness_over_threshold",
        "Largest eigenvalue over the stability threshold",
        "Above 1 (dashed) this optimiser's steps overshoot. To hover there is common and no fault.",
        reference=1.0,
    ): _sharpness_over_threshold,
}
