"""What a network makes of a fixed batch: how its layers spread, which units speak, how classes and attention lie."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import probes
from diag.capture import Capture
from diag.events import Layer, Reading
from diag.on_probe_batch.attention import attention_told, is_attention
from diag.on_probe_batch.look import Closure, check_closures
from probes.representation import activation_ranks
from probes.rows import on_host

# Units of these are silent near zero: one that hardly ever leaves it says next to nothing.
ONE_SIDED = frozenset({"ReLU", "ReLU6", "LeakyReLU", "GELU", "SiLU", "Mish"})
# What gives on what it gets, only in another shape, says nothing of its own.
PASSING = ("Dropout", "AlphaDropout", "FeatureAlphaDropout", "Flatten", "Unflatten", "Identity")
# Which axis holds the units; all others inherit it from the layer before.
UNITS_LAST = (
    "Linear",
    "Bilinear",
    "LayerNorm",
    "RMSNorm",
    "Embedding",
    "MultiheadAttention",
    "RNN",
    "LSTM",
    "GRU",
)
UNITS_SECOND = ("Conv", "BatchNorm", "SyncBatchNorm", "InstanceNorm", "GroupNorm", "Unflatten")

# Positions of a layer that are looked at, over all examples: a singular value decomposition of more is too dear.
MOST_ROWS = 2048
LEAST_EXAMPLES = 4
# Below so many examples of a class its error rate says nothing.
LEAST_OF_A_CLASS = 5

Array = NDArray[Any]


@dataclass(frozen=True)
class Representation:
    """How a network represents a fixed batch; see `Recorder.representation`."""

    closure: Closure
    work = "representation"
    is_beside_the_rest = True

    def __post_init__(self) -> None:
        check_closures(self.work, [self.closure])

    def readings(self, capture: Capture) -> Iterator[Reading]:
        """See the class."""
        heard = _Heard({layer.name: layer for layer in capture.layers}, capture.modules)
        with attention_told(capture.modules, heard.hear_attention):
            loss = capture.overhear(self.closure, heard.hear)
        yield from heard.readings
        yield from heard.of_classes()
        yield Reading("probe_loss", "", float(loss), "network")
        if any(layer.has_two_modes for layer in capture.layers):
            as_trained = capture.overhear(self.closure, _ignore, in_evaluation=False)
            yield Reading("probe_loss_as_trained", "", float(as_trained), "network")


def _ignore(_layer: str, _inputs: tuple[Any, ...], _output: Any) -> None:
    """Hears nothing."""


@dataclass
class _Heard:
    """What is made of each layer while it runs, for its arrays are lent for the call."""

    layers: dict[str, Layer]
    modules: Any
    readings: list[Reading] = field(default_factory=list)
    _units_last: bool = True
    _before: Any = None
    _features: Any = None
    _classifier: str = ""
    _predictions: Any = None
    _targets: Any = None

    def hear(self, name: str, inputs: tuple[Any, ...], output: Any) -> None:
        """A layer ran, or the criterion, which has no name."""
        if not name:
            if len(inputs) >= 2:
                self._predictions, self._targets = (on_host(each).copy() for each in inputs[:2])
        elif not (self._is_part_of_attention(name) or self.layers[name].kind.startswith(PASSING)):
            self._hear_layer(self.layers[name], inputs, output)

    def _is_part_of_attention(self, name: str) -> bool:
        # Its last projection gives what attention itself gives, and only one framework calls it.
        owner = self.modules.get(name.rpartition(".")[0])
        return owner is not None and is_attention(owner)

    def _hear_layer(self, layer: Layer, inputs: tuple[Any, ...], output: Any) -> None:
        if layer.kind.startswith(UNITS_LAST + UNITS_SECOND):
            self._units_last = layer.kind.startswith(UNITS_LAST)
        if output.ndim < 2:
            return
        if output.shape[0] < LEAST_EXAMPLES:
            raise ValueError(
                f"representation needs a batch of {LEAST_EXAMPLES} examples at least, got {output.shape[0]}; "
                f"take a few hundred"
            )
        array = on_host(output)
        activation = np.moveaxis(array, -1, 1) if self._units_last else array
        if layer.kind in ONE_SIDED:
            self._add("dormant_unit_rate", layer, probes.dormant_unit_rate(activation))
        some = thinned(activation)
        if some.shape[1] > 1:
            effective, stable = activation_ranks(some)
            self._add("activation_effective_rank", layer, effective)
            self._add("activation_stable_rank", layer, stable)
        if self._has_matrix(layer):
            if self._before is not None:
                self._add("debiased_linear_cka", layer, probes.debiased_linear_cka(self._before, some))
            self._before = some.copy()
            # What came by name is not heard.
            self._features = on_host(inputs[0]).copy() if inputs else None
            self._classifier = layer.name

    def _has_matrix(self, layer: Layer) -> bool:
        weight = getattr(self.modules[layer.name], "weight", None)
        return is_attention(self.modules[layer.name]) or (weight is not None and weight.ndim >= 2)

    def hear_attention(self, name: str, weights: Any, logits: Any) -> None:
        """An attention ran: the middle one of its heads, and the largest logit of all."""
        layer = self.layers[name]
        self._add("attention_entropy", layer, np.median(probes.attention_entropy(weights)))
        self._add("attention_keys", layer, weights.shape[-1])
        if logits is not None:
            self._add("largest_attention_logit", layer, np.max(probes.largest_attention_logit(logits)))

    def _add(self, name: str, layer: Layer, value: Any) -> None:
        self.readings.append(Reading(name, layer.name, float(value), "layers"))

    # -------------------------------------------------------------------------------- of classes

    def of_classes(self) -> Iterator[Reading]:
        """What the criterion's predictions and targets tell, where they are those of classes."""
        if self._predictions is None or self._predictions.ndim < 2 or self._predictions.dtype.kind != "f":
            return
        scores, labels = self._predictions, self._targets
        yield Reading("prediction_example_std", "", float(scores.std(axis=0).mean()), "network")
        is_of_classes = scores.ndim == 2 and labels.shape == scores.shape[:1] and labels.dtype.kind in "iu"
        if not is_of_classes:
            return
        yield from _of_counts(scores, labels)
        # One classifier of all classes, and examples of each: what the marks of collapse are defined for.
        has_features = self._features is not None and self._features.ndim == 2
        if has_features and np.array_equal(np.unique(labels), np.arange(scores.shape[1])):
            yield from self._of_collapse(labels)

    def _of_collapse(self, labels: Array) -> Iterator[Reading]:
        features, module = self._features, self.modules[self._classifier]
        weight, bias = (_numbers(getattr(module, name, None)) for name in ("weight", "bias"))
        for measure in (
            probes.within_class_variability,
            probes.class_mean_norm_spread,
            probes.class_mean_cosine_spread,
            probes.class_mean_simplex_deviation,
        ):
            yield Reading(measure.__name__, "", float(measure(features, labels)), "network")
        if weight is not None and weight.shape == (labels.max() + 1, features.shape[1]):
            duality = probes.self_duality_deviation(features, labels, weight)
            yield Reading("self_duality_deviation", "", float(duality), "network")
            agreement = probes.nearest_centre_agreement(features, labels, weight, bias)
            yield Reading("nearest_centre_agreement", "", float(agreement), "network")


def _of_counts(scores: Array, labels: Array) -> Iterator[Reading]:
    """How unevenly classes come, and how often the rarest is missed; NaN where it has hardly an example."""
    classes, counts = np.unique(labels, return_counts=True)
    yield Reading("class_count_ratio", "", float(counts.max() / counts.min()), "network")
    is_rarest = labels == classes[np.argmin(counts)]
    missed = np.mean(scores[is_rarest].argmax(axis=1) != labels[is_rarest])
    rate = missed if counts.min() >= LEAST_OF_A_CLASS else np.nan
    yield Reading("rarest_class_error_rate", "", float(rate), "network")


def thinned(activation: Array) -> Array:
    """An activation with every so many of its positions, ``(batch, units, positions)``; all examples are kept.

    Example:
        >>> thinned(np.zeros((64, 8, 16, 16))).shape
        (64, 8, 32)
    """
    if activation.ndim == 2:
        return activation
    flat = activation.reshape(*activation.shape[:2], -1)
    every = max(1, flat.shape[0] * flat.shape[2] // MOST_ROWS)
    return flat[:, :, ::every]


def _numbers(parameter: Any) -> Any:
    return None if parameter is None else on_host(getattr(parameter, "array", parameter))
