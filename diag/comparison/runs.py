"""What several logs say, side by side, before any form is chosen."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from diag.comparison.parting import CRITERION, Parting, part
from diag.curves import Curve, Measure, curves
from diag.diagnosis import Diagnosis, diagnose
from diag.diagnosis.findings import plain_number
from diag.log import Log
from diag.reporting.facts import flat

SCHEMA = 1
# What differs between any two processes and says nothing of the training.
_PASSING = frozenset({"config", "argv", "host", "pid", "started", "seed"})


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One of the runs.

    Attributes:
        name: Unique among them: as much of the end of its path as that takes.
        path: Where its log lies.
        state: ``"live"``, ``"closed"`` or ``"killed"``.
        recorded_steps: How many.
        last_step: None where no step was recorded.
        seed: As its configuration has it; None without one.
        diagnosis: What the rules say.
        settings: Dotted key and value: configuration, optimisers, model, versions, commit.
        recipe: All of that which decides what is trained, but for the seed.
        curves: Its main measures.
    """

    name: str
    path: str
    state: str
    recorded_steps: int
    last_step: int | None
    seed: str | None
    diagnosis: Diagnosis
    settings: Mapping[str, str]
    recipe: tuple[tuple[str, str], ...]
    curves: Mapping[Measure, Curve]


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs: its dotted key, and its value in each, None where it has none."""

    key: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Entry:
    """One line of a figure: a run by itself, or several that differ in the seed alone."""

    label: str
    runs: tuple[ComparedRun, ...]

    def curve(self, measure: Measure) -> tuple[Curve, "NDArray[np.float64] | None"] | None:
        """The mean over its runs at their common steps, and half the width of its 95 % interval.

        Returns:
            None where no run has the measure; without an interval where one run has.
        """
        found = [run.curves[measure] for run in self.runs if measure in run.curves]
        if len(found) < 2:
            return (found[0], None) if found else None
        steps = found[0].steps
        for curve in found[1:]:
            steps = np.intersect1d(steps, curve.steps)
        mean, half = _mean_and_half_width(np.stack([curve.at(steps) for curve in found]))
        return Curve(steps, mean), half


@dataclass(frozen=True)
class Outcome:
    """The last value of a measure: of one run, or the mean over seeds with its 95 % interval (Student's t).

    Attributes:
        measure: Its name.
        entry: The run, or the first of the seeds.
        n: Over how many runs.
        mean: Over these.
        low: Lower end of the interval; NaN for one run.
        high: Upper end of the interval; NaN for one run.
    """

    measure: str
    entry: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: In the order in which they were given; the first is the baseline.
        differences: Settings that are not the same in all.
        entries: Runs by themselves, and groups of those that differ in the seed alone.
        measures: All that any of the runs has.
        outcomes: Last values, by measure and entry.
        partings: Of every run from the first, the measure that parts first on top.
    """

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    entries: tuple[Entry, ...]
    measures: tuple[Measure, ...]
    outcomes: tuple[Outcome, ...]
    partings: tuple[Parting, ...]

    @property
    def groups(self) -> tuple[Entry, ...]:
        """The entries of more than one run."""
        return tuple(entry for entry in self.entries if len(entry.runs) > 1)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data.

        Keys of the object::

            schema       version of this form, 1
            runs         name, path, state, recorded_steps, last_step, seed, diagnosis of each
            differences  key, and values in the order of the runs
            groups       label, and names of the runs that differ in the seed alone
            outcomes     measure, entry, n, mean, low, high (95 %, Student's t) of the last values
            criterion    when two runs count as apart
            partings     run, baseline, measure, common_steps, first_difference, apart_from

        Returns:
            What JSON can carry: a number that is none is None, an infinity is text.
        """
        return {
            "schema": SCHEMA,
            "runs": [_plain_run(run) for run in self.runs],
            "differences": [
                {"key": difference.key, "values": list(difference.values)} for difference in self.differences
            ],
            "groups": [
                {"label": group.label, "runs": [run.name for run in group.runs]} for group in self.groups
            ],
            "outcomes": [_plain(asdict(outcome)) for outcome in self.outcomes],
            "criterion": CRITERION,
            "partings": [asdict(parting) for parting in self.partings],
        }


def side_by_side(logs: Sequence[Log]) -> Comparison:
    """Compares runs by their logs alone.

    Args:
        logs: At least two, of different runs; the first is what the others are held against.

    Returns:
        The comparison.

    Raises:
        ValueError: If there are fewer than two, or two of one run.
    """
    if len(logs) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(logs)}; diag.report tells of one")
    names = _names([log.path for log in logs])
    runs = tuple(_run(name, log) for name, log in zip(names, logs, strict=True))
    entries = tuple(_entries(runs))
    measures = tuple(dict.fromkeys(measure for run in runs for measure in run.curves))
    return Comparison(
        runs,
        tuple(_differences(runs)),
        entries,
        measures,
        tuple(_outcomes(entries, measures)),
        tuple(_partings(runs)),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """As many of the last parts of each path as tell all of them apart."""
    parts = [_folder(path).parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path, own in zip(paths, parts, strict=True) if parts.count(own) > 1)
        raise ValueError(f"compare needs different runs; {twice} came more than once; name each run once")
    tails = (["/".join(own[-size:]) for own in parts] for size in count(1))
    return next(names for names in tails if len(set(names)) == len(names))


def _folder(path: Path) -> Path:
    whole = path.resolve()
    return whole.parent if whole.name == "log.h5" else whole


def _run(name: str, log: Log) -> ComparedRun:
    config = dict(flat(log.run.get("config")))
    own = {**config, **dict(_model(log))}
    around = dict(flat({key: value for key, value in log.run.items() if key not in _PASSING}))
    return ComparedRun(
        name=name,
        path=str(log.path),
        state=log.state,
        recorded_steps=len(log.steps),
        last_step=int(log.steps[-1]) if len(log.steps) else None,
        seed=next((value for key, value in config.items() if _is_seed(key)), None),
        diagnosis=diagnose(log),
        settings={**own, **around},
        recipe=tuple(sorted((key, value) for key, value in own.items() if not _is_seed(key))),
        curves=curves(log),
    )


def _is_seed(key: str) -> bool:
    return key.rpartition(".")[2] == "seed"


def _model(log: Log) -> Iterator[tuple[str, str]]:
    for optimizer in log.model.optimizers:
        yield from flat(
            {"kind": optimizer.kind, **optimizer.hyperparameters}, f"watched {optimizer.name or 'optimizer'}"
        )
    shapes = (f"{layer.kind} {'×'.join(map(str, layer.output_shape))}".strip() for layer in log.model.layers)
    yield "watched layers", ", ".join(shapes)


def _differences(runs: Sequence[ComparedRun]) -> Iterator[Difference]:
    for key in dict.fromkeys(key for run in runs for key in run.settings):
        values = tuple(run.settings.get(key) for run in runs)
        if len(set(values)) > 1:
            yield Difference(key, values)


def _entries(runs: Sequence[ComparedRun]) -> Iterator[Entry]:
    """Each run by itself, but for those of one recipe with seeds of their own."""
    groups: dict[Any, dict[str, ComparedRun]] = {}
    for run in runs:
        # The same seed once more is no further sample, and a run without one may be anything.
        is_new = run.seed is not None and run.seed not in groups.get(run.recipe, {})
        groups.setdefault(run.recipe if is_new else run.name, {})[run.seed or ""] = run
    for group in groups.values():
        first, *others = group.values()
        label = first.name if not others else f"{first.name} and {len(others)} more (n = {len(group)})"
        yield Entry(label, tuple(group.values()))


def _mean_and_half_width(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the first axis, of at least two runs."""
    n = len(values)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = values.std(axis=0, ddof=1)
        return values.mean(axis=0), stdtrit(n - 1, 0.975) * spread / math.sqrt(n)


def _outcomes(entries: Sequence[Entry], measures: Sequence[Measure]) -> Iterator[Outcome]:
    for measure in measures:
        for entry in entries:
            last = [run.curves[measure].last for run in entry.runs if measure in run.curves]
            if len(last) == 1:
                yield Outcome(measure.name, entry.label, 1, last[0], math.nan, math.nan)
            elif last:
                mean, half = _mean_and_half_width(np.array(last))
                low, high = float(mean - half), float(mean + half)
                yield Outcome(measure.name, entry.label, len(last), float(mean), low, high)


def _partings(runs: Sequence[ComparedRun]) -> Iterator[Parting]:
    baseline, *others = runs
    for run in others:
        partings = [
            part(run.name, baseline.name, measure, curve, baseline.curves[measure])
            for measure, curve in run.curves.items()
            if measure in baseline.curves
        ]
        yield from sorted(
            partings, key=lambda parting: math.inf if parting.apart_from is None else parting.apart_from
        )


def _plain_run(run: ComparedRun) -> dict[str, Any]:
    kept = ("name", "path", "state", "recorded_steps", "last_step", "seed")
    return {key: getattr(run, key) for key in kept} | {"diagnosis": run.diagnosis.to_json()}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain_number(value) if isinstance(value, float) else value for key, value in values.items()}
