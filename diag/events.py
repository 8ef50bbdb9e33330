"""The words that all of diag shares: what is heard, what is read from it, and who speaks.

An `Event` is something that the model did, with its arrays lent for the call only. A `Reading`
is one number that a probe made of it; `Readings` are all those of a step, as one vector. `Layer`,
`Parameter`, `Optimizer` and `Criterion` describe the speakers; `Happening` is for what no number can say.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Axis = Literal["layers", "parameters", "network", "curvature"]
EventKind = Literal[
    "activation",
    "output_gradient",
    "input",
    "prediction",
    "target",
    "loss",
    "weight",
    "gradient",
    "unclipped_gradient",
    "moved_weight",
]


class Event(NamedTuple):
    """Something that the model did; whoever hears it may read the array during the call, not keep it.

    A forward or backward event has one subject (a layer, or ``""`` for the network) and one array. An
    optimiser's ``weight`` (before the step), ``gradient`` and ``moved_weight`` (after the step) events carry a
    tuple of parameter names and a list of arrays beside it, so that norms of a whole step can be taken in one
    call; a parameter without a gradient is left out. One and the same list, lent again, holds the same arrays.
    """

    kind: EventKind
    subject: str | tuple[str, ...]
    array: Any


class Reading(NamedTuple):
    """One number of one step: ``Reading("dead_unit_rate", "features.1", 0.71, "layers")``.

    ``axis`` is the group of the log. ``subject`` is the layer or the parameter; it is ``""`` for the
    network and for curvature. ``value`` is a float, or a 1-D array for a curvature quantity with an index
    (the k largest eigenvalues); NaN means "no number".
    """

    name: str
    subject: str
    value: Any
    axis: Axis


class Column(NamedTuple):
    """Where a number belongs: `Reading` without its value."""

    name: str
    subject: str
    axis: Axis


class Columns:
    """Where the numbers of a step belong, in their order.

    They stay the same object from step to step while the model does the same, and are equal to nothing
    else: whoever needs something that follows from hundreds of names works it out once for each object.

    Attributes:
        cells: One for each number.
    """

    def __init__(self, cells: Iterable[Column]) -> None:
        self.cells = tuple(cells)

    @cached_property
    def by_axis(self) -> dict[Axis, tuple["Columns", NDArray[np.intp]]]:
        """The columns of each axis that has any, with their positions here."""
        positions: dict[Axis, list[int]] = {}
        for position, cell in enumerate(self.cells):
            positions.setdefault(cell.axis, []).append(position)
        return {
            axis: (Columns(self.cells[position] for position in some), np.array(some))
            for axis, some in positions.items()
        }


class Readings(Sequence[Reading]):
    """The readings of one step that are single numbers: a vector of float64, and what its entries are.

    It can be read as a sequence of `Reading`, one by one; the sinks take the vector.

    Example:
        >>> columns = Columns([Column("dead_unit_rate", "features.1", "layers")])
        >>> list(Readings(columns, np.array([0.71])))
        [Reading(name='dead_unit_rate', subject='features.1', value=0.71, axis='layers')]
    """

    __slots__ = ("columns", "values")

    def __init__(self, columns: Columns, values: NDArray[np.float64]) -> None:
        self.columns = columns
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        name, subject, axis = self.columns.cells[index]
        return Reading(name, subject, float(self.values[index]), axis)

    def __iter__(self) -> Iterator[Reading]:
        for (name, subject, axis), value in zip(self.columns.cells, self.values.tolist(), strict=True):
            yield Reading(name, subject, value, axis)

    def by_axis(self) -> dict[Axis, "Readings"]:
        """The readings of each axis that has any."""
        split = self.columns.by_axis.items()
        return {axis: Readings(columns, self.values[positions]) for axis, (columns, positions) in split}


@dataclass(frozen=True)
class Layer:
    """A layer as the log describes it.

    Attributes:
        name: Dotted name in the model.
        kind: Class name, such as ``"Linear"``.
        output_shape: Of one example, without the batch; ``()`` before the first forward pass.
        parameters: Full names of its own parameters.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()

    @property
    def has_two_modes(self) -> bool:
        """Whether it is another function in training than in evaluation."""
        return self.kind.startswith(("Dropout", "AlphaDropout", "FeatureAlphaDropout")) or self.uses_batch

    @property
    def uses_batch(self) -> bool:
        """Whether, in training, what it makes of an example depends on the others of the batch."""
        return self.kind.startswith(("BatchNorm", "SyncBatchNorm"))


@dataclass(frozen=True)
class Parameter:
    """A parameter as the log describes it.

    Attributes:
        name: Dotted name in the model.
        layer: The layer that owns it.
        shape: Of the whole, wherever its parts lie.
        is_trained: Whether an optimiser moves it.
        shards: Over how many ranks its entries are spread; 1 where every rank holds all of them.
        requires_grad: Whether it asks for a gradient; what does not is frozen on purpose.
        is_uniform: Whether it is a vector that does not move and holds one number throughout, as a bias or a scale
            that was never trained. Of what moves it says nothing and is False.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    is_trained: bool = True
    shards: int = 1
    requires_grad: bool = True
    is_uniform: bool = False


@dataclass(frozen=True)
class Optimizer:
    """An optimiser: the name it is watched under, its class name, its hyperparameters at that time."""

    name: str
    kind: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Criterion:
    """A loss module: the name of the pair that it is watched with, its class name, how it reduces examples.

    ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``; empty where the module does not say.
    """

    name: str
    kind: str
    reduction: str = ""


@dataclass(frozen=True)
class Model:
    """All that is watched; layers stand in order of execution."""

    layers: tuple[Layer, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    optimizers: tuple[Optimizer, ...] = ()
    criteria: tuple[Criterion, ...] = ()


class Histogram(NamedTuple):
    """How the entries of several layers or parameters are spread at one step.

    ``counts`` has a row for each of the ``columns`` and one number a bin; the bins are those of
    `probes.magnitude_histogram`.
    """

    name: str
    axis: Axis
    columns: tuple[str, ...]
    counts: NDArray[np.int64]


class Happening(NamedTuple):
    """What no number can say: a non-finite value, a failed probe, a changed cadence, a layer never heard."""

    step: int
    kind: str
    subject: str
    message: str
