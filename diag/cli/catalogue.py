"""The catalogue of probes, as text for a person or data for a program."""

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

import probes


def listing() -> Group:
    """Every registered probe: what it is, what it takes and gives, and who defined it."""
    return Group(*(line for entry in entries() for line in _lines(entry)))


def _lines(entry: dict[str, Any]) -> list[RenderableType]:
    facts = f"{' and '.join(entry['eats'])} -> {entry['unit']}; {entry['cost']}; {entry['source']}"
    return [
        Text(entry["name"], style="bold"),
        Padding(Text(entry["summary"]), (0, 0, 0, 4)),
        Padding(Text(facts, style="dim"), (0, 0, 0, 4)),
    ]


def entries() -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "name": probe.name,
            "unit": probe.unit,
            "eats": _foods(probe),
            "cost": probe.cost,
            "source": probe.source,
            "summary": (probe.function.__doc__ or "").strip().partition("\n")[0],
        }
        for probe in probes.catalogue()
    ]


def _foods(probe: probes.Probe) -> list[str]:
    return list(probe.eats) if isinstance(probe.eats, tuple) else [probe.eats]
