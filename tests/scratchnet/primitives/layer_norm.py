"""Normalisation over the last axes."""

from scratchnet.ops import layer_norm
from tests.scratchnet.primitives.contract import case, normal, positive

CASES = [
    case(layer_norm.layer_norm, normal(4, 3), positive(3), normal(3), name="batch", axes=1, eps=1e-5),
    case(layer_norm.layer_norm, normal(2, 3, 2), normal(3, 2), None, name="two axes", axes=2, eps=0.1),
    case(layer_norm.layer_norm, normal(2, 4), None, normal(4), name="shift", axes=1, eps=0.1),
    case(layer_norm.layer_norm, normal(2, 4), None, None, name="plain", axes=1, eps=0.1),
    case(layer_norm.rms_norm, normal(4, 3), positive(3), name="batch", axes=1, eps=1e-5),
    case(layer_norm.rms_norm, normal(2, 3, 2), normal(3, 2), name="two axes", axes=2, eps=0.1),
    case(layer_norm.rms_norm, normal(2, 4), None, name="plain", axes=1, eps=0.1),
]
