"""A run in the terminal while it trains: one screen that refreshes until the run ends."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diag.cli.terminal import COLOURS, WORDS, in_short
from diag.curves import Curve, Measure, curves
from diag.diagnosis import Diagnosis, diagnose
from diag.diagnosis.findings import plain_number
from diag.log import Log, LogError
from diag.log.environment import process_of
from diag.log.opening import read_run
from diag.log.schema import log_files

_BARS = "▁▂▃▄▅▆▇█"
_BAR_WIDTH = 30
_DECADES_OF_A_LOG_SCALE = 1.7
_RATE_READINGS = 20
_MOST_MEASURES, _MOST_FINDINGS = 14, 6
# A writer replaces its file when it closes, and may open another: a look may fail once, not for long.
_MOST_FAILURES = 3
# Of the time at most a fifth is spent on looking, however long the run has become.
_REST = 4


@dataclass(frozen=True)
class Snapshot:
    """A run as it stands.

    Attributes:
        path: Of the run.
        state: ``"live"``, ``"closed"`` or ``"killed"``.
        end_reason: Why it ended; None while it has not said so.
        recorded_steps: How many.
        last_step: None where none is recorded.
        steps_per_second: Over the last readings; NaN where nothing tells.
        curves: Its main measures.
        diagnosis: What the rules say so far.
    """

    path: str
    state: str
    end_reason: str | None
    recorded_steps: int
    last_step: int | None
    steps_per_second: float
    curves: Mapping[Measure, Curve]
    diagnosis: Diagnosis

    @classmethod
    def of(cls, log: Log, thresholds: Path | None = None) -> "Snapshot":
        """How a log stands that has just been opened or refreshed, judged by these thresholds."""
        return cls(
            path=str(log.path),
            state=log.state,
            end_reason=log.end_reason,
            recorded_steps=len(log.steps),
            last_step=int(log.steps[-1]) if len(log.steps) else None,
            steps_per_second=_rate(log),
            curves=curves(log),
            diagnosis=diagnose(log, thresholds=thresholds),
        )

    def to_json(self) -> dict[str, Any]:
        """The snapshot as plain data, with the last value of each measure."""
        return {
            "path": self.path,
            "state": self.state,
            "end_reason": self.end_reason,
            "recorded_steps": self.recorded_steps,
            "last_step": self.last_step,
            "steps_per_second": plain_number(self.steps_per_second),
            "measures": {measure.name: plain_number(curve.last) for measure, curve in self.curves.items()},
            "diagnosis": self.diagnosis.to_json(),
        }


def snapshots(run: Path, seconds: float, thresholds: Path | None = None) -> Iterator[Snapshot | None]:
    """The run again and again, so many seconds apart, until it has ended.

    Args:
        run: Its folder, or one of its files; neither need be there yet.
        seconds: The least pause between two looks.
        thresholds: As `diagnose` takes them.

    Yields:
        None while there is no log yet.

    Raises:
        LogError: If the log cannot be read, or its process is gone and left none.
    """
    while not _has_begun(run):
        yield None
        time.sleep(seconds)
    failures, log = 0, Log(run)
    while True:
        began = time.monotonic()
        try:
            log.refresh()
            snapshot = Snapshot.of(log, thresholds)
        except LogError:
            failures += 1
            if failures > _MOST_FAILURES:
                raise
        else:
            failures = 0
            yield snapshot
            if snapshot.state != "live":
                return
        time.sleep(max(seconds, _REST * (time.monotonic() - began)))


def show(console: Console, run: Path, seen: Iterable[Snapshot | None], as_json: bool) -> None:
    """Shows snapshots of a run until there is no more, or until the user ends it."""
    try:
        if as_json:
            _print_lines(seen)
        else:
            with Live(console=console, auto_refresh=False) as live:
                for snapshot in seen:
                    live.update(_waiting(run) if snapshot is None else screen(snapshot), refresh=True)
    except KeyboardInterrupt:
        console.print("The run goes on; only the view has ended.", style="dim")


def tell_board(run: Path, snapshot: Snapshot) -> None:
    """Shows TensorBoard the verdicts so far, and the maps that go with them."""
    from diag.verdict_board import write_verdicts  # matplotlib

    write_verdicts(Log(run), snapshot.diagnosis)


def told_to_board(run: Path, seen: Iterable[Snapshot | None]) -> Iterator[Snapshot | None]:
    """The same snapshots; on the way TensorBoard hears of each change of the verdicts, and of the end."""
    told: Diagnosis | None = None
    for snapshot in seen:
        if snapshot is not None and (snapshot.diagnosis != told or snapshot.state != "live"):
            tell_board(run, snapshot)
            told = snapshot.diagnosis
        yield snapshot


def _print_lines(seen: Iterable[Snapshot | None]) -> None:
    for snapshot in seen:
        if snapshot is not None:
            print(json.dumps(snapshot.to_json()), flush=True)  # noqa: T201  # it is what is asked for


def screen(snapshot: Snapshot) -> RenderableType:
    """One screen: where it stands, the main measures, and the verdicts so far."""
    status = snapshot.diagnosis.status
    verdict = Text("so far: " if snapshot.state == "live" else "")
    verdict.append(WORDS[status], style=f"bold {COLOURS[status]}")
    parts = [_heading(snapshot), _measures(snapshot.curves), verdict]
    parts += in_short(snapshot.diagnosis, _MOST_FINDINGS)
    return Panel(Group(*parts), title=Text(snapshot.path), border_style=COLOURS[status], box=box.ROUNDED)


def sparkline(values: NDArray[np.float64], width: int = _BAR_WIDTH) -> str:
    """A line of bars, lowest to highest; positive values over many powers of ten by their logarithm.

    Args:
        values: Shape ``(n,)``.
        width: The most bars; each is the median of its readings.

    Returns:
        A blank where there is no number, ``×`` where there is no finite one.

    Example:
        >>> sparkline(np.array([0.0, 1.0, np.nan, 2.0, np.inf]))
        '▁▅ █×'
    """
    if not len(values):
        return ""
    with np.errstate(invalid="ignore"):
        heights = np.array([_median(part) for part in np.array_split(values, min(width, len(values)))])
    finite = heights[np.isfinite(heights)]
    if finite.size and finite.min() > 0 and np.ptp(np.log10(finite)) >= _DECADES_OF_A_LOG_SCALE:
        heights, finite = np.log10(heights), np.log10(finite)
    return "".join(_bar(height, finite) for height in heights)


def _median(values: NDArray[np.float64]) -> float:
    numbers = values[~np.isnan(values)]
    return float(np.median(numbers)) if numbers.size else float("nan")


def _bar(height: float, among: NDArray[np.float64]) -> str:
    if not np.isfinite(height):
        return " " if np.isnan(height) else "×"
    span = float(np.ptp(among)) or 1.0
    return _BARS[round((height - float(among.min())) / span * (len(_BARS) - 1))]


def _has_begun(run: Path) -> bool:
    if not run.is_dir():
        return run.exists()
    # Whose process is gone will not begin any more: Log says what is missing.
    return bool(log_files(run)) or process_of(read_run(run)) == "gone"


def _rate(log: Log) -> float:
    if "wall_time" not in log.names["network"]:
        return float("nan")
    clock = log.series("wall_time", of="network")
    steps, seconds = clock.steps[-_RATE_READINGS:], clock.values[-_RATE_READINGS:, 0]
    if len(steps) < 2 or not seconds[-1] > seconds[0]:
        return float("nan")
    return float((steps[-1] - steps[0]) / (seconds[-1] - seconds[0]))


def _waiting(run: Path) -> RenderableType:
    return Text(
        f"Waiting for a log in {run}: the run has not started, or is in its first steps. Ctrl-C ends.",
        style="dim",
    )


def _heading(snapshot: Snapshot) -> RenderableType:
    ended = f" ({snapshot.end_reason})" if snapshot.end_reason else ""
    parts = [f"{snapshot.state}{ended}"]
    if snapshot.last_step is not None:
        parts += [f"step {snapshot.last_step:,}", f"{snapshot.recorded_steps:,} recorded"]
    if not np.isnan(snapshot.steps_per_second):
        parts.append(f"{snapshot.steps_per_second:.3g} steps a second")
    return Text("  ·  ".join(parts), style="bold")


def _measures(found: Mapping[Measure, Curve]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    for measure, curve in list(found.items())[:_MOST_MEASURES]:
        table.add_row(Text(measure.name), f"{curve.last:.4g}", sparkline(curve.values))
    return table
