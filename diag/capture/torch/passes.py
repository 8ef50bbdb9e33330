"""Backward passes beside steps: several make one step where gradients are accumulated, some make none."""

import sys
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

import torch

from diag.capture.contract import Tell, Work

# How `GradScaler` finds out, at each of its steps, whether an optimiser unscales gradients by itself.
QUESTION = "_step_supports_amp_scaling"
# An attribute of an optimiser that calls it when its gradients are whole, and not yet clipped.
ANNOUNCEMENT = "on_whole_gradients"


class BackwardPasses:
    """Counts backward passes by the gradient of one parameter, and tells what is odd about them.

    While it is not `listening` no hook of it runs in a backward pass. None runs where `GradScaler` skips a step,
    but it does ask the optimiser something first: a question after which comes no step, but another backward
    pass or another question, was a skipped step.

    Args:
        parameters: Those trained; the last that asks for a gradient takes part in every backward pass, unless its
            layer is not used: that shows at the first step, and it is left out.
        optimizer: Makes steps of them.
        tell: As `diag.capture.contract` describes it.
        work: Likewise.
        name: The watched pair's.
        on_end: Called when all gradients of a pass are there.

    Attributes:
        count: Passes since the last step, while listening.
        scale: The factor by which a `GradScaler` had scaled the loss of this step, as a tensor; None if none has,
            or nobody listens.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        optimizer: torch.optim.Optimizer,
        tell: Tell,
        work: Work,
        name: str,
        on_end: Callable[[], None],
    ) -> None:
        self._parameters = parameters
        self._parameter = parameters[-1]
        self._optimizer = optimizer
        self._tell = tell
        self._work = work
        self._name = name
        self._on_end = on_end
        self._handle: Any = None
        self._is_listening = False
        self._was_asked = False
        self._skipped = 0
        self._told_accumulation = False
        self._gradient: Callable[[], torch.Tensor | None] = lambda: None
        self._version = 0
        self.count = 0
        self.scale: torch.Tensor | None = None
        # What stands for an optimiser of another framework is handed gradients, and says itself when it is.
        self._is_announced = hasattr(optimizer, ANNOUNCEMENT)
        if self._is_announced:
            setattr(optimizer, ANNOUNCEMENT, self._end)
        self._undo = _listen_to_question(optimizer, self._on_question)

    @property
    def listening(self) -> bool:
        """Whether passes are counted."""
        return self._is_listening

    @listening.setter
    def listening(self, value: bool) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self._is_listening = value
        # Layers may have been frozen since.
        asking = [parameter for parameter in self._parameters if parameter.requires_grad] if value else []
        if asking:
            self._parameter = asking[-1]
            hooked: Any = self._parameter  # torch has no types for its hooks
            self._handle = hooked.register_post_accumulate_grad_hook(self._on_gradient)

    def _on_gradient(self, _parameter: torch.Tensor) -> None:
        with self._work("count of backward passes", self._name):
            self._tell_skipped()
            self.count += 1
            if not self._is_announced:
                # Other gradients are yet to come; the engine calls back when all are there.
                _when_backward_ends(self._on_last_gradient)

    def _on_last_gradient(self) -> None:
        with self._work("count of backward passes", self._name):
            # Ranks average gradients in a callback of their own, which stands in the queue by now.
            _when_backward_ends(self._end)

    def _end(self) -> None:
        """All gradients of a pass are there; what changes them from here on is clipping."""
        if not self.listening:
            return
        with self._work("count of backward passes", self._name):
            gradient = self._parameter.grad
            if gradient is not None:
                self._gradient, self._version = ref(gradient), gradient._version
            self._on_end()

    def _on_question(self, asker: Any) -> None:
        # Lightning asks it too, whether it scales anything or not.
        if isinstance(asker, torch.amp.GradScaler):
            with self._work("count of backward passes", self._name):
                self._tell_skipped()
                self._was_asked = True
                if self.listening:
                    # Ours, scaled like a loss: asked for its scale, a scaler waits for the device.
                    self.scale = asker.scale(torch.ones((), device=self._parameter.device))

    def _tell_skipped(self) -> None:
        if self._was_asked:
            self._skipped += 1
            self._tell(
                "skipped_step", self._name, f"GradScaler skipped a step, number {self._skipped} of this run"
            )
            self._begin_anew()

    @property
    def has_changed(self) -> bool:
        """Whether the gradient was changed after its pass, as clipping does; unscaling leaves no sign."""
        gradient = self._parameter.grad
        return gradient is not None and (
            gradient is not self._gradient() or gradient._version != self._version
        )

    def end_step(self) -> None:
        """Begins to count anew; tells once if several passes went into the step."""
        if self.count > 1 and not self._told_accumulation:
            self._told_accumulation = True
            message = (
                f"{self.count} backward passes went into this step; activations are of its last forward pass"
            )
            with self._work("count of backward passes", self._name):
                self._tell("accumulation", self._name, message)
        if self.listening and not self.count:
            with self._work("count of backward passes", self._name):
                self._leave_out_the_idle()
        self._begin_anew()

    def _leave_out_the_idle(self) -> None:
        """No pass was heard: the parameter that was asked may have taken no part, its layer being unused."""
        taking_part = [parameter for parameter in self._parameters if parameter.grad is not None]
        if taking_part:
            self._parameters = taking_part
            self.listening = True

    def _begin_anew(self) -> None:
        self.count, self.scale, self._was_asked = 0, None, False

    def close(self) -> None:
        """Lets go of the parameter and of the optimiser."""
        self._tell_skipped()
        self.listening = False
        self._undo()
        if self._is_announced:
            setattr(self._optimizer, ANNOUNCEMENT, lambda: None)


def _when_backward_ends(function: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(function)


def _listen_to_question(
    optimizer: torch.optim.Optimizer, on_question: Callable[[Any], None]
) -> Callable[[], None]:
    """Answers the question as the optimiser would, and says who asked; gives what undoes it."""
    own = vars(optimizer).get(QUESTION)
    setattr(optimizer, QUESTION, _Answer(bool(getattr(optimizer, QUESTION, False)), on_question))

    def undo() -> None:
        delattr(optimizer, QUESTION)
        if own is not None:
            setattr(optimizer, QUESTION, own)

    return undo


class _Answer:
    """Is true or false, and says when it is asked, and by whom; copied or pickled it is plainly one of them."""

    def __init__(self, answer: bool, on_question: Callable[[Any], None]) -> None:
        self._answer = answer
        self._on_question = on_question

    def __bool__(self) -> bool:
        # The scaler hands itself to nobody, but it is its own method that asks.
        self._on_question(sys._getframe(1).f_locals.get("self"))
        return self._answer

    def __reduce__(self) -> tuple[type[bool], tuple[bool]]:
        return bool, (self._answer,)
