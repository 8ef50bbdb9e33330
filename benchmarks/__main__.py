"""``python -m benchmarks [NAME] [--json FILE]``: runs one benchmark, or all of them."""

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Row, machine

# Imported when it is their turn, for not all of them need the same libraries.
BENCHMARKS = ("speed", "overhead", "probes", "curvature", "report", "faults")
_WORDS = {True: "yes", False: "no", None: ""}


def main(
    name: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}; all if not given.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Measure, print a table, and say whether each figure keeps its limit."""
    if name is not None and name not in BENCHMARKS:
        raise typer.BadParameter(f"needs one of {', '.join(BENCHMARKS)}, got {name!r}")
    results = []
    for benchmark in [name] if name else BENCHMARKS:
        rows = []
        for row in import_module(f"benchmarks.{benchmark}").run():
            # A long benchmark that is cut off has said something.
            Console(stderr=True).print(f"{row.case}: {row.figure:.3f} {row.unit}", highlight=False)
            rows.append(row)
        Console().print(_table(benchmark, rows))
        results.append(
            {"benchmark": benchmark, "machine": machine(), "rows": [row.to_json() for row in rows]}
        )
    if file is not None:
        file.write_text(json.dumps(results[0] if name else results, indent=2) + "\n")


def _table(name: str, rows: list[Row]) -> Table:
    table = Table(title=name)
    for heading in ("case", "median", "minimum", "limit", "holds"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row in rows:
        limit = "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {row.limit:.2f}"
        table.add_row(
            f"{row.case} [dim]({row.unit})[/dim]",
            f"{row.figure:.3f}",
            f"{row.least:.3f}",
            limit,
            _WORDS[row.holds],
        )
    return table


typer.run(main)
