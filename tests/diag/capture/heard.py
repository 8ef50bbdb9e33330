"""Somebody who listens through a capture, and keeps a copy of all that is told."""

from contextlib import nullcontext
from typing import Any

import numpy as np

from diag.capture import open_capture


class Heard:
    """What a capture told, in order."""

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        criterion: Any = None,
        name: str = "",
        wants: frozenset[str] = frozenset(),
    ) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.signals: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        self.capture: Any = open_capture(
            model,
            optimizer,
            criterion,
            name=name,
            hear=lambda event: self.events.append((event.kind, event.subject, copied(event.array))),
            before_step=lambda _: self.signals.append("before"),
            after_step=lambda _: self.signals.append("after"),
            tell=lambda *happening: self.told.append(happening),
            work=lambda *_: nullcontext(),
            wants=wants,
        )

    def order(self) -> list[tuple[str, Any]]:
        return [(kind, subject) for kind, subject, _ in self.events]

    def layers(self) -> list[str]:
        return [subject for kind, subject, _ in self.events if kind == "activation"]

    def arrays(self, kind: str) -> Any:
        return next(array for k, _, array in self.events if k == kind)


def listening(*arguments: Any, **named: Any) -> Heard:
    """Somebody who listens from now on."""
    heard = Heard(*arguments, **named)
    heard.capture.listening = True
    return heard


def copied(array: Any) -> Any:
    if isinstance(array, list | tuple):
        return [copied(part) for part in array]
    return array.clone() if hasattr(array, "clone") else np.array(array)
