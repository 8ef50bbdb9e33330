"""The demonstration at a terminal: progress, verdicts, and where to look next."""

import os
import shutil
import sys
import webbrowser
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from diag.cli.terminal import verdict
from diag.diagnosis import Diagnosis, diagnose
from diag.log import Log


def run(console: Console, folder: Path, open_report: bool, seed: int) -> None:
    """Trains both runs, prints a verdict of each, and writes their reports."""
    from diag import demo  # scratchnet and scikit-learn, which no other command needs
    from diag.reporting import write_overview, write_report

    folder = _unused(folder)
    logs: list[tuple[Log, Diagnosis, str]] = []
    for experiment in (demo.HEALTHY, demo.SICK):
        console.print(f"\n[bold]{experiment.name}[/]: {experiment.story}", highlight=False)
        with _progress(console) as bar:
            task = bar.add_task("training", total=demo.EPOCHS, accuracy=0.0)
            accuracy = demo.train(
                experiment,
                folder / experiment.name,
                seed=seed,
                progress=lambda done, _total, score: bar.update(task, completed=done, accuracy=score),  # noqa: B023
            )
        log = Log(folder / experiment.name)
        diagnosis = diagnose(log)
        console.print(f"Test accuracy {accuracy:.1%}", highlight=False)
        console.print(verdict(diagnosis, str(folder / experiment.name)))
        write_report(log, folder / experiment.name / "report.html", diagnosis)
        logs.append((log, diagnosis, experiment.story))
    path = write_overview(logs, folder / "report.html")
    console.print(f"\nReport of both:  {path}", highlight=False, soft_wrap=True)
    console.print(f"In TensorBoard:  {_tensorboard()} --logdir {folder}", highlight=False, soft_wrap=True)
    if open_report:
        webbrowser.open(path.resolve().as_uri())


def _unused(folder: Path) -> Path:
    """The folder, or the first numbered one beside it that is not there yet: no run is ever overwritten."""
    if not folder.exists():
        return folder
    return next(path for n in count(2) if not (path := folder.with_name(f"{folder.name}-{n}")).exists())


def _tensorboard() -> str:
    """How to call TensorBoard from here: by its path where the environment is not activated."""
    if shutil.which("tensorboard"):
        return "tensorboard"
    return os.path.relpath(Path(sys.executable).with_name("tensorboard"))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("test accuracy {task.fields[accuracy]:.1%}"),
        TimeElapsedColumn(),
        console=console,
    )
