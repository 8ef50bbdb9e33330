"""What the order of the layers gives away, before anything is trained."""

from collections.abc import Iterator

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.rules import rule
from diag.diagnosis.task import is_short
from diag.events import Layer
from diag.log import Log

# What multiplies by weights and adds, and what passes numbers on or brings them to one scale: nothing here bends.
LINEAR = ("Linear", "Conv1d", "Conv2d", "Conv3d")
STRAIGHT = (
    *("Flatten", "Unflatten", "Identity", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"),
    *("Dropout", "Dropout1d", "Dropout2d", "BatchNorm1d", "BatchNorm2d"),
)


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
        evidence=Evidence(
            series="activation_mean",
            value=float(len(inside)),
            band="no softmax between layers with weights",
            readings=len(log.steps),
            last_healthy_step=None,
            text=(
                f"Layer {first.name!r}, a softmax, stands between two layers with weights; its "
                f"{first.output_shape[0]} outputs sum to 1."
            ),
        ),
        why="Outputs that sum to 1 shrink the signal by the width of the layer, and units compete.",
        fix="Use ReLU or another nonlinearity that works unit by unit; a softmax belongs behind the last layer.",
        confidence=0.85,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: softmax in a hidden layer",),
    )


def _threes(log: Log) -> Iterator[tuple[Layer, Layer, Layer]]:
    """Each layer with the one before it and the next after it that has weights."""
    layers = [layer for layer in log.model.layers if layer.output_shape]
    for index, layer in enumerate(layers[1:-1], 1):
        following = next((after for after in layers[index + 1 :] if after.parameters), None)
        if following is not None:
            yield layers[index - 1], layer, following


def _is_inside(log: Log, before: Layer, softmax: Layer, after: Layer) -> bool:
    """Whether a softmax runs over the units of one layer that all go into the next, unlike attention's or a gate's."""
    if softmax.kind != "Softmax" or before.output_shape != softmax.output_shape:
        return False
    units, is_image = softmax.output_shape[0], len(softmax.output_shape) == 3
    taken = [p.shape[1] for p in log.model.parameters if p.layer == after.name and len(p.shape) > 1]
    return any(inputs == units or (is_image and inputs % units == 0) for inputs in taken)


@rule(LOSSES)
def missing_nonlinearity(log: Log) -> Iterator[Finding]:
    """Several layers with weights, and nothing between any of them that is not linear."""
    layers = [layer for layer in log.model.layers if layer.output_shape]
    weighty = [layer for layer in layers if layer.kind in LINEAR]
    hidden = layers[: layers.index(weighty[-1])] if weighty else []
    if len(weighty) < 2 or not all(layer.kind in LINEAR + STRAIGHT for layer in hidden):
        return
    yield Finding(
        rule="missing_nonlinearity",
        severity="warning" if is_short(log) else "note",
        layer=weighty[0].name,
        onset_step=int(log.steps[0]),
        evidence=Evidence(
            series="activation_mean",
            value=float(len(weighty)),
            band="a nonlinearity between layers with weights",
            readings=len(log.steps),
            last_healthy_step=None,
            text=f"The {len(weighty)} layers with weights, from {weighty[0].name!r} on, follow each other linearly.",
        ),
        why="Linear layers one after another are one linear layer: the network can separate by a plane alone.",
        fix="Put a nonlinearity, such as ReLU, behind each hidden layer.",
        confidence=0.8,
        references=("Goodfellow et al., Deep Learning, 2016, section 6.1",),
    )
