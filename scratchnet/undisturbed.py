"""Looking at a model without a trace: what a look changes is put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchnet.hooks import Hooks
from scratchnet.nn.module import Module


@contextmanager
def undisturbed(model: Module) -> Iterator[None]:
    """Lets a block change modes, buffers and random states, and puts them back; no listener hears of it.

    Args:
        model: All modules in it are meant.

    Example:
        >>> from scratchnet import nn
        >>> model = nn.BatchNorm1d(2)
        >>> with undisturbed(model):
        ...     output = model(np.ones((3, 2)))
        >>> int(model.num_batches_tracked)
        0
    """
    before = [(module, _state(module)) for module in model.modules()]
    try:
        for module, _ in before:
            module._forward_hooks = Hooks()
        yield
    finally:
        for module, state in before:
            _restore(module, state)


def _state(module: Module) -> dict[str, Any]:
    generators = [value for value in vars(module).values() if isinstance(value, np.random.Generator)]
    return {
        "training": module.training,
        "hooks": module._forward_hooks,
        "buffers": {name: (array, array.copy()) for name, array in module._buffers.items()},
        "generators": [(generator, generator.bit_generator.state) for generator in generators],
    }


def _restore(module: Module, state: dict[str, Any]) -> None:
    module.training = state["training"]
    module._forward_hooks = state["hooks"]
    for name, (array, values) in state["buffers"].items():
        array[...] = values
        setattr(module, name, array)
    for generator, numbers in state["generators"]:
        generator.bit_generator.state = numbers
