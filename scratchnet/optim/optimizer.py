"""What all optimisers share: groups of parameters, each laid out in one flat buffer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from scratchnet.hooks import Handle, Hooks
from scratchnet.nn.module import Parameter
from scratchnet.tape import Array


class FlatBuffer:
    """Parameters side by side in one vector, and their gradients in another.

    A step is then a few operations on long vectors instead of a few on each parameter. Every
    parameter's array becomes a view of the vector, every gradient that arrives is written into the
    other, and named state (momentum and the like) is laid out in the same way.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        self.state: dict[str, Array] = {}
        self.steps = [0] * len(self.parameters)
        self._lay_out()

    def _lay_out(self) -> None:
        bounds = np.cumsum([0, *(parameter.size for parameter in self.parameters)])
        self.spans = [slice(int(start), int(stop)) for start, stop in pairwise(bounds)]
        self.weights = np.concatenate([parameter.array.ravel() for parameter in self.parameters])
        self.gradients = np.zeros_like(self.weights)
        self._views = self.views(self.weights)
        self._gradient_views = self.views(self.gradients)
        for parameter, weights, gradients in zip(
            self.parameters, self._views, self._gradient_views, strict=True
        ):
            parameter.array = weights
            parameter.grad_buffer = gradients
            if parameter.grad is not None:
                gradients[...] = parameter.grad.array
                parameter.grad = parameter.make(gradients, None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copied view shares nothing with the copied vector, so copies are laid out anew.
        self.__dict__.update(state)
        self._lay_out()

    def views(self, flat: Array) -> list[Array]:
        """A flat vector of this layout as arrays shaped like the parameters."""
        return [flat[span].reshape(p.shape) for span, p in zip(self.spans, self.parameters, strict=True)]

    def gather(self) -> None:
        """Lays the parameters out anew if somebody gave one another array, as `Module.double` does."""
        if any(p.array is not view for p, view in zip(self.parameters, self._views, strict=True)):
            self._lay_out()
            self.state = {name: flat.astype(self.weights.dtype) for name, flat in self.state.items()}
        for parameter, view in zip(self.parameters, self._gradient_views, strict=True):
            if parameter.grad is not None and parameter.grad.array is not view:
                view[...] = parameter.grad.array

    def runs(self) -> Iterator["Run"]:
        """Longest spans of neighbouring parameters that have a gradient and have moved equally often."""
        moving = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        # Position minus rank is constant exactly within neighbours.
        neighbours = groupby(enumerate(moving), key=lambda pair: (pair[1] - pair[0], self.steps[pair[1]]))
        for (_, step), pairs in neighbours:
            indices = [index for _, index in pairs]
            for index in indices:
                self.steps[index] += 1
            yield Run(self, slice(self.spans[indices[0]].start, self.spans[indices[-1]].stop), step + 1)


class Run:
    """A span of one flat buffer, as an optimiser's rule sees it.

    Attributes:
        weights: Read and written in place.
        gradients: As they came.
        step: How often these parameters have moved, this time included.
    """

    def __init__(self, buffer: FlatBuffer, span: slice, step: int) -> None:
        self._buffer = buffer
        self._span = span
        self.weights = buffer.weights[span]
        self.gradients = buffer.gradients[span]
        self.step = step

    def state(self, name: str) -> Array:
        """This span of a named state vector, which starts at zero; written in place."""
        state = self._buffer.state
        if name not in state:
            state[name] = np.zeros_like(self._buffer.weights)
        return state[name][self._span]


class Optimizer:
    """Moves parameters against their gradients; each subclass says how far.

    Args:
        params: Parameters, or groups of them: mappings with ``"params"`` and whatever hyperparameters differ.
        defaults: Hyperparameters of a group that does not give its own.

    Attributes:
        param_groups: One mapping a group, with ``"params"`` and the hyperparameters; changing
            ``param_groups[0]["lr"]`` takes effect at the next step.

    Raises:
        ValueError: If there is no parameter, or one stands in two groups.
        TypeError: If something else than a parameter is given, or a group mixes dtypes.
    """

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.param_groups: list[dict[str, Any]] = [{**defaults, **group} for group in _groups(params)]
        self._check_parameters()
        self._buffers = [FlatBuffer(group["params"]) for group in self.param_groups]
        self._pre_hooks = Hooks()
        self._post_hooks = Hooks()

    def _check_parameters(self) -> None:
        name = type(self).__name__
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{name} needs parameters, got {type(parameter).__name__}; pass model.parameters()"
                )
        if not parameters:
            raise ValueError(f"{name} needs at least one parameter, got none; pass model.parameters()")
        if len(set(parameters)) < len(parameters):
            raise ValueError(f"{name} needs each parameter once, got one twice; check the groups")
        for group in self.param_groups:
            dtypes = {str(parameter.dtype) for parameter in group["params"]}
            if len(dtypes) > 1:
                raise TypeError(f"{name} needs one dtype in a group, got {sorted(dtypes)}; split the group")

    def register_step_pre_hook(self, hook: Callable[["Optimizer"], None]) -> Handle:
        """Has ``hook(optimizer)`` called before each step: weights are old, gradients final."""
        return self._pre_hooks.add(hook)

    def register_step_post_hook(self, hook: Callable[["Optimizer"], None]) -> Handle:
        """Has ``hook(optimizer)`` called after each step: weights are new, gradients still there."""
        return self._post_hooks.add(hook)

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for buffer in self._buffers:
            for parameter in buffer.parameters:
                parameter.grad = None

    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for buffer in self._buffers:
            buffer.gather()
        if self._pre_hooks:
            self._pre_hooks(self)
        for group, buffer in zip(self.param_groups, self._buffers, strict=True):
            for run in buffer.runs():
                self.update(group, run)
        if self._post_hooks:
            self._post_hooks(self)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """Moves the weights of one run in place; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs an update method")


def _groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    given = list(params)
    if given and all(isinstance(group, Mapping) for group in given):
        for group in given:
            if "params" not in group:
                raise ValueError(f'an optimiser needs "params" in every group, got only {sorted(group)}')
        return [{**group, "params": list(group["params"])} for group in given]
    return [{"params": given}]


def check_at_least(owner: str, least: float, **values: float) -> None:
    """Refuses hyperparameters below a bound.

    Raises:
        ValueError: Naming the optimiser, the hyperparameter and what came.
    """
    for name, value in values.items():
        if not value >= least:
            raise ValueError(f"{owner} needs {name} >= {least:g}, got {name}={value}")
