"""Runs a program: the loop, its faults included, alike in both frameworks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np

import diag
from benchmarks.faults.datasets import Examples, Split, split
from benchmarks.faults.networks import array_of, build, weight_layers
from benchmarks.faults.program import Program
from benchmarks.faults.schedules import factor

EVALUATIONS = 16
# Of a recorded run: looks at a fixed part of the training set, and into how many chunks it is cut.
LOOKS = 8
LOOKED_AT, CHUNKS = 256, 8
WORST = -1.0


@dataclass(frozen=True)
class Result:
    """What became of a training.

    Attributes:
        skill: On the validation set in the end: for classes the accuracy over a guess's, balanced over classes,
            1 being perfect and 0 a guess; for a regression the share of the variance that is explained. -1 where
            numbers are lost, and never less.
        best_skill: The best of all evaluations.
    """

    skill: float
    best_skill: float


def train(program: Program, seed: int, recorder: diag.Recorder | None = None) -> Result:
    """Trains a program once.

    Args:
        program: What to train.
        seed: Of the split, the weights and the order of the examples.
        recorder: Where it is recorded, if it is.
    """
    with np.errstate(all="ignore"), _alone(program.framework):
        return _Training(program, seed, recorder).run()


@contextmanager
def _alone(framework: str) -> Iterator[None]:
    """PyTorch on one thread, for programs are small and many; and in evaluation mode by the way of its modules.

    Its encoder would take another way then, past what is watched.
    """
    if framework != "torch":
        yield
        return
    torch = import_module("torch")
    threads, is_fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mha.set_fastpath_enabled(is_fast)


class _Training:
    """One training in progress."""

    def __init__(self, program: Program, seed: int, recorder: diag.Recorder | None) -> None:
        self.program, self.loop, self.recorder, self.seed = program, program.loop, recorder, seed
        self.rng = np.random.default_rng((seed, 1))
        self.nn = import_module(f"{program.framework}.nn")
        self.library = import_module(program.framework)
        self.split: Split = split(program.data, seed)
        self.model = build(program, self.split.train.x.shape[1:], self.split.outputs, seed)
        if program.loop.pretrained:
            self._pretrain()
        self._freeze()
        self.criterion = self._criterion()
        self.optimizer, self.scheduler = self._descent()
        if recorder is not None:
            recorder.watch(self.model, self.optimizer, criterion=self.criterion)
            self._ask_for_looks(recorder)

    def _ask_for_looks(self, recorder: diag.Recorder) -> None:
        """All that can be measured on a fixed part of the training set, as who wrote the program would ask for it."""
        count = len(self.split.train.x)
        # Evenly spread, for a set may come sorted.
        rows = np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int)
        size = max(len(rows) // CHUNKS, 1)
        chunks = [rows[start::CHUNKS][:size] for start in range(min(CHUNKS, len(rows)))]
        every = max(self.loop.steps // LOOKS, 1)
        recorder.representation(self._loss_on(rows), every=every)
        recorder.noise([self._loss_on(chunk) for chunk in chunks], examples=size, every=every)
        recorder.curvature(self._loss_on(chunks[0]), every=every, k=1, samples=2)

    def _loss_on(self, rows: Any) -> Callable[[], Any]:
        """The loss on these examples of the training set, targets and criterion as the fault leaves them."""
        return lambda: self._loss(self.split.train.x[rows], self.split.train.y[rows])

    def _pretrain(self) -> None:
        """Trains all layers on the same task, and draws the head anew, as for a new one."""
        loop = replace(self.loop, steps=self.loop.pretrained, pretrained=0, frozen=0)
        before = _Training(replace(self.program, loop=loop), self.seed, None)
        before.run()
        for parameter, trained in zip(self.model.parameters(), before.model.parameters(), strict=True):
            array_of(parameter)[...] = array_of(trained)
        for name, parameter in self.model.named_parameters():
            if name == "head.weight":
                array_of(parameter)[...] = self.rng.permutation(array_of(parameter).ravel()).reshape(
                    parameter.shape
                )

    def _freeze(self) -> None:
        for name in weight_layers(self.model)[: self.loop.frozen]:
            for each, parameter in self.model.named_parameters():
                if each.startswith(f"{name}."):
                    parameter.requires_grad = False

    def _criterion(self) -> Any:
        kind = getattr(self.nn, self.loop.criterion.removeprefix("one-hot "))
        return kind(reduction=self.loop.reduction)

    def _descent(self) -> tuple[Any, Any]:
        descent, optim = self.program.descent, import_module(f"{self.program.framework}.optim")
        unknown = tuple(f"{name}." for name in weight_layers(self.model)[: self.loop.left_out])
        known = [p for name, p in self.model.named_parameters() if not name.startswith(unknown or ("\0",))]
        optimizer = getattr(optim, descent.kind)(
            [p for p in known if p.requires_grad], lr=descent.lr, **dict(descent.options)
        )
        passes = max(len(self.split.train.x) // (self.loop.batch or len(self.split.train.x)), 1)

        def multiple(step: int) -> float:
            return factor(descent.schedule, descent.strength, step, self.loop.steps, passes)

        return optimizer, optim.lr_scheduler.LambdaLR(optimizer, multiple)

    # ------------------------------------------------------------------------------- the loop

    def run(self) -> Result:
        every = max(self.loop.steps // EVALUATIONS, 1)
        skills = []
        for step, rows in enumerate(islice(self._batches(), self.loop.steps)):
            self._set_mode(step)
            self._step(step, rows)
            if step % every == every - 1 or step == self.loop.steps - 1:
                skills.append(self._validate())
        return Result(skills[-1], max(skills))

    def _set_mode(self, step: int) -> None:
        self.model.train(step < self.loop.evaluating_from * self.loop.steps)

    def _step(self, step: int, rows: Any) -> None:
        x, y = self.split.train.x[rows], self.split.train.y[rows]
        loss = self._loss(x, y)
        if self.loop.zero_every and step % self.loop.zero_every == 0:
            self.optimizer.zero_grad()
        is_flipped = (step + 1) * self.loop.flipped % 1 < self.loop.flipped or self.loop.flipped >= 1
        (-loss if is_flipped else loss).backward()
        if self.program.descent.clip:
            self.nn.utils.clip_grad_norm_(self.model.parameters(), self.program.descent.clip)
        self.optimizer.step()
        self.scheduler.step()

    def _loss(self, x: Any, y: Any) -> Any:
        return self.criterion(self.model(self._tensor(x)), self._tensor(self._targets(y)))

    def _batches(self) -> Iterator[Any]:
        """Rows of batch after batch, every pass in a new order, or in the given one where the set comes sorted."""
        count = len(self.split.train.x)
        size = min(self.loop.batch or count, count)
        is_sorted = self.program.data.sorted_share > 0
        order = np.arange(count)
        while True:
            if not is_sorted and not self.loop.batches:
                order = self.rng.permutation(count)
            usable = count - count % size
            batches = order[:usable].reshape(-1, size)
            yield from batches[: self.loop.batches] if self.loop.batches else batches

    def _tensor(self, array: Any) -> Any:
        return self.library.from_numpy(array) if self.program.framework == "torch" else array

    # ------------------------------------------------------------------------------ validation

    def _validate(self) -> float:
        self.model.train(self.loop.validates_in == "train")
        x, y = self.split.validation
        with self.library.no_grad():
            output = self.model(self._tensor(x))
            predicted = output.numpy()
            # A criterion of its own, so that what the recorder hears is the training alone.
            loss = float(self._criterion()(output, self._tensor(self._targets(y))))
        if self.loop.reduction == "sum":
            loss /= len(y)
        self.model.train(True)
        if self.recorder is not None:
            self.recorder.log(val_loss=loss)
            if y.ndim == 1:
                self.recorder.log(val_accuracy=float(np.mean(predicted.argmax(axis=1) == y)))
        return skill(predicted, self.split.validation)

    def _targets(self, y: Any) -> Any:
        is_one_hot = self.loop.criterion.startswith("one-hot")
        return np.eye(self.split.outputs, dtype=np.float32)[y] if is_one_hot else y


def skill(predicted: Any, examples: Examples) -> float:
    """See `Result`."""
    y = examples.y
    if not np.isfinite(predicted).all():
        return WORST
    if y.ndim == 1:
        chosen = predicted.argmax(axis=1)
        classes = np.unique(y)
        accuracy = float(np.mean([np.mean(chosen[y == label] == label) for label in classes]))
        guess = 1 / len(classes)
        return max((accuracy - guess) / (1 - guess), WORST)
    explained = 1 - np.mean((predicted - y).astype(float) ** 2) / np.mean(
        (y - y.mean(axis=0)).astype(float) ** 2
    )
    return max(float(explained), WORST) if math.isfinite(explained) else WORST
