"""Backward passes beside steps: several make one step where gradients are accumulated, some make none."""

from collections.abc import Callable
from typing import Any
from weakref import ref

import torch

from diag.capture.contract import Tell, Work

# How `GradScaler` finds out, at each of its steps, whether an optimiser unscales gradients by itself.
QUESTION = "_step_supports_amp_scaling"


class BackwardPasses:
    """Counts backward passes by the gradient of one parameter, and tells what is odd about them.

    No number is computed. No hook runs where `GradScaler` skips a step, but it does ask the optimiser
    something first: a question after which comes no step, but another backward pass, was a skipped step.

    Args:
        parameter: Takes part in every backward pass.
        optimizer: Makes steps of them.
        tell: As `diag.capture.contract` describes it.
        work: Likewise.
        name: The watched pair's.
        on_end: Called at the end of each pass.

    Attributes:
        count: Passes since the last step.
        is_scaled: Whether this step's gradients went through a `GradScaler`.
    """

    def __init__(
        self,
        parameter: torch.Tensor,
        optimizer: torch.optim.Optimizer,
        tell: Tell,
        work: Work,
        name: str,
        on_end: Callable[[], None],
    ) -> None:
        self._parameter = parameter
        self._optimizer = optimizer
        self._tell = tell
        self._work = work
        self._name = name
        self._on_end = on_end
        self._skipped = 0
        self._told_accumulation = False
        self._gradient: Callable[[], torch.Tensor | None] = lambda: None
        self._version = 0
        self.count = 0
        self.is_scaled = False
        hooked: Any = parameter  # torch has no types for its hooks
        self._handle = hooked.register_post_accumulate_grad_hook(self._on_gradient)
        self._answers = not hasattr(optimizer, QUESTION)
        if self._answers:
            setattr(optimizer, QUESTION, _No(self._on_question))

    def _on_gradient(self, parameter: torch.Tensor) -> None:
        with self._work("count of backward passes", self._name):
            self._tell_skipped()
            self.count += 1
            if parameter.grad is not None:
                self._gradient, self._version = ref(parameter.grad), parameter.grad._version
            # Other gradients are yet to come; the engine calls back when all are there.
            torch.autograd.Variable._execution_engine.queue_callback(self._on_end)

    def _on_question(self) -> None:
        self.is_scaled = True

    def _tell_skipped(self) -> None:
        if self.is_scaled:
            self._skipped += 1
            self._tell(
                "skipped_step", self._name, f"GradScaler skipped a step, number {self._skipped} of this run"
            )
            self.count, self.is_scaled = 0, False

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
            self._tell("accumulation", self._name, message)
        self.count, self.is_scaled = 0, False

    def close(self) -> None:
        """Lets go of the parameter and of the optimiser."""
        self._tell_skipped()
        self._handle.remove()
        if self._answers:
            delattr(self._optimizer, QUESTION)


class _No:
    """Is false, and says when it is asked."""

    def __init__(self, on_question: Callable[[], None]) -> None:
        self._on_question = on_question

    def __bool__(self) -> bool:
        self._on_question()
        return False
