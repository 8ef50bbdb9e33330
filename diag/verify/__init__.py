"""Counter-experiments: what a diagnosis suspects is put to the test on the model itself, which stays as it was."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from diag.capture import open_trial
from diag.capture.trial import Batch
from diag.diagnosis.findings import Diagnosis
from diag.verify.bench import Bench
from diag.verify.checks import Check, Verdict, Verification
from diag.verify.experiments import EXPERIMENTS

__all__ = ["EXPERIMENTS", "Check", "Verdict", "Verification", "verify"]


def verify(
    model: Any,
    criterion: Any,
    x: Any,
    y: Any,
    *,
    optimizer: Any = None,
    diagnosis: Diagnosis | None = None,
    experiments: Collection[str] | None = None,
    steps: int = 300,
    seed: int = 0,
) -> Verification:
    """Puts what may be wrong with a training to the test, by short experiments on its model.

    A diagnosis reads a log, and what it names is likely, not certain. These experiments change one thing and
    look at what comes of it: inputs set to zero, the mode flipped, the next step made shorter and longer,
    weights moved against the gradient's word, a few examples learnt by heart. All of them are about the model
    as it is now and this one batch. Together they cost about ``2 * steps`` to ``4 * steps`` gradients of 16
    examples, and some 40 to 200 losses of the batch.

    The model is left bit for bit as it was: parameters, buffers, gradients, mode, random state (PyTorch's own,
    or that of scratchnet's layers), hooks; so is the optimiser.

    Args:
        model: A scratchnet or PyTorch module, as it is trained.
        criterion: Computes the loss, one number, from ``model(x)`` and ``y``: a loss module or any function.
        x: A batch as it is trained on, at least 2 examples; a tuple of arrays is passed as arguments, a
            dictionary by name.
        y: Its targets.
        optimizer: For the line probe, and to know which parameters are trained.
        diagnosis: Only experiments that bear on its findings are made; all where there is none.
        experiments: Those to make, whatever the diagnosis says, among ``"zeroed_input"``, ``"mode_flip"``,
            ``"line_probe"``, ``"gradient_check"`` and ``"overfit_one_batch"``.
        steps: Of each short training.
        seed: Of random directions.

    Returns:
        One check for each claim: print it, or read ``.claim``, ``.verdict``, ``.numbers`` and ``.meaning``. A line
        probe without an optimiser, or one that computes gradients itself (L-BFGS, SAM), gives none.

    Raises:
        TypeError: If the model is of no supported framework, or optimiser and criterion do not fit it.
        ValueError: If an experiment is unknown, there are fewer than 2 examples or no steps, nothing is trained,
            or the loss is not one finite number.

    Example:
        >>> import diag, numpy as np, scratchnet as sn
        >>> model = sn.nn.Sequential(sn.nn.Linear(4, 8, rng=0), sn.nn.Tanh(), sn.nn.Linear(8, 2, rng=1))
        >>> x, y = np.random.default_rng(0).standard_normal((32, 4)), np.arange(32) % 2
        >>> checks = diag.verify(model, sn.nn.CrossEntropyLoss(), x, y, experiments=["gradient_check"])
        >>> print(checks)
        [gradient_check] refuted: The gradient is not the loss's own.
          Of 4 parameters 4 could be measured; ...
    """
    chosen = _chosen(diagnosis, experiments)
    with open_trial(model, criterion, optimizer) as trial:
        bench = Bench(trial, Batch(x, y), steps, seed)
        _check(bench)
        checks = [check for name in chosen for check in EXPERIMENTS[name].run(bench)]
    if diagnosis is None:
        return Verification(checks)
    found = _rules(diagnosis)
    named = [replace(check, rules=tuple(rule for rule in check.rules if rule in found)) for check in checks]
    return Verification(check for check in named if check.rules or experiments is not None)


def _check(bench: Bench) -> None:
    examples = len(bench.batch)
    if examples < 2 or bench.steps < 1:
        raise ValueError(
            f"verify needs 2 examples or more and steps >= 1, got {examples} examples and steps={bench.steps}; "
            f"pass a batch as it is trained on"
        )
    loss = bench.trial.run(bench.batch).loss
    if not math.isfinite(loss):
        raise ValueError(
            f"verify needs a finite loss to start from, got {loss}; load weights from before it was lost"
        )


def _chosen(diagnosis: Diagnosis | None, experiments: Collection[str] | None) -> list[str]:
    if experiments is not None:
        unknown = sorted(set(experiments) - EXPERIMENTS.keys())
        if isinstance(experiments, str) or unknown:
            raise ValueError(
                f"verify needs a list of experiments among {', '.join(EXPERIMENTS)}, got {experiments!r}"
            )
        return [name for name in EXPERIMENTS if name in experiments]
    if diagnosis is None:
        return list(EXPERIMENTS)
    found = _rules(diagnosis)
    return [name for name, experiment in EXPERIMENTS.items() if not found.isdisjoint(experiment.rules)]


def _rules(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.findings}
