"""How the entries of activations, gradients and weights are spread over the powers of two, now and then."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import probes
from diag.events import Axis, Event, Histogram
from probes.arrays import readable

# What is counted of an event: the name of the histogram, and whose it is.
_NAMES: dict[str, tuple[str, Axis]] = {
    "activation": ("activation_histogram", "layers"),
    "gradient": ("gradient_histogram", "parameters"),
    "weight": ("weight_histogram", "parameters"),
}


class Histograms:
    """Hears the events of a step and counts entries by `probes.magnitude_histogram`.

    Where a layer runs several times in a step, its last run counts.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Axis], dict[str, Any]] = {}

    def hear(self, event: Event) -> None:
        """Counts the entries of one event, at once: the array is lent for the call."""
        if event.kind not in _NAMES:
            return
        counts = self._counts.setdefault(_NAMES[event.kind], {})
        for subject, array in _arrays(event):
            counts[subject] = probes.magnitude_histogram(readable(array))

    def take(self) -> list[Histogram]:
        """The histograms of the step; forgets them."""
        taken, self._counts = self._counts, {}
        return [
            Histogram(name, axis, tuple(counts), _on_host(list(counts.values())))
            for (name, axis), counts in taken.items()
            if counts
        ]


def _arrays(event: Event) -> Iterable[tuple[str, Any]]:
    if isinstance(event.subject, str):
        return [(event.subject, event.array)]
    return zip(event.subject, event.array, strict=True)


def _on_host(counts: list[Any]) -> NDArray[np.int64]:
    return probes.to_host(counts).reshape(len(counts), -1).astype(np.int64)
