"""From events to numbers: what is measured of each event of a step."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import probes
from diag.events import Axis, Column, Event, Layer
from diag.plan import Plan, Taken
from probes import Probe
from probes.arrays import readable
from probes.checksum import checksum
from probes.fused import moments, norms_and_non_finite_counts
from probes.updates import Updates

# Calls a function of one argument for a named piece of work, and gives None where it fails.
Attempt = Callable[[str, str, Callable[[Any], Any], Any], Any]
Numbers = NDArray[np.float64]

# Layers whose output is zero where they pass no gradient back, and those that flatten out at two ends.
RECTIFYING = frozenset({"ReLU", "ReLU6"})
LIMITS: Mapping[str, tuple[float, float]] = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}

# What the user's own probes may eat: one array for each layer, or one for each parameter, in the events of the kind.
LAYER_EVENTS = ("activation", "output_gradient")
PARAMETER_EVENTS = {"weight": "weight", "gradient": "gradient", "update": "moved_weight"}


def recordable(function: Callable[..., Any]) -> Probe:
    """The probe that a function of the user's was made into.

    Raises:
        ValueError: If it eats nothing that can be had.
    """
    probe = probes.probe_of(function)
    if probe.eats not in (*LAYER_EVENTS, *PARAMETER_EVENTS):
        raise ValueError(
            f"Recorder needs probes that eat one of {', '.join((*LAYER_EVENTS, *PARAMETER_EVENTS))}, "
            f"got {probe.name}, which eats {probe.eats}"
        )
    return probe


class _Task(NamedTuple):
    """What is measured in one go of an event: a function of its array, and where the numbers belong.

    Ours take the array as `readable` gives it; the user's own probes take it in the library of the model.
    """

    cells: tuple[Column, ...]
    function: Callable[[Any], Iterable[Any]]
    is_own: bool = False


class Measure:
    """Hears the events of a step and turns them into numbers, from which `Plan` makes readings.

    Nothing of an event is kept but numbers, which stay in the library and on the device of the arrays
    until `take` brings them over in one transfer; and of the weights a copy until they have moved. What to measure
    of an event is worked out the first time and then only done.

    Args:
        own: Probes of the user's, each of which eats one array.
        omit: Names of standard readings to leave out.
        attempt: Calls a probe so that its failure harms nobody, as `diag.guard.Guard.attempt` does.
        prefix: Goes before the names of the network's readings, as in ``"generator."``.

    Attributes:
        has_copies: Whether other processes hold the same parameters, so that a checksum is wanted.
    """

    def __init__(
        self, own: Sequence[Probe], omit: Collection[str], attempt: Attempt, prefix: str = ""
    ) -> None:
        self._own = [probe for probe in own if probe.name not in omit]
        self._omit = frozenset(omit)
        self._attempt = attempt
        self._prefix = prefix
        self._updates = Updates()
        self._layers: dict[str, Layer] = {}
        self._order: dict[str, int] = {}
        self._tasks: dict[tuple[str, str | tuple[str, ...]], tuple[_Task, ...]] = {}
        self._cells: list[tuple[Column, ...]] = []
        self._numbers: list[Any] = []
        self._plan: Plan | None = None
        self.has_copies = False

    @property
    def wants(self) -> frozenset[str]:
        """Kinds of events that somebody eats, beyond the standard ones."""
        return frozenset(str(probe.eats) for probe in self._own)

    def learn(self, layers: Iterable[Layer]) -> None:
        """Takes note of the layers' kinds and parameters."""
        self._layers = {layer.name: layer for layer in layers}
        self._tasks, self._plan = {}, None

    def in_order(self, layers: Iterable[Layer]) -> list[Layer]:
        """Layers in order of execution; those that never ran stand last."""
        return sorted(layers, key=lambda layer: self._order.get(layer.name, len(self._order)))

    # ---------------------------------------------------------------------------- during a step

    def hear(self, event: Event) -> None:
        """Measures one event, at once: the array is lent for the call."""
        kind, subject, array = event
        tasks = self._tasks.get((kind, subject))
        if tasks is None:
            tasks = self._tasks[kind, subject] = tuple(self._tasks_of(kind, subject))
        seen = array if isinstance(subject, tuple) else readable(array)
        for cells, function, is_own in tasks:
            numbers = self._attempt(cells[0].name, cells[0].subject, function, array if is_own else seen)
            self._cells.append(cells)
            self._numbers += [np.nan] * len(cells) if numbers is None else numbers

    def _tasks_of(self, kind: str, subject: str | tuple[str, ...]) -> Iterator[_Task]:
        if isinstance(subject, tuple):
            # Of these norms others follow, which may be wanted where they are not.
            return self._of_parameters(kind, subject)
        tasks = self._of_layer(kind, subject) if kind in LAYER_EVENTS else _of_network(kind)
        return (task for task in tasks if not self._omit.issuperset(cell.name for cell in task.cells))

    def _of_layer(self, kind: str, name: str) -> Iterator[_Task]:
        if kind == "activation":
            self._order.setdefault(name, len(self._order))
            yield from _of_activation(name, self._layers[name].kind if name in self._layers else "")
        for probe in self._own:
            if probe.eats == kind:
                function = partial(_one_number, probe.name, probe.function)
                yield _Task(_cells("layers", name, probe.name), function, is_own=True)

    def _of_parameters(self, kind: str, names: tuple[str, ...]) -> Iterator[_Task]:
        if not names:
            return
        if kind == "unclipped_gradient":
            yield _Task(_cells("network", "", "gradient_norm_before_clipping"), _norm_of_all)
            return
        of_each, function = self._standard(kind)
        yield _Task(tuple(Column(each, name, "parameters") for each in of_each for name in names), function)
        if kind == "moved_weight" and self.has_copies:
            yield _Task(_cells("network", "", "parameter_checksum"), lambda weights: [checksum(weights)])
        for probe in self._own:
            if PARAMETER_EVENTS.get(str(probe.eats)) == kind:
                choose = self._updates.update if probe.eats == "update" else _at
                for position, name in enumerate(names):
                    function = partial(_one_number_of, partial(choose, position), probe.name, probe.function)
                    yield _Task(_cells("parameters", name, probe.name), function, is_own=True)

    def _standard(self, kind: str) -> tuple[tuple[str, ...], Callable[[Any], Iterable[Any]]]:
        """What is measured of every parameter."""
        if kind == "weight":
            return ("weight_norm",), self._updates.keep
        if kind == "gradient":
            return ("gradient_norm", "gradient_non_finite_count"), norms_and_non_finite_counts
        return ("update_norm",), self._updates.norms

    # -------------------------------------------------------------------------- after a step

    def rest(self) -> None:
        """Nothing is to be heard for a while: lets go of the model's own arrays."""
        self._updates.release()

    def take(self) -> Taken:
        """The numbers of the step, and the plan of what follows from them; forgets them."""
        cells, self._cells = self._cells, []
        # Forgotten first: what cannot be brought over must not be taken for numbers of the next step.
        heard, self._numbers = self._numbers, []
        self._updates.forget()
        numbers = probes.to_host(heard)
        if self._plan is None or self._plan.cells != cells:
            layers = self.in_order(self._layers.values())
            self._plan = Plan(cells, layers, self._omit, self._prefix)
        return Taken(self._plan, numbers)


