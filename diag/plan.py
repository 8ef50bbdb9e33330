"""What becomes of the numbers that were measured in a step: those that follow from several, and where all belong."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import probes
from diag.events import Column, Columns, Layer
from probes.fused import combined_norms, gradient_norm_ratios

# A row for each step, a column for each number.
Block = NDArray[np.float64]


class Taken(NamedTuple):
    """The numbers of a step, and what becomes of them."""

    plan: "Plan"
    numbers: NDArray[np.float64]


class Plan:
    """What becomes of a step's numbers, as long as the same come in the same order.

    A `Plan` of `cells` alone hands the numbers on as they are.

    Args:
        cells: Where they belong, measure by measure.
        layers: In order of execution.
        omit: Names to leave out.
        prefix: Goes before the names of the network's readings.

    Attributes:
        cells: As given.
        columns: Where the numbers that `block` gives belong.

    Example:
        >>> cells = [(Column(name, "0.weight", "parameters"),) for name in ("weight_norm", "update_norm")]
        >>> plan = Plan(cells, [])
        >>> plan.columns.cells[-1].name, plan.block(np.array([[2.0, 0.1], [4.0, 0.1]])).tolist()
        ('update_ratio', [[2.0, 0.1, 0.05], [4.0, 0.1, 0.025]])
    """

    def __init__(
        self,
        cells: list[tuple[Column, ...]],
        layers: Iterable[Layer] = (),
        omit: Collection[str] = (),
        prefix: str = "",
    ) -> None:
        self.cells = cells
        measured = list(chain.from_iterable(cells))
        # Where a layer ran several times in a step, its last run counts.
        places = {cell: place for place, cell in enumerate(measured)}
        self._following = [*_update_ratios(places), *_over_depth(places, layers)]
        following = chain.from_iterable(task.cells for task in self._following)
        places |= {cell: place for place, cell in enumerate(following, len(measured))}
        kept = {cell: place for cell, place in places.items() if cell.name not in omit}
        self._kept = np.fromiter(kept.values(), np.intp)
        self.columns = Columns(_prefixed(cell, prefix) for cell in kept)

    def block(self, numbers: Block) -> Block:
        """The numbers of several steps, and those that follow from them.

        Args:
            numbers: As they were measured, shape ``(steps, numbers)``.

        Returns:
            Shape ``(steps, columns)``.
        """
        following = [task.function(numbers) for task in self._following]
        return np.concatenate([numbers, *following], axis=1)[:, self._kept]


@lru_cache(maxsize=16)
def as_they_are(names: tuple[str, ...]) -> Plan:
    """The plan of numbers of the network from which nothing follows."""
    return Plan([tuple(Column(name, "", "network") for name in names)])


class _Following(NamedTuple):
    """What follows from the numbers of each step: a function of the block, and where its columns belong."""

    cells: tuple[Column, ...]
    function: Callable[[Block], Block]


def _update_ratios(places: Mapping[Column, int]) -> Iterator[_Following]:
    weights, updates = _of_parameters(places, "weight_norm"), _of_parameters(places, "update_norm")
    moved = [name for name in updates if name in weights]
    above, below = [updates[name] for name in moved], [weights[name] for name in moved]
    if moved:
        cells = tuple(Column("update_ratio", name, "parameters") for name in moved)
        yield _Following(cells, lambda block: probes.ratio_of_norms(block[:, above], block[:, below]))


def _over_depth(places: Mapping[Column, int], layers: Iterable[Layer]) -> Iterator[_Following]:
    """Gradient norms of layers and of the network, and their ratio from the first layer to the last."""
    norms = _of_parameters(places, "gradient_norm")
    parts = {layer.name: [norms[name] for name in layer.parameters if name in norms] for layer in layers}
    parts = {layer: some for layer, some in parts.items() if some}
    starts = [0, *accumulate(map(len, parts.values()))][:-1]
    side_by_side, every = list(chain.from_iterable(parts.values())), list(norms.values())

    def of_layers(block: Block) -> Block:
        found = combined_norms(block[:, side_by_side], starts)
        return found if len(starts) == 1 else np.column_stack([found, gradient_norm_ratios(found)])

    if parts:
        ratio = (Column("gradient_norm_ratio", "", "network"),) if len(parts) > 1 else ()
        yield _Following((*(Column("gradient_norm", layer, "layers") for layer in parts), *ratio), of_layers)
    if norms:
        total = (Column("gradient_norm", "", "network"),)
        yield _Following(total, lambda block: combined_norms(block[:, every], [0]))


def _of_parameters(places: Mapping[Column, int], name: str) -> dict[str, int]:
    """The places of one name's numbers, by parameter."""
    return {cell.subject: place for cell, place in places.items() if cell[::2] == (name, "parameters")}


def _prefixed(cell: Column, prefix: str) -> Column:
    return cell._replace(name=prefix + cell.name) if cell.axis == "network" else cell
