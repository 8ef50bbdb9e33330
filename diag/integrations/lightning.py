"""Records what `lightning.Trainer` trains."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn
from torch.optim import Optimizer

from diag.guard import DiagWarning
from diag.integrations.runs import Pair, Runs, reason_of


class DiagCallback(Runs, Callback):
    """Records each `Trainer.fit` into a folder.

    What is watched: with one optimiser the network inside the LightningModule, if one child holds all
    parameters, or else the LightningModule; with several (a GAN, say) the part of the module that each
    moves, under its name. Layers are named as in the part that is watched. What you log (``self.log``) is
    recorded under Lightning's names: ``val_loss``, ``train_loss_epoch``, at the step that ended last; what
    you log at every batch as often as Lightning's own loggers take it, every ``log_every_n_steps``.

    A step is one of the first optimiser, whatever ``accumulate_grad_batches`` is. The sanity check,
    validation and tests are not recorded as training. A training resumed from a checkpoint counts its steps
    from 0; ``first_global_step`` in ``run.json`` says where in the whole it began.

    What cannot be seen: the loss of each step, unless you log it or name the ``criterion``; parts that two
    optimisers move together, which a warning names; the input of a part that is never called as a module.

    Args:
        folder: Where the first fit is written; later ones go to ``folder-2``, ``folder-3``.
        criterion: The loss module, if its loss, predictions and targets are to be recorded too; with
            several optimisers it belongs to the first.
        config: Goes into ``run.json``, over what the module saved with ``save_hyperparameters``.
        settings: As `diag.Recorder` takes them, such as ``every``.

    Raises:
        FileExistsError: When training starts, if the folder holds a log already.
        TypeError: When training starts, if a setting is unknown.
        ValueError: When training starts, if a setting is out of range, or the module is spread over devices.

    Example:
        >>> def fit(module, loader):  # doctest: +SKIP
        ...     callback = DiagCallback("runs/gan", criterion=module.criterion, every=10)
        ...     Trainer(callbacks=[callback]).fit(module, loader)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        criterion: nn.Module | None = None,
        config: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(folder, config=config, **settings)
        self._criterion = criterion
        self._passed_on: dict[str, Any] = {}
        self._global_step = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Opens a run."""
        config = {**module.hparams, "first_global_step": trainer.global_step}
        self._passed_on = dict(trainer.logged_metrics)
        self._global_step = trainer.global_step
        pairs = list(_pairs(module, [_unwrapped(optimizer) for optimizer in trainer.optimizers]))
        if not pairs:
            _warn(f"nothing is recorded: no optimiser of {type(module).__name__} can be watched")
            return
        pairs[0] = pairs[0]._replace(criterion=self._criterion)
        self._open(pairs, config, rank=trainer.global_rank)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Passes on what was logged, when Lightning's loggers would."""
        has_stepped, self._global_step = trainer.global_step != self._global_step, trainer.global_step
        every = trainer.log_every_n_steps
        if has_stepped and every and trainer.global_step % every == 0:
            self._pass_on(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Passes on what the validation gave."""
        self._pass_on(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Passes on what the epoch gave."""
        self._pass_on(trainer)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Passes on what the module logged at the end of the last epoch, after its callbacks."""
        self._pass_on(trainer)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Closes the run."""
        self._pass_on(trainer)
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Closes the run with what ended it."""
        self._close(reason_of(exception))

    def _pass_on(self, trainer: Trainer) -> None:
        """Logs what is new since the last time: Lightning keeps old values, as the same objects."""
        if self.recorder is None:
            return
        metrics = dict(trainer.logged_metrics)
        self._log({name: value for name, value in metrics.items() if value is not self._passed_on.get(name)})
        self._passed_on = metrics


def _unwrapped(optimizer: Optimizer | LightningOptimizer) -> Optimizer:
    """The optimiser that moves the parameters; Lightning's counts steps around it."""
    return optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer


def _pairs(module: LightningModule, optimizers: Sequence[Optimizer]) -> Iterator[Pair]:
    """Each optimiser with the part of the module that it moves."""
    present = _ids(module.parameters())
    moved = [
        present & _ids(p for g in optimizer.param_groups for p in g["params"]) for optimizer in optimizers
    ]
    if len(optimizers) == 1 and moved[0]:
        yield Pair(_network(module), optimizers[0])
        return
    names: set[str] = set()
    for position, (own, optimizer) in enumerate(zip(moved, optimizers, strict=True)):
        foreign = set[int]().union(*moved) - own
        name, part = _part(module, own, foreign) or _group(module, own, foreign, f"optimizer_{position}")
        if own and part is not None and name not in names:
            names.add(name)
            yield Pair(part, optimizer, name=name)
        else:
            _warn(
                f"optimiser {position} ({type(optimizer).__name__}) is not recorded: no part of "
                f"{type(module).__name__} is moved by it alone"
            )


def _network(module: LightningModule) -> nn.Module:
    """What the LightningModule is wrapped around; itself, if its layers are its own."""
    parameters = _ids(module.parameters())
    for child in module.children():
        if parameters <= _ids(child.parameters()) and any(True for _ in child.children()):
            return child
    return module


def _part(module: nn.Module, own: set[int], foreign: set[int]) -> tuple[str, nn.Module] | None:
    """The outermost part that holds all of one optimiser's parameters and no other's, with its name."""
    for name, part in module.named_modules():
        held = _ids(part.parameters())
        if name and own <= held and not held & foreign:
            return name, part
    return None


def _group(module: nn.Module, own: set[int], foreign: set[int], name: str) -> tuple[str, nn.Module | None]:
    """Children that one optimiser moves together, as a module that is never called itself."""
    children = {name: child for name, child in module.named_children() if own & _ids(child.parameters())}
    if not children or any(foreign & _ids(child.parameters()) for child in children.values()):
        return name, None
    group = nn.Module()
    # Not by `add_module`, which refuses names that are attributes, such as `half`.
    group._modules.update(children)
    return name, group


def _ids(parameters: Iterable[nn.Parameter]) -> set[int]:
    return {id(parameter) for parameter in parameters}


def _warn(message: str) -> None:
    warnings.warn(f"diag: {message}", DiagWarning, stacklevel=2)