# ------------------------------------------------------------------------------- what is measured


def _of_activation(layer: str, kind: str) -> Iterator[_Task]:
    names = "activation_mean", "activation_rms", "activation_non_finite_count"
    yield _Task(_cells("layers", layer, *names), moments)
    if kind in RECTIFYING:
        pooled = partial(_dead_unit_rates, probes.UnitActivity())
        yield _Task(_cells("layers", layer, "dead_unit_rate", "dead_unit_rate_pooled"), pooled)
    if kind in LIMITS:
        low, high = LIMITS[kind]
        rate = partial(probes.saturation_rate, low=low, high=high)
        yield _Task(_cells("layers", layer, "saturation_rate"), partial(_one_number, "saturation_rate", rate))


def _of_network(kind: str) -> Iterator[_Task]:
    if kind == "loss":
        # It comes as one number, and is what is to be read: as it is now, for it may yet be changed in place.
        yield _Task(_cells("network", "", "criterion_loss"), lambda number: [number + 0])
    else:
        names = [f"{kind}_{name}" for name in probes.Summary._fields]
        yield _Task(_cells("network", "", *names), probes.summary)
    if kind == "input":
        yield _Task(_cells("network", "", "batch_size"), _length)


def _length(array: Any) -> tuple[int]:
    return (array.shape[0] if array.ndim else 1,)


def _dead_unit_rates(activity: probes.UnitActivity, array: Any) -> tuple[Any, Any]:
    return activity.add(array), activity.dead_unit_rate()


def _norm_of_all(arrays: Sequence[Any]) -> list[Any]:
    return [probes.combined_norm(probes.norms([readable(array) for array in arrays]))]


def _one_number(name: str, function: Callable[[Any], Any], array: Any) -> tuple[Any]:
    with np.errstate(all="ignore"):
        value = function(array)
    if value is None or np.ndim(value) != 0:
        got = "None" if value is None else f"shape {np.shape(value)}"
        raise ValueError(f"{name} needs to return one number, got {got}")
    return (value,)


def _at(position: int, arrays: Sequence[Any]) -> Any:
    return arrays[position]


def _one_number_of(
    choose: Callable[[Any], Any], name: str, function: Callable[[Any], Any], arrays: Any
) -> tuple[Any]:
    with np.errstate(all="ignore"):
        chosen = choose(arrays)
    return _one_number(name, function, chosen)


def _cells(axis: Axis, subject: str, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, subject, axis) for name in names)
