"""Records what `transformers.Trainer` trains."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from diag.integrations.runs import Pair, Runs


class DiagCallback(Runs, TrainerCallback):
    """Records each training of a Hugging Face `Trainer` into a folder.

    The model and its optimiser are watched from the first step on. What the Trainer logs (``loss``,
    ``grad_norm``, ``eval_loss``, metrics of your own) is recorded under its names; its ``learning_rate`` is
    left out, for the recorder reads it at the step itself. A step is one of the optimiser, whatever
    ``gradient_accumulation_steps`` is, and evaluations are not recorded as training. A training that is
    resumed from a checkpoint counts its steps from 0; ``first_global_step`` in ``run.json`` says where in
    the whole it began.

    What cannot be seen: the loss of each step, which these models compute inside (the Trainer logs its
    mean); and exceptions. To have a training that raised closed with its reason, train in a ``with`` block;
    otherwise its log is closed when the next training begins or the interpreter exits.

    Args:
        folder: Where the first training is written; later ones go to ``folder-2``, ``folder-3``.
        config: Goes into ``run.json``, over the arguments of the Trainer.
        settings: As `diag.Recorder` takes them, such as ``every``.

    Raises:
        FileExistsError: When training starts, if the folder holds a log already.
        TypeError: When training starts, if a setting is unknown.
        ValueError: When training starts, if a setting is out of range, or the model is spread over devices.

    Example:
        >>> def train(model, arguments, data):  # doctest: +SKIP
        ...     with DiagCallback("runs/bert", every=10) as callback:
        ...         Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Opens a run."""
        config = {**args.to_dict(), "first_global_step": state.global_step}
        pair = Pair(objects["model"], _unwrapped(objects["optimizer"]))
        self._open([pair], config, rank=args.process_index)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **objects: Any,
    ) -> None:
        """Passes the Trainer's numbers on."""
        numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
        numbers.pop("learning_rate", None)
        self._log(numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Closes the run."""
        self._close()


def _unwrapped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser that moves the parameters; Accelerate's decides only whether it shall."""
    while isinstance(optimizer, AcceleratedOptimizer):
        optimizer = optimizer.optimizer
    return optimizer
