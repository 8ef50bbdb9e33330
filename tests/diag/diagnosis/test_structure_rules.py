"""Rules about the order of the layers, on models whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from diag.events import Layer, Model, Parameter
from tests.diag.diagnosis.conftest import STEPS, falling

LEARNS = {"criterion_loss": falling()}
STUCK = {"criterion_loss": np.full(STEPS, 2.3)}


def model(*layers):
    """Kind, output shape and, of a layer with weights, how many inputs it takes."""
    named = [(f"{index}", *layer) for index, layer in enumerate(layers)]
    weights = [
        Parameter(f"{name}.weight", name, ((shape or (8,))[-1 if len(shape) == 2 else 0], *inputs))
        for name, _, shape, *inputs in named
        if inputs
    ]
    owners = {weight.layer for weight in weights}
    return Model(
        tuple(
            Layer(name, kind, shape, (f"{name}.weight",) if name in owners else ())
            for name, kind, shape, *_ in named
        ),
        tuple(weights),
    )


HIDDEN = model(("Linear", (8,), 4), ("Softmax", (8,)), ("Linear", (3,), 8))
CHANNELS = model(("Conv2d", (8, 4, 4), 1), ("Softmax", (8, 4, 4)), ("Flatten", (128,)), ("Linear", (3,), 128))
LAST = model(("Linear", (8,), 4), ("ReLU", (8,)), ("Linear", (3,), 8), ("Softmax", (3,)))
ATTENTION = model(("Linear", (6, 8), 8), ("Softmax", (6, 6)), ("Linear", (6, 8), 8))
GATE = model(("Linear", (4,), 8), ("Softmax", (4,)), ("Linear", (8,), 8))


@pytest.mark.parametrize(
    ("network", "layer"),
    [(HIDDEN, "1"), (CHANNELS, "1"), (LAST, None), (ATTENTION, None), (GATE, None)],
    ids=["hidden", "channels", "last", "attention", "gate"],
)
def test_a_softmax_between_layers_with_weights_is_told(found, network, layer):
    finding = found("softmax_inside", LEARNS, model=network)
    assert (finding.layer if finding else None) == layer
    if finding:
        assert finding.severity == "warning"


LINEAR = model(("Linear", (8,), 4), ("Dropout", (8,)), ("Linear", (3,), 8))
ONE = model(("Linear", (3,), 4))
BENT = model(("Linear", (8,), 4), ("Tanh", (8,)), ("Linear", (8,), 8), ("Linear", (3,), 8))
NEVER_RAN = model(("Linear", (), 4), ("Linear", (), 8))


@pytest.mark.parametrize(
    ("network", "series", "severity"),
    [
        (LINEAR, STUCK, "warning"),
        (LINEAR, LEARNS, "note"),
        (ONE, STUCK, None),
        (BENT, STUCK, None),
        (NEVER_RAN, STUCK, None),
    ],
    ids=["linear", "linear_but_learned", "one_layer", "bent_somewhere", "never_ran"],
)
def test_layers_that_follow_each_other_linearly_are_one(found, network, series, severity):
    finding = found("missing_nonlinearity", series, model=network)
    assert (finding.severity if finding else None) == severity


NARROW = model(
    ("Linear", (16,), 64), ("ReLU", (16,)), ("Linear", (2,), 16), ("Linear", (16,), 2), ("Linear", (3,), 16)
)
CHANNEL = model(
    ("Conv2d", (1, 4, 4), 3), ("Conv2d", (8, 4, 4), 1), ("Flatten", (128,)), ("Linear", (5,), 128)
)
AS_WIDE = model(("Linear", (16,), 64), ("ReLU", (16,)), ("Linear", (8,), 16), ("Linear", (3,), 8))
CODE = model(("Linear", (16,), 64), ("Linear", (2,), 16), ("Linear", (16,), 2), ("Linear", (64,), 16))
VALUE = model(("Linear", (16,), 64), ("Linear", (1,), 16), ("Linear", (3,), 16))
SQUEEZE = model(
    ("Linear", (16,), 64),
    ("Linear", (2,), 16),
    ("Linear", (16,), 2),
    ("Sigmoid", (16,)),
    ("Linear", (3,), 16),
)
ADAPTED = Model(
    NARROW.layers, tuple(replace(each, requires_grad=each.layer != "0") for each in NARROW.parameters)
)


@pytest.mark.parametrize(
    ("network", "series", "told"),
    [
        (NARROW, STUCK, ("2", "warning")),
        (NARROW, LEARNS, ("2", "note")),
        (CHANNEL, STUCK, ("0", "warning")),
        (AS_WIDE, STUCK, None),
        (CODE, STUCK, None),
        (VALUE, STUCK, None),
        (SQUEEZE, STUCK, None),
        (ADAPTED, STUCK, None),
        (ONE, STUCK, None),
    ],
    ids=["narrow", "learned", "channel", "wide", "code", "second_head", "squeeze", "adapter", "one_layer"],
)
def test_a_layer_of_hardly_any_units_between_wide_ones_loses_what_passes(found, network, series, told):
    finding = found("narrow_layer", series, model=network)
    assert ((finding.layer, finding.severity) if finding else None) == told
