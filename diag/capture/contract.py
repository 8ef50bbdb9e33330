"""What the recorder asks of a capture, whatever framework it listens to."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from diag.events import Criterion, Event, Layer, Optimizer, Parameter

Hear = Callable[[Event], None]
Signal = Callable[["Capture"], None]
# Kind, subject and message of what no number can say.
Tell = Callable[[str, str, str], None]
# A block for a named piece of work, which may be entered time after time.
Work = Callable[[str, str], AbstractContextManager[None]]
Closure = Callable[[], Any]
# Layer (empty for the criterion), its positional inputs and its output, arrays lent for the call.
Overhear = Callable[[str, tuple[Any, ...], Any], None]


class OptimizerState(NamedTuple):
    """What an optimiser keeps of one parameter, under PyTorch's names, and the hyperparameters of its group."""

    kept: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]


def is_uniform(vector: Any) -> bool:
    """Whether an array is a vector of several entries that are all one number."""
    return len(vector.shape) == 1 < len(vector) and bool((vector == vector[0]).all())


class MissedPasses:
    """Tells, once, that an optimiser steps time after time though no backward pass was heard before.

    Args:
        tell: As `Tell`.
        name: The watched pair's.
    """

    def __init__(self, tell: Tell, name: str) -> None:
        self._tell = tell
        self._subject = f"{name}.gradient_norm_before_clipping".lstrip(".")
        self._in_a_row = 0

    def note(self, *, has_passed: bool) -> None:
        """An optimiser steps; at first it may be in the middle of a step, or which layers are idle is yet to show."""
        self._in_a_row = 0 if has_passed else self._in_a_row + 1
        if self._in_a_row == 3:
            self._tell(
                "unseen",
                self._subject,
                "no backward pass was heard before the optimizer's step: gradients were set by hand, or it ran in a "
                "step that is not recorded, as another pair's optimizer moves between it and its own (every=1 helps)",
            )


class Capture(Protocol):
    """Listens to one model and its optimiser, and tells events while `listening` is true.

    A recorded step tells, in this order: ``activation`` of each layer as it runs, ``input`` of the network,
    ``prediction``, ``target`` and ``loss`` where a criterion is watched, ``weight`` and ``gradient`` before the
    optimiser moves and ``moved_weight`` after it. Who wants it is also told ``output_gradient`` in the backward
    pass. ``before_step`` and ``after_step`` are signalled at every step, recorded or not. An evaluation between
    steps is not told. An optimiser that computes the gradient itself, from a closure, tells ``gradient`` after it
    has moved. ``gradient`` is what the optimiser gets; where gradients were clipped, ``unclipped_gradient`` goes
    before it, with one array, the norm that each had before: the gradients themselves are gone when it shows that
    they were clipped.

    What cannot be heard is told as a happening of the kind ``unseen``: the name of a layer and the reason,
    or no name where nothing of the forward pass was heard.
    """

    model: Any
    name: str
    listening: bool
    _optimizer: Any
    _criterion: Any
    # Passes of the network in training mode that left no tape, while listening; whoever reads it sets it back.
    evaluations: int

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

    def learning_rates(self) -> tuple[float, ...]:
        """The learning rate of each group as it is now."""
        return tuple(float(group["lr"]) for group in self._optimizer.param_groups)

    def hyperparameters(self) -> list[Mapping[str, Any]]:
        """Hyperparameters of each group as they are now."""
        groups = self._optimizer.param_groups
        return [{key: value for key, value in group.items() if key != "params"} for group in groups]

    @property
    def modules(self) -> Mapping[str, Any]:
        """The modules that compute, by the name of the layer."""

    # What follows runs closures of the user's on a fixed batch and leaves no trace: nothing of it is told as
    # an event, and gradients, buffers, modes, random states and hooks are afterwards as they were.

    def make_hvp(self, closure: Closure) -> tuple[Callable[[Any], Any], int, Any]:
        """A Hessian-vector product on flat vectors, its dimension, and an array like the vectors."""

    def gradients(self, closure: Closure) -> Sequence[Any]:
        """Gradient of a closure's loss by each trained parameter, in evaluation mode."""

    def overhear(self, closure: Closure, hear: Overhear, *, in_evaluation: bool = True) -> Any:
        """Runs a closure without a tape and tells what each layer makes of it.

        Args:
            closure: Returns the loss.
            hear: Told of each layer as it runs, and of the criterion.
            in_evaluation: False leaves the modules in the modes that they are in.

        Returns:
            The loss as an array.
        """

    def optimizer_state(self) -> Sequence[OptimizerState]:
        """What the optimiser keeps, by parameter as in `make_hvp`."""

    def close(self) -> None:
        """Removes every hook; the model is as it was."""
