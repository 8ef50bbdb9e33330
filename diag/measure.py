"""From events to readings: what is measured of each event, and what follows from it at the end of a step."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import probes
from diag.events import Axis, Event, Layer, Reading
from probes import Probe

Guard = Callable[[str, str], AbstractContextManager[None]]

# Layers whose output is zero where they pass no gradient back, and those that flatten out at two ends.
RECTIFYING = frozenset({"ReLU", "ReLU6"})
LIMITS: Mapping[str, tuple[float, float]] = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}

# What the user's own probes may eat: one array for each layer, or one for each parameter.
LAYER_EVENTS = ("activation", "output_gradient")
PARAMETER_EVENTS = ("weight", "gradient", "update")


class _Block(NamedTuple):
    """Numbers of one name that are not yet on the host: one for each subject."""

    name: str
    axis: Axis
    subjects: tuple[str, ...]
    values: Any

    def numbers(self) -> Iterable[Any]:
        """One 0-d number for each subject."""
        return self.values if np.ndim(self.values) else (self.values,)


class Measure:
    """Hears the events of a step and turns them into readings.

    Nothing of an event is kept but numbers, which stay in the library and on the device of the arrays
    until `take` brings them over in one transfer.

    Args:
        own: Probes of the user's, each of which eats one array.
        omit: Names of standard readings to leave out.
        guard: Opens a block in which a failing probe harms nobody.
        prefix: Goes before the names of the network's readings, as in ``"generator."``.
    """

    def __init__(self, own: Sequence[Probe], omit: Collection[str], guard: Guard, prefix: str = "") -> None:
        self._own = own
        self._omit = frozenset(omit)
        self._guard = guard
        self._prefix = prefix
        self._layers: dict[str, Layer] = {}
        self._order: dict[str, int] = {}
        self._activity: dict[str, probes.UnitActivity] = {}
        self._blocks: list[_Block] = []

    @property
    def wants(self) -> frozenset[str]:
        """Kinds of events that somebody eats, beyond the standard ones."""
        return frozenset(str(probe.eats) for probe in self._own)

    def learn(self, layers: Iterable[Layer]) -> None:
        """Takes note of the layers' kinds and parameters."""
        self._layers = {layer.name: layer for layer in layers}

    def in_order(self, layers: Iterable[Layer]) -> list[Layer]:
        """Layers in order of execution; those that never ran stand last."""
        return sorted(layers, key=lambda layer: self._order.get(layer.name, len(self._order)))

    # ---------------------------------------------------------------------------- during a step

    def hear(self, event: Event) -> None:
        """Measures one event, at once: the array is lent for the call."""
        if isinstance(event.subject, tuple):
            self._hear_parameters(event.kind, event.subject, event.array)
        elif event.kind in LAYER_EVENTS:
            self._hear_layer(event.kind, event.subject, event.array)
        elif event.kind == "loss":
            self._add("criterion_loss", "network", "", lambda: event.array)
        else:
            self._summarise(event.kind, event.array)

    def _hear_layer(self, kind: str, layer: str, array: Any) -> None:
        if kind == "activation":
            self._order.setdefault(layer, len(self._order))
            self._hear_activation(layer, array)
        for probe in self._own:
            if probe.eats == kind:
                self._add(probe.name, "layers", layer, lambda probe=probe: probe.function(array))

    def _hear_activation(self, layer: str, array: Any) -> None:
        self._add("activation_mean", "layers", layer, lambda: probes.activation_mean(array))
        self._add("activation_rms", "layers", layer, lambda: probes.activation_rms(array))
        self._add("activation_non_finite_count", "layers", layer, lambda: probes.non_finite_count(array))
        kind = self._layers[layer].kind if layer in self._layers else ""
        if kind in RECTIFYING:
            activity = self._activity.setdefault(layer, probes.UnitActivity())
            self._add("dead_unit_rate", "layers", layer, lambda: probes.dead_unit_rate(array))
            self._add("dead_unit_rate_pooled", "layers", layer, lambda: _pooled(activity, array))
        if kind in LIMITS:
            self._add(
                "saturation_rate", "layers", layer, lambda: probes.saturation_rate(array, *LIMITS[kind])
            )

    def _hear_parameters(self, kind: str, names: tuple[str, ...], arrays: list[Any]) -> None:
        with self._guard(f"{kind}_norm", ""):
            norms = probes.norms(arrays)
            self._blocks.append(_Block(f"{kind}_norm", "parameters", names, norms))
            if kind == "gradient":
                counts = [
                    0 if np.isfinite(norm) else probes.non_finite_count(array)
                    for norm, array in zip(norms, arrays, strict=True)
                ]
                self._blocks.append(
                    _Block("gradient_non_finite_count", "parameters", names, np.asarray(counts))
                )
        for probe in self._own:
            if probe.eats == kind:
                for name, array in zip(names, arrays, strict=True):
                    self._add(probe.name, "parameters", name, lambda p=probe, a=array: p.function(a))

    def _summarise(self, kind: str, array: Any) -> None:
        for name, value in probes.summary(array)._asdict().items():
            self._add(f"{kind}_{name}", "network", "", lambda value=value: value)

    def _add(self, name: str, axis: Axis, subject: str, compute: Callable[[], Any]) -> None:
        if name in self._omit:
            return
        value: Any = np.nan
        with self._guard(name, subject):
            value = _one_number(name, compute())
        self._blocks.append(_Block(name, axis, (subject,), value))

    # -------------------------------------------------------------------------- after a step

    def take(self) -> list[Reading]:
        """The readings of the step, with those that follow from several events; forgets them."""
        blocks, self._blocks = self._blocks, []
        values = iter(probes.to_host([number for block in blocks for number in block.numbers()]))
        # The last run counts where a layer ran several times in a step.
        found = {
            (block.axis, block.name, subject): float(next(values))
            for block in blocks
            for subject in block.subjects
        }
        readings = [
            Reading(self._prefix + name if axis == "network" else name, subject, value, axis)
            for (axis, name, subject), value in found.items()
        ]
        readings += self._ratios(found)
        readings += self._over_depth(found)
        return [reading for reading in readings if reading.name.removeprefix(self._prefix) not in self._omit]

    @staticmethod
    def _ratios(found: Mapping[tuple[str, str, str], float]) -> list[Reading]:
        names = [subject for axis, name, subject in found if (axis, name) == ("parameters", "update_norm")]
        updates = np.array([found["parameters", "update_norm", name] for name in names])
        weights = np.array([found.get(("parameters", "weight_norm", name), np.nan) for name in names])
        ratios = probes.ratio_of_norms(updates, weights)
        return [
            Reading("update_ratio", n, float(r), "parameters") for n, r in zip(names, ratios, strict=True)
        ]

    def _over_depth(self, found: Mapping[tuple[str, str, str], float]) -> list[Reading]:
        norms = {
            subject: value
            for (axis, name, subject), value in found.items()
            if (axis, name) == ("parameters", "gradient_norm")
        }
        if not norms:
            return []
        by_layer = {
            layer.name: _combined([norms[p] for p in layer.parameters if p in norms])
            for layer in self.in_order(self._layers.values())
            if any(p in norms for p in layer.parameters)
        }
        readings = [Reading("gradient_norm", name, norm, "layers") for name, norm in by_layer.items()]
        total = _combined(list(norms.values()))
        readings.append(Reading(f"{self._prefix}gradient_norm", "", total, "network"))
        if len(by_layer) > 1:
            ratio = float(probes.gradient_norm_ratio(np.array(list(by_layer.values()))))
            readings.append(Reading(f"{self._prefix}gradient_norm_ratio", "", ratio, "network"))
        return readings


def _pooled(activity: probes.UnitActivity, array: Any) -> Any:
    activity.add(array)
    return activity.dead_unit_rate()


def _combined(norms: list[float]) -> float:
    values: NDArray[np.float64] = np.array(norms)
    return float(probes.combined_norm(values))


def _one_number(name: str, value: Any) -> Any:
    if np.ndim(value) != 0:
        raise ValueError(f"{name} needs to return one number, got shape {np.shape(value)}")
    return value
