"""What follows from the names of a step's numbers, worked out once for the same columns and not at every step."""

from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from diag.events import Column, Columns, Reading, Readings


@lru_cache(maxsize=16)
def of_network(names: tuple[str, ...]) -> Columns:
    """The columns of numbers that are the network's."""
    return Columns(Column(name, "", "network") for name in names)


@lru_cache(maxsize=16)
def side_by_side(*columns: Columns) -> Columns:
    """The columns of several vectors that are put one behind the other."""
    return Columns(chain.from_iterable(some.cells for some in columns))


@lru_cache(maxsize=16)
def _places_of(ending: str, columns: Columns) -> NDArray[np.intp]:
    """Where the numbers stand whose names end so."""
    return np.array([i for i, cell in enumerate(columns.cells) if cell.name.endswith(ending)], np.intp)


def non_finite(readings: Readings) -> list[Reading]:
    """The readings that tell of something that is not finite."""
    counts = _places_of("_non_finite_count", readings.columns)
    losses = _places_of("criterion_loss", readings.columns)
    counted = counts[readings.values[counts] > 0]
    lost = losses[~np.isfinite(readings.values[losses])]
    return [readings[place] for place in sorted([*counted, *lost])]
