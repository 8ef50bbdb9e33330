"""What a report says of a run, taken from its log and its diagnosis before any form is chosen."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diag.diagnosis import RULES
from diag.diagnosis.findings import Diagnosis, Finding, Status
from diag.events import Happening
from diag.log import Log, Series
from diag.reporting.reduction import Array
from diag.reporting.survey import Survey
from diag.reporting.words import count, enumeration

STATUS_WORDS: Mapping[Status, str] = {
    "healthy": "Healthy",
    "warning": "Warning",
    "fault": "Fault",
    "not_assessable": "Not assessable",
}


_DRAWN = (
    "criterion_loss",
    "gradient_norm",
    "update_ratio",
    "dead_unit_rate",
    "top_eigenvalues",
    "spectral_density",
    "gradient_noise_scale",
    "gradient_norm_ratio",
    "learning_rate",
)


@dataclass(frozen=True)
class Run:
    """When and how long a run was recorded, and how it stands.

    Attributes:
        name: Of the run's folder.
        path: Where the log lies.
        state: ``"live"``, ``"closed"`` or ``"killed"``.
        standing: The same as a sentence.
        started: ISO 8601; empty where nothing says it.
        seconds: From the start of recording to the last recorded step; NaN where nothing says it.
        recorded_steps: How many steps were recorded.
        first_step: None where no step was recorded.
        last_step: None where no step was recorded.
    """

    name: str
    path: str
    state: str
    standing: str
    started: str
    seconds: float
    recorded_steps: int
    first_step: int | None
    last_step: int | None


@dataclass(frozen=True)
class LayerRow:
    """A layer and the last number of each of its series, NaN where there is none."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    last: Mapping[str, float]


@dataclass(frozen=True)
class CoverageRow:
    """How much of a series is there.

    Attributes:
        axis: Group of the log.
        name: Of the series.
        steps: Recorded steps.
        columns: Layers, parameters or indices.
        numbers: How many of the ``steps × columns`` readings are numbers.
        silent: Columns without any.
    """

    axis: str
    name: str
    steps: int
    columns: int
    numbers: int
    silent: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the readings that are numbers; NaN where there is no reading."""
        readings = self.steps * self.columns
        return self.numbers / readings if readings else math.nan


@dataclass(frozen=True)
class Facts:
    """All that a report says besides its figures.

    Attributes:
        run: When and how long.
        diagnosis: What the rules say.
        verdict: The diagnosis as one sentence.
        not_found: Id and summary of the rules that looked and found nothing.
        layers: In order of execution.
        coverage: In the order of the log.
        absent_series: What a figure would be made of, and the log does not have.
        unheard_layers: Layers of the model without any number.
        happenings: In the order in which they came.
        configuration: Dotted key and value.
        optimizers: Dotted key and value, as they were watched.
        environment: Dotted key and value.
        recording_seconds: Time that recording took; NaN where it was not measured.
    """

    run: Run
    diagnosis: Diagnosis
    verdict: str
    not_found: tuple[tuple[str, str], ...]
    layers: tuple[LayerRow, ...]
    coverage: tuple[CoverageRow, ...]
    absent_series: tuple[str, ...]
    unheard_layers: tuple[str, ...]
    happenings: tuple[Happening, ...]
    configuration: tuple[tuple[str, str], ...]
    optimizers: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    recording_seconds: float

    @property
    def recording_share(self) -> float:
        """Recording's share of the recorded time; NaN where one of the two is unknown."""
        return self.recording_seconds / self.run.seconds if self.run.seconds else math.nan


def gather(log: Log, diagnosis: Diagnosis) -> Facts:
    """Read from a log what a report says of it.

    Args:
        log: A run.
        diagnosis: Of the same run.

    Returns:
        The facts.
    """
    run, survey = _run(log), Survey.of(log)
    coverage = tuple(_coverage(survey))
    return Facts(
        run=run,
        diagnosis=diagnosis,
        verdict=_verdict(diagnosis, run.recorded_steps),
        not_found=tuple(_not_found(diagnosis)),
        layers=tuple(_layers(survey)),
        coverage=coverage,
        absent_series=tuple(name for name in _DRAWN if not _is_in(log, name)),
        unheard_layers=_unheard_layers(log, coverage),
        happenings=tuple(log.happenings),
        configuration=tuple(flat(log.run.get("config"))),
        optimizers=tuple(
            row
            for optimizer in log.model.optimizers
            for row in flat(optimizer.hyperparameters, optimizer.name or optimizer.kind)
        ),
        environment=tuple(flat({key: value for key, value in log.run.items() if key != "config"})),
        recording_seconds=_total(find(log, "network", "recording_seconds")),
    )


