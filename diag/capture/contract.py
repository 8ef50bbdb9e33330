"""What the recorder asks of a capture, whatever framework it listens to."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from diag.events import Criterion, Event, Layer, Optimizer, Parameter

Hear = Callable[[Event], None]
Signal = Callable[["Capture"], None]
# Kind, subject and message of what no number can say.
Tell = Callable[[str, str, str], None]
Work = Callable[[str, str], AbstractContextManager[None]]


class Capture(Protocol):
    """Listens to one model and its optimiser, and tells events while `listening` is true.

    A recorded step tells, in this order: ``activation`` of each layer as it runs, ``input`` of the
    network, ``prediction``, ``target`` and ``loss`` where a criterion is watched, ``weight`` and ``gradient``
    before the optimiser moves and ``update`` after it. Who wants them is also told ``output_gradient`` in the
    backward pass, and ``moved_weight`` before ``update``. ``before_step`` and ``after_step`` are
    signalled at every step, recorded or not. An evaluation between steps is not told. An optimiser that
    computes the gradient itself, from a closure, tells ``gradient`` after it has moved. ``gradient``
    is what the optimiser gets; where gradients were clipped, ``unclipped_gradient`` goes before it, with one
    array, the norm that each had before: the gradients themselves are gone when it shows that they were clipped.

    What cannot be heard is told as a happening of the kind ``unseen``: the name of a layer and the reason,
    or no name where nothing of the forward pass was heard.
    """

    model: Any
    name: str
    listening: bool
    _optimizer: Any
    _criterion: Any

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers in the order in which the model holds them."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of the model."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser, with the hyperparameters of its first group."""
        return Optimizer(self.name, type(self._optimizer).__name__, self.hyperparameters()[0])

    @property
    def criterion(self) -> Criterion | None:
        """The loss module; None where none is watched."""
        if self._criterion is None:
            return None
        reduction = getattr(self._criterion, "reduction", "")
        return Criterion(self.name, type(self._criterion).__name__, str(reduction))

    def hyperparameters(self) -> list[Mapping[str, Any]]:
        """Hyperparameters of each group as they are now."""
        groups = self._optimizer.param_groups
        return [{key: value for key, value in group.items() if key != "params"} for group in groups]

    def make_hvp(self, closure: Callable[[], Any]) -> tuple[Callable[[Any], Any], int, Any]:
        """A Hessian-vector product on flat vectors, its dimension, and an array like the vectors."""

    def close(self) -> None:
        """Removes every hook; the model is as it was."""
