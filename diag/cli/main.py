"""The commands, and what becomes of their errors: 0 fine, 1 the check failed, 2 bad usage or unreadable input."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from diag.cli import demo as demonstration
from diag.cli.terminal import overview, verdict
from diag.diagnosis import diagnose
from diag.log import Log, LogError
from diag.log import repair as repair_log

app = typer.Typer(
    help="What goes on inside a network while it trains, and what is wrong with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Run = Annotated[Path, typer.Argument(help="A run's folder, or one of its HDF5 files.", show_default=False)]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print data for a program instead of text for a person.")
]


def main() -> None:
    """Runs the command line; the console script ``diag`` calls it."""
    try:
        app()
    except (LogError, OSError, ValueError) as error:
        Console(stderr=True).print(f"[bold red]diag:[/] {error}", highlight=False, markup=True)
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
) -> None:
    """Write the report of a run, from its log alone."""
    from diag.reporting import write_report  # matplotlib, which no other command needs

    log = Log(run)
    diagnosis = diagnose(log)
    folder = run if run.is_dir() else run.parent
    path = write_report(log, out or folder / "report.html", diagnosis)
    if as_json:
        _print_json({"report": str(path), **diagnosis.to_json()})
    else:
        console = Console()
        console.print(verdict(diagnosis, str(run)))
        console.print(f"Report: {path}", highlight=False, soft_wrap=True)


@app.command()
def info(run: Run, as_json: AsJson = False) -> None:
    """Show what a run's log holds."""
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
