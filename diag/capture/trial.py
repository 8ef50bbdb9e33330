"""What an experiment asks of a model: to run it, to move its weights, and to find it afterwards as it was."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]

# "steady": what is random while training (dropout) is off, and batches are normalised by their own statistics
# as in training. It is the loss that a step descends on, without its noise.
Mode = Literal["steady", "training", "evaluation"]


class Batch(NamedTuple):
    """Inputs and targets: arrays, or tuples, lists or dictionaries of arrays, with one example in each row."""

    x: Any
    y: Any

    def first(self, amount: int) -> "Batch":
        """The first examples."""
        return Batch(*(each(lambda array: array[:amount], part) for part in self))

    def __len__(self) -> int:
        sizes: list[int] = []
        each(lambda array: sizes.append(len(array)), self.x)
        return sizes[0]


class Outcome(NamedTuple):
    """What one run of the model gave: the output, the loss, and the gradient where it was asked for."""

    output: Numbers
    loss: float
    gradient: Numbers


class Trial(Protocol):
    """A model under experiment, with its weights as one flat vector.

    Every run begins with the buffers and the random state that the model came with, so that the same
    weights give the same loss, and puts them back. On leaving the ``with`` block the parameters are bit for bit
    what they were; gradients, hooks and the optimiser's state are never touched.

    Attributes:
        weights: Those that the model came with, shape ``(n,)``.
        spans: Where each parameter lies in the vector, by dotted name.
        precision: Distance from 1 to the next number in the narrowest type among the parameters.
    """

    weights: Numbers
    spans: Mapping[str, slice]
    precision: float

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(
        self,
        batch: Batch,
        weights: Numbers | None = None,
        *,
        mode: Mode = "steady",
        wants_gradient: bool = False,
    ) -> Outcome:
        """The model's output and loss on a batch, at its own weights or at others."""

    def training_losses(self, batch: Batch, passes: int) -> list[float]:
        """The losses of training passes one after the other, each with random numbers of its own."""

    def next_update(self, gradient: Numbers) -> Numbers | None:
        """What the optimiser's next step would add to the weights; None where it computes gradients itself."""

    def zeroed(self, x: Any) -> Any:
        """Inputs of the same shape and kind that say nothing."""


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies a function to each array of a batch, keeping its tuples, lists and dictionaries."""
    if isinstance(value, Mapping):
        return {key: each(function, part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([each(function, part) for part in value])
    return function(value)


def applied(model: Callable[..., Any], x: Any) -> Any:
    """The model's output: a tuple of inputs comes as arguments, a dictionary as named ones."""
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def _members(optimizer: Any) -> list[Any]:
    """The parameters that an optimiser moves, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def moved(model: Any, optimizer: Any | None) -> dict[str, Any]:
    """The parameters of a model that training moves, by name; those that want a gradient without an optimiser."""
    own = None if optimizer is None else set(map(id, _members(optimizer)))
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (own is None or id(parameter) in own)
    }


def copied(optimizer: Any, parameters: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A copy of an optimiser, to make a step of which nobody hears, and its copies of some parameters."""
    twin = deepcopy(optimizer)
    twins = dict(zip(map(id, _members(optimizer)), _members(twin), strict=True))
    return twin, {name: twins[id(parameter)] for name, parameter in parameters.items()}


def set_mode(model: Any, mode: Mode) -> None:
    """Puts each module into training or evaluation, as the mode wants it."""
    for module in model.modules():
        module.training = mode == "training" or (mode == "steady" and hasattr(module, "running_mean"))


def spans_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Where each parameter lies when all are laid side by side."""
    ends = np.cumsum(list(sizes.values())).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def check_loss(shape: tuple[int, ...]) -> None:
    """Refuses a loss of several numbers.

    Raises:
        ValueError: Naming the shape.
    """
    if np.prod(shape) != 1:
        raise ValueError(
            f"verify needs a criterion that returns one number, got shape {shape}; take its mean over the batch"
        )
