"""The words that all of diag shares: what is heard, what is read from it, and who speaks.

An `Event` is something that the model did, with its arrays lent for the call only. A `Reading`
is one number that a probe made of it. `Layer`, `Parameter` and `Optimizer` describe the speakers;
`Happening` is for what no number can say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Axis = Literal["layers", "parameters", "network", "curvature"]
EventKind = Literal[
    "activation", "output_gradient", "input", "prediction", "target", "loss", "weight", "gradient", "update"
]


class Event(NamedTuple):
    """Something that the model did; whoever hears it may read the array during the call, not keep it.

    A forward or backward event has one subject (a layer, or ``""`` for the network) and one array. An
    optimiser's ``weight`` (before the step), ``gradient`` and ``update`` events carry a tuple of parameter
    names and a list of arrays beside it, so that norms of a whole step can be taken in one call; a
    parameter without a gradient is left out.
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


@dataclass(frozen=True)
class Parameter:
    """A parameter: its dotted name, the layer that owns it, its shape, and whether an optimiser moves it."""

    name: str
    layer: str
    shape: tuple[int, ...]
    is_trained: bool = True


@dataclass(frozen=True)
class Optimizer:
    """An optimiser: the name it is watched under, its class name, its hyperparameters at that time."""

    name: str
    kind: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """All that is watched; layers stand in order of execution."""

    layers: tuple[Layer, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    optimizers: tuple[Optimizer, ...] = ()


class Happening(NamedTuple):
    """What no number can say: a non-finite value, a failed probe, a changed cadence, a layer never heard."""

    step: int
    kind: str
    subject: str
    message: str