def find(log: Log, axis: str, name: str) -> Series | None:
    """A series of the log, or None where the log has none of that name on that axis.

    Args:
        log: A run.
        axis: Group of the log.
        name: Of the series.

    Returns:
        The series.
    """
    return log.series(name, of=axis) if name in log.names.get(axis, ()) else None


def last_number(values: Array) -> float:
    """The last of the values, shape ``(n,)``, that is no NaN; NaN where all are."""
    numbers = values[~np.isnan(values)]
    return float(numbers[-1]) if numbers.size else math.nan


def _run(log: Log) -> Run:
    steps = log.steps
    clock = find(log, "network", "wall_time")
    return Run(
        name=(log.path if log.path.is_dir() else log.path.parent).resolve().name,
        path=str(log.path),
        state=log.state,
        standing=_standing(log),
        started=str(log.run.get("started", "")),
        seconds=last_number(clock.values[:, 0]) if clock is not None else math.nan,
        recorded_steps=len(steps),
        first_step=int(steps[0]) if len(steps) else None,
        last_step=int(steps[-1]) if len(steps) else None,
    )


def _standing(log: Log) -> str:
    if log.state == "live":
        return "The run is still being recorded; this is how it stood when the report was made."
    if log.state == "killed":
        return "The process ended without closing its log; what it had flushed by then is all that there is."
    return f"The run ended and its log is complete: {log.end_reason or 'no reason given'}."


def _verdict(diagnosis: Diagnosis, recorded_steps: int) -> str:
    steps = count(recorded_steps, "recorded step")
    if diagnosis.status == "not_assessable":
        return f"No rule had what it needs: {steps} cannot tell whether the run is well."
    serious = [finding for finding in diagnosis.findings if finding.severity != "note"]
    if not serious:
        return f"No rule found anything wrong in {steps}."
    faults = sum(finding.severity == "fault" for finding in serious)
    kinds = [(faults, "fault"), (len(serious) - faults, "warning")]
    amounts = enumeration([count(amount, noun) for amount, noun in kinds if amount])
    return f"{amounts} in {steps}; the first cause is {_place(serious[0])}."


def _not_found(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    spoken_of = {finding.rule for finding in diagnosis.findings} | set(diagnosis.not_assessed)
    return ((rule.id, rule.summary) for rule in RULES if rule.id not in spoken_of)


def _place(finding: Finding) -> str:
    where = f" in layer {finding.layer}" if finding.layer is not None else ""
    when = f", from step {finding.onset_step:,}" if finding.onset_step is not None else ""
    return f"{finding.rule.replace('_', ' ')}{where}{when}"


def _layers(log: Survey) -> Iterator[LayerRow]:
    digests = {name: log.digest("layers", name) for name in log.names.get("layers", ())}
    last = {
        name: dict(zip(digest.columns, digest.last.tolist(), strict=True)) for name, digest in digests.items()
    }
    sizes = {parameter.name: math.prod(parameter.shape) for parameter in log.model.parameters}
    for layer in log.model.layers:
        yield LayerRow(
            layer.name,
            layer.kind,
            layer.output_shape,
            sum(sizes.get(name, 0) for name in layer.parameters),
            {name: of_layer.get(layer.name, math.nan) for name, of_layer in last.items()},
        )


def _coverage(log: Survey) -> Iterator[CoverageRow]:
    for axis, names in log.names.items():
        for name in names:
            digest = log.digest(axis, name)
            silent = tuple(digest.columns[place] for place in np.flatnonzero(digest.numbers == 0))
            yield CoverageRow(
                axis, name, len(digest.steps), len(digest.columns), int(digest.numbers.sum()), silent
            )


def _unheard_layers(log: Log, coverage: tuple[CoverageRow, ...]) -> tuple[str, ...]:
    of_layers = [row for row in coverage if row.axis == "layers"]
    if not of_layers:
        return ()
    silent = set.intersection(*(set(row.silent) for row in of_layers))
    return tuple(layer.name for layer in log.model.layers if layer.name in silent)


def _is_in(log: Log, name: str) -> bool:
    # Where several models are watched, the name of each pair goes before its series.
    return any(present.split(".")[-1] == name for names in log.names.values() for present in names)


def _total(series: Series | None) -> float:
    return float(np.nansum(series.values)) if series is not None else math.nan


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted keys, each with its value as text.

    Args:
        value: A mapping, or a single value.
        key: What goes before the keys.

    Yields:
        Key and value; nothing where there is nothing.

    Example:
        >>> list(flat({"lr": 0.1, "data": {"name": "digits"}}))
        [('lr', '0.1'), ('data.name', 'digits')]
    """
    if isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from flat(entry, f"{key}.{name}" if key else str(name))
    elif key or value:
        yield key or "config", value if isinstance(value, str) else repr(value)
