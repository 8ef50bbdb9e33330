"""The commands, and what becomes of their errors: 0 fine, 1 the check failed, 2 bad usage or unreadable input."""

import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from diag.cli import catalogue
from diag.cli import demo as demonstration
from diag.cli import tail as live
from diag.cli.terminal import in_short, overview, verdict
from diag.diagnosis import diagnose
from diag.diagnosis.findings import SEVERITIES
from diag.log import Log, LogError
from diag.log import repair as repair_log

app = typer.Typer(
    help="What goes on inside a network while it trains, and what is wrong with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class FailOn(StrEnum):
    """How severe a finding must be for a check to fail."""

    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


class Form(StrEnum):
    """What a run can be exported to."""

    CSV = "csv"
    PARQUET = "parquet"
    NETCDF = "netcdf"


Run = Annotated[Path, typer.Argument(help="A run's folder, or one of its HDF5 files.", show_default=False)]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print data for a program instead of text for a person.")
]
Thresholds = Annotated[
    Path | None,
    typer.Option(
        "--thresholds", help="A TOML file with numbers to judge by in place of ours, a table for each rule."
    ),
]

ToBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Show TensorBoard the verdicts and maps too, in RUN/diagnosis/."),
]


def main() -> None:
    """Runs the command line; the console script ``diag`` calls it."""
    try:
        app()
    except (LogError, OSError, ValueError, ImportError) as error:
        # A path may hold what would be markup.
        Console(stderr=True).print(f"[bold red]diag:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the two runs are recorded.")] = Path("runs/demo"),
    open_report: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the report in the browser; by default, at a terminal."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of data, weights and order.")] = 0,
) -> None:
    """Train a healthy and a sick network on handwritten digits, and explain both."""
    demonstration.run(Console(), folder, sys.stdout.isatty() if open_report is None else open_report, seed)


@app.command()
def report(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write (.html, .md or .json); RUN/report.html if not given."
        ),
    ] = None,
    as_json: AsJson = False,
    tensorboard: ToBoard = False,
    thresholds: Thresholds = None,
) -> None:
    """Write the report of a run, from its log alone."""
    from diag.reporting import Survey, write_report  # matplotlib, which few commands need
    from diag.verdict_board import write_verdicts

    log = Survey(Log(run))
    diagnosis = diagnose(log, thresholds=thresholds)
    folder = run if run.is_dir() else run.parent
    path = write_report(log, out or folder / "report.html", diagnosis)
    if tensorboard:
        write_verdicts(log, diagnosis)
    if as_json:
        _print_json({"report": str(path), **diagnosis.to_json()})
    else:
        console = Console()
        console.print(verdict(diagnosis, str(run)))
        console.print(f"Report: {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def check(
    run: Run,
    fail_on: Annotated[
        FailOn, typer.Option(help="The check fails where a finding is as severe as this, or more.")
    ] = FailOn.WARNING,
    as_json: AsJson = False,
    thresholds: Thresholds = None,
) -> None:
    """Exit with 1 if something is wrong with a run, with 0 if not or if nothing could be assessed."""
    diagnosis = diagnose(Log(run), thresholds=thresholds)
    failing = [
        finding
        for finding in diagnosis.findings
        if SEVERITIES.index(finding.severity) >= SEVERITIES.index(fail_on.value)
    ]
    if as_json:
        _print_json({"passed": not failing, "fail_on": fail_on.value, **diagnosis.to_json()})
    else:
        console = Console()
        outcome = "failed" if failing else "passed"
        if diagnosis.status == "not_assessable":
            outcome += ", but no rule had what it needs"
        console.print(f"{escape(str(run))}: {outcome}", style="bold", highlight=False, soft_wrap=True)
        console.print(*in_short(diagnosis, len(diagnosis.findings)), sep="\n", soft_wrap=True)
    raise typer.Exit(1 if failing else 0)


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two runs or more; the first is what the others are held against.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write too (.html, .md or .json).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: settings that differ, verdicts, measures, seeds, and where they part."""
    from diag.cli.comparison import side_by_side as shown  # matplotlib
    from diag.comparison import side_by_side, write_comparison

    comparison = side_by_side([Log(run) for run in runs])
    path = None if out is None else write_comparison(comparison, out)
    if as_json:
        _print_json(comparison.to_json())
    else:
        console = Console()
        console.print(shown(comparison))
        if path is not None:
            console.print(f"Comparison: {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def tail(
    run: Run,
    once: Annotated[bool, typer.Option("--once", help="Show the run as it stands, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks, at least.")] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for a program at every look.")
    ] = False,
    tensorboard: ToBoard = False,
    thresholds: Thresholds = None,
) -> None:
    """Watch a run while it trains: step, rate, measures and verdicts so far, until it ends."""
    if not once:
        seen: Iterable[live.Snapshot | None] = live.snapshots(run, every, thresholds)
        live.show(Console(), run, live.told_to_board(run, seen) if tensorboard else seen, as_json)
        return
    snapshot = live.Snapshot.of(Log(run), thresholds)
    if tensorboard:
        live.tell_board(run, snapshot)
    if as_json:
        _print_json(snapshot.to_json())
    else:
        Console().print(live.screen(snapshot))


@app.command()
def export(
    run: Run,
    to: Annotated[Form, typer.Option(help="Parquet needs pyarrow, netCDF xarray and h5netcdf.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; RUN/export.csv, .parquet or .nc if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write all the numbers of a run as one table, or as netCDF with a group for each axis."""
    from diag.export import export as export_log

    path = export_log(Log(run), to.value, out)
    if as_json:
        _print_json({"export": str(path)})
    else:
        Console().print(f"Export: {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def info(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run's folder, or one of its HDF5 files.", show_default=False),
    ] = None,
    of_probes: Annotated[
        bool, typer.Option("--probes", help="List every measurement instead: unit, input, cost, source.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run's log holds, or what can be measured."""
    if of_probes == (run is not None):
        raise typer.BadParameter("info needs either a run or --probes; name the run's folder")
    if run is None:
        _print_json(catalogue.entries()) if as_json else Console().print(catalogue.listing())
        return
    log = Log(run)
    if as_json:
        _print_json(_contents(log))
    else:
        Console().print(overview(log))


@app.command()
def repair(run: Run, as_json: AsJson = False) -> None:
    """Close the log of a run that was killed, so that every HDF5 program can open it."""
    done = repair_log(run)
    if as_json:
        _print_json({"repaired": done})
    else:
        Console().print("\n".join(done) or "Nothing to repair.", highlight=False, soft_wrap=True)


def _contents(log: Log) -> dict[str, Any]:
    return {
        "path": str(log.path),
        "state": log.state,
        "end_reason": log.end_reason,
        "recorded_steps": len(log.steps),
        "first_step": int(log.steps[0]) if len(log.steps) else None,
        "last_step": int(log.steps[-1]) if len(log.steps) else None,
        "layers": [{"name": layer.name, "kind": layer.kind} for layer in log.model.layers],
        "parameters": len(log.model.parameters),
        "series": {axis: list(names) for axis, names in log.names.items()},
        "happenings": [happening._asdict() for happening in log.happenings],
        "run": log.run,
    }


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
