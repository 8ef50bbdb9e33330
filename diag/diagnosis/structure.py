"""What the order of the layers gives away, before anything is trained."""

import math
from collections.abc import Iterator
from itertools import pairwise

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_short, layers_that_ran
from diag.events import Layer
from diag.log import Log

# What multiplies by weights and adds, and what passes numbers on or brings them to one scale: nothing here bends.
LINEAR = ("Linear", "Conv1d", "Conv2d", "Conv3d")
STRAIGHT = (
    *("Flatten", "Unflatten", "Identity", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"),
    *("Dropout", "Dropout1d", "Dropout2d", "BatchNorm1d", "BatchNorm2d"),
)


GATES = ("Sigmoid", "Hardsigmoid", "Softmax")


@rule(LOSSES)
def softmax_inside(log: Log) -> Iterator[Finding]:
    """A softmax between two layers with weights, where a nonlinearity is meant to be."""
    inside = [softmax for before, softmax, after in _threes(log) if _is_inside(log, before, softmax, after)]
    if not inside:
        return
    first = inside[0]
    yield Finding(
        rule="softmax_inside",
        severity="warning",
        layer=first.name,
        onset_step=int(log.steps[0]),
        evidence=_of_order(
            log,
            float(len(inside)),
            "no softmax between layers with weights",
            f"Layer {first.name!r}, a softmax, stands between two layers with weights; its "
            f"{first.output_shape[0]} outputs sum to 1.",
        ),
        why="Outputs that sum to 1 shrink the signal by the width of the layer, and units compete.",
        fix="Use ReLU or another nonlinearity that works unit by unit; a softmax belongs behind the last layer.",
        confidence=0.85,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: softmax in a hidden layer",),
    )


def _of_order(log: Log, value: float, band: str, text: str) -> Evidence:
    """What the order of the layers shows, the same at every step."""
    return Evidence("activation_mean", value, band, len(log.steps), None, text)


def _threes(log: Log) -> Iterator[tuple[Layer, Layer, Layer]]:
    """Each layer with the one before it and the next after it that has weights."""
    layers = layers_that_ran(log)
    for index, layer in enumerate(layers[1:-1], 1):
        following = next((after for after in layers[index + 1 :] if after.parameters), None)
        if following is not None:
            yield layers[index - 1], layer, following


def _is_inside(log: Log, before: Layer, softmax: Layer, after: Layer) -> bool:
    """Whether a softmax runs over the units of one layer that all go into the next, unlike attention's or a gate's."""
    if softmax.kind != "Softmax" or before.output_shape != softmax.output_shape:
        return False
    return _takes(log, after, softmax.output_shape[0], is_image=len(softmax.output_shape) == 3)


def _takes(log: Log, layer: Layer, units: int, is_image: bool) -> bool:
    """Whether a layer has an input for each of so many units, or for each pixel of so many channels."""
    taken = [p.shape[1] for p in log.model.parameters if p.layer == layer.name and len(p.shape) > 1]
    return any(inputs == units or (is_image and inputs % units == 0) for inputs in taken)


@rule(LOSSES)
def missing_nonlinearity(log: Log) -> Iterator[Finding]:
    """Several layers with weights, and nothing between any of them that is not linear."""
    layers = layers_that_ran(log)
    weighty = [layer for layer in layers if layer.kind in LINEAR]
    hidden = layers[: layers.index(weighty[-1])] if weighty else []
    if len(weighty) < 2 or not all(layer.kind in LINEAR + STRAIGHT for layer in hidden):
        return
    yield Finding(
        rule="missing_nonlinearity",
        severity="warning" if is_short(log) else "note",
        layer=weighty[0].name,
        onset_step=int(log.steps[0]),
        evidence=_of_order(
            log,
            float(len(weighty)),
            "a nonlinearity between layers with weights",
            f"The {len(weighty)} layers with weights, from {weighty[0].name!r} on, follow each other linearly.",
        ),
        why="Linear layers one after another are one linear layer: the network can separate by a plane alone.",
        fix="Put a nonlinearity, such as ReLU, behind each hidden layer.",
        confidence=0.8,
        references=("Goodfellow et al., Deep Learning, 2016, section 6.1",),
    )


@rule(LOSSES)
def narrow_layer(log: Log, *, most_units: float, least_ratio: float) -> Iterator[Finding]:
    """A hidden layer of one or two units, through which all must pass that wide layers around it tell apart."""
    weights = {
        parameter.layer: parameter.shape for parameter in log.model.parameters if len(parameter.shape) > 1
    }
    layers = layers_that_ran(log)
    chain = [layer for layer in layers if layer.kind in LINEAR and layer.name in weights]
    if not chain or _is_on_purpose(log, weights[chain[0].name], weights[chain[-1].name]):
        return
    widest = max(weights[layer.name][0] for layer in chain[:-1]) if len(chain) > 1 else 0
    for layer, after in pairwise(chain):
        units = weights[layer.name][0]
        is_narrow = units <= most_units and widest >= least_ratio * units
        if not is_narrow or not _passes_on(log, layers, layer, after, units):
            continue
        yield Finding(
            rule="narrow_layer",
            severity="warning" if is_short(log) else "note",
            layer=layer.name,
            onset_step=int(log.steps[0]),
            evidence=_of_order(
                log,
                float(units),
                f"more than {most_units:g} units, or no layer {least_ratio:g} times as wide",
                f"Layer {layer.name!r} hands on {units} number{'s' if units > 1 else ''}, for each pixel or position "
                f"if there are any; the widest hidden layer has {widest} units.",
            ),
            why="What the next layers could tell apart is lost in so few numbers, and no training brings it back.",
            fix="Give the layer about as many units as those beside it, unless it is meant to be narrow.",
            confidence=0.7,
            references=("Jahan et al., DEFault, ICSE 2025: too few units",),
        )


def _is_on_purpose(log: Log, first: tuple[int, ...], last: tuple[int, ...]) -> bool:
    """Whether a narrow layer belongs there: as an autoencoder's code, or beside frozen weights that it adapts."""
    of_images = len(first) > 2 and len(last) > 2
    is_decoded = any(layer.kind.startswith("ConvTranspose") for layer in log.model.layers)
    is_autoencoder = is_decoded or last[0] == (first[1] if of_images else math.prod(first[1:]))
    return is_autoencoder or any(not parameter.requires_grad for parameter in log.model.parameters)


def _passes_on(log: Log, layers: list[Layer], layer: Layer, after: Layer, units: int) -> bool:
    """Whether the next layer has these units for its inputs and is no gate: what a gate says is multiplied."""
    behind = [layers[layers.index(layer) + 1], *layers[layers.index(after) + 1 : -1][:1]]
    is_gate = any(each.kind in GATES for each in behind)
    # Of one channel any number of inputs is a multiple: only where it is laid out flat are its pixels inputs.
    is_flattened = len(layer.output_shape) == 3 and len(after.output_shape) == 1
    return _takes(log, after, units, is_image=is_flattened) and not is_gate
