"""The gradient of a multilayer perceptron as one writes it by hand in NumPy: what a tape is measured by."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def gradient_by_hand(
    parameters: Sequence[Array], x: Array, y: NDArray[np.int64]
) -> Callable[[], list[Array]]:
    """A function that computes cross-entropy and its gradients, weights and biases in turn."""
    weights, biases = list(parameters[::2]), list(parameters[1::2])
    rows = np.arange(len(y))

    def gradient() -> list[Array]:
        inputs, h = [], x
        for position, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            inputs.append(h)
            h = h @ weight.T
            h += bias
            if position < len(weights) - 1:
                np.maximum(h, 0, out=h)
        h -= h.max(axis=1, keepdims=True)
        np.exp(h, out=h)
        h /= h.sum(axis=1, keepdims=True)
        float(-np.log(h[rows, y]).mean())
        h[rows, y] -= 1
        h /= len(y)
        found: list[Array] = []
        for position in reversed(range(len(weights))):
            found += [h.sum(axis=0), h.T @ inputs[position]]
            if position:
                h = h @ weights[position]
                h *= inputs[position] > 0
        return found[::-1]

    return gradient
