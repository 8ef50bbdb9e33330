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


class _Key(NamedTuple):
    """Where a number belongs."""

    axis: Axis
    name: str
    subject: str


class _Block(NamedTuple):
    """Numbers that are not yet on the host, one for each key: a 1-D array, or a 0-d one for a single key."""

    keys: list[_Key]
    values: Any

    def numbers(self) -> Iterable[Any]:
        """One 0-d number for each key."""
        return self.values if np.ndim(self.values) else (self.values,)


Found = Mapping[_Key, float]


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
        kind, subject, array = event
        if isinstance(subject, tuple):
            self._hear_parameters(kind, subject, array)
        elif kind in LAYER_EVENTS:
            self._hear_layer(kind, subject, array)
        elif kind == "loss":
            self._apply(_Key("network", "criterion_loss", ""), probes.activation_mean, array)
        else:
            for name, value in probes.summary(array)._asdict().items():
                self._keep([_Key("network", f"{kind}_{name}", "")], value)

    def _hear_layer(self, kind: str, layer: str, array: Any) -> None:
        if kind == "activation":
            self._order.setdefault(layer, len(self._order))
            self._hear_activation(layer, array)
        for probe in self._own:
            if probe.eats == kind:
                self._apply(_Key("layers", probe.name, layer), probe.function, array)

    def _hear_activation(self, layer: str, array: Any) -> None:
        kind = self._layers[layer].kind if layer in self._layers else ""
        self._apply(_Key("layers", "activation_mean", layer), probes.activation_mean, array)
        size = self._apply(_Key("layers", "activation_rms", layer), probes.activation_rms, array)
        # A finite size proves every entry finite, and saves a second look at the array.
        count = _zero if np.isfinite(size) else probes.non_finite_count
        self._apply(_Key("layers", "activation_non_finite_count", layer), count, array)
        if kind in RECTIFYING:
            self._hear_units(layer, array)
        if kind in LIMITS:
            self._apply(
                _Key("layers", "saturation_rate", layer), probes.saturation_rate, array, *LIMITS[kind]
            )

    def _hear_units(self, layer: str, array: Any) -> None:
        with self._guard("dead_unit_rate", layer):
            activity = self._activity.setdefault(layer, probes.UnitActivity())
            self._keep([_Key("layers", "dead_unit_rate", layer)], activity.add(array))
            self._keep([_Key("layers", "dead_unit_rate_pooled", layer)], activity.dead_unit_rate())

    def _hear_parameters(self, kind: str, names: tuple[str, ...], arrays: list[Any]) -> None:
        with self._guard(f"{kind}_norm", ""):
            norms = probes.norms(arrays)
            self._keep([_Key("parameters", f"{kind}_norm", name) for name in names], norms)
            if kind == "gradient":
                # A finite norm proves every entry finite; only the others are looked at again.
                counts = [
                    0 if np.isfinite(norm) else probes.non_finite_count(array)
                    for norm, array in zip(norms, arrays, strict=True)
                ]
                keys = [_Key("parameters", "gradient_non_finite_count", name) for name in names]
                self._keep(keys, np.asarray(counts))
        for probe in self._own:
            if probe.eats == kind:
                for name, array in zip(names, arrays, strict=True):
                    self._apply(_Key("parameters", probe.name, name), probe.function, array)

    def _apply(self, key: _Key, function: Callable[..., Any], *arguments: Any) -> Any:
        """Keeps what the function makes of the arguments, and gives it back; NaN where it failed or is omitted."""
        value: Any = np.nan
        if key.name not in self._omit:
            with self._guard(key.name, key.subject):
                value = _one_number(key.name, function(*arguments))
            self._keep([key], value)
        return value

    def _keep(self, keys: list[_Key], values: Any) -> None:
        self._blocks.append(_Block(keys, values))

    # -------------------------------------------------------------------------- after a step

    def take(self) -> list[Reading]:
        """The readings of the step, with those that follow from several events; forgets them."""
        blocks, self._blocks = self._blocks, []
        keys = [key for block in blocks for key in block.keys]
        numbers = probes.to_host([number for block in blocks for number in block.numbers()])
        # Where a layer ran several times in a step, its last run counts.
        found: Found = dict(zip(keys, numbers.tolist(), strict=True))
        found = {**found, **_update_ratios(found), **self._over_depth(found)}
        return [self._reading(key, value) for key, value in found.items() if key.name not in self._omit]

    def _reading(self, key: _Key, value: float) -> Reading:
        name = self._prefix + key.name if key.axis == "network" else key.name
        return Reading(name, key.subject, value, key.axis)

    def _over_depth(self, found: Found) -> Found:
        """Gradient norms of layers and of the network, and their ratio from the first layer to the last."""
        norms = _of_parameters(found, "gradient_norm")
        layers = {
            layer.name: [norms[name] for name in layer.parameters if name in norms]
            for layer in self.in_order(self._layers.values())
        }
        by_layer = {name: _combined(parts) for name, parts in layers.items() if parts}
        derived = {_Key("layers", "gradient_norm", name): norm for name, norm in by_layer.items()}
        if norms:
            derived[_Key("network", "gradient_norm", "")] = _combined(list(norms.values()))
        if len(by_layer) > 1:
            ratio = probes.gradient_norm_ratio(np.array(list(by_layer.values())))
            derived[_Key("network", "gradient_norm_ratio", "")] = float(ratio)
        return derived


def _of_parameters(found: Found, name: str) -> dict[str, float]:
    return {key.subject: value for key, value in found.items() if key[:2] == ("parameters", name)}


def _update_ratios(found: Found) -> Found:
    updates, weights = _of_parameters(found, "update_norm"), _of_parameters(found, "weight_norm")
    names = [name for name in updates if name in weights]
    ratios = probes.ratio_of_norms(
        np.array([updates[n] for n in names]), np.array([weights[n] for n in names])
    )
    return {_Key("parameters", "update_ratio", name): float(r) for name, r in zip(names, ratios, strict=True)}


def _zero(_array: Any) -> int:
    return 0


def _combined(norms: list[float]) -> float:
    values: NDArray[np.float64] = np.array(norms)
    return float(probes.combined_norm(values))


def _one_number(name: str, value: Any) -> Any:
    if np.ndim(value) != 0:
        raise ValueError(f"{name} needs to return one number, got shape {np.shape(value)}")
    return value
