"""Training and evaluation mode: the network that is trained and the one that is used."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.persistence import lasting
from diag.diagnosis.rules import rule
from diag.diagnosis.task import guess_loss, is_impaired
from diag.diagnosis.validation import ACCURACIES, VALIDATION_LOSSES, validation_of
from diag.log import Log


@rule("evaluation_mode_rate")
def train_eval_mode(log: Log, *, largest_loss_ratio: float) -> Iterator[Finding]:
    """A network that trains in evaluation mode, is evaluated in training mode, or is far worse once evaluated."""
    if not any(layer.has_two_modes for layer in log.model.layers):
        return
    yield from (
        _trained_in_evaluation_mode(log)
        or _evaluated_in_training_mode(log)
        or _worse_in_evaluation(log, largest_loss_ratio)
    )


def _trained_in_evaluation_mode(log: Log) -> list[Finding]:
    rate = log.series("evaluation_mode_rate").known()
    spell = lasting(rate.values[:, 0] >= 1, rate.steps, least=5)
    if spell is None:
        return []
    outcome = Outcome.of(log)
    is_seen = outcome is not None and outcome.steps[-1] > spell.step
    is_fine_tuning = any(not each.is_trained or not each.requires_grad for each in log.model.parameters)
    is_harmless = is_fine_tuning or (is_seen and not is_impaired(log, spell.step))
    first = next(layer for layer in log.model.layers if layer.has_two_modes)
    return [
        Finding(
            rule="train_eval_mode",
            severity="note" if is_harmless else "warning",
            layer=first.name,
            onset_step=spell.step,
            evidence=Evidence(
                series="evaluation_mode_rate",
                value=1.0,
                band="below 1",
                readings=spell.readings,
                last_healthy_step=spell.last_healthy_step,
                text=(
                    f"From step {spell.step} on the network is trained in evaluation mode, layer {first.name!r} "
                    f"({first.kind}) among others; its layers are not heard then."
                ),
            ),
            why="Dropout drops nothing, and batch normalisation neither looks at the batch nor learns its statistics.",
            fix="Call model.train() before the training goes on, most likely after an evaluation.",
            confidence=0.6 if is_harmless else 0.9,
            references=("Jiang et al., TrainCheck, OSDI 2025",),
        )
    ]


def _evaluated_in_training_mode(log: Log) -> list[Finding]:
    """Passes without a tape, in training mode, exactly where the run logs what it validated."""
    validation = validation_of(log, (*VALIDATION_LOSSES, *ACCURACIES))
    if validation is None or "training_mode_evaluations" not in log:
        return []
    counts = log.series("training_mode_evaluations").known()
    has_passes = counts.values[:, 0] > 0
    # What is logged between two steps belongs to the one that has ended.
    is_after = np.isin(counts.steps - 1, validation.steps)
    # Passes at other steps too are part of the training, as for pseudo-labels. Before the first step all is open.
    is_elsewhere = np.any(has_passes[~is_after & (counts.steps > 0)])
    if np.count_nonzero(is_after) < 2 or not np.all(has_passes[is_after]) or is_elsewhere:
        return []
    heard = int(counts.steps[is_after][0])
    first = next(layer for layer in log.model.layers if layer.has_two_modes)
    return [
        Finding(
            rule="train_eval_mode",
            severity="warning",
            layer=first.name,
            # The loop was so from its start, though it shows where it validates.
            onset_step=int(log.steps[0]),
            evidence=Evidence(
                series="training_mode_evaluations",
                value=float(counts.values[is_after][0, 0]),
                band="0",
                readings=int(np.count_nonzero(is_after)),
                last_healthy_step=None,
                text=(
                    f"Each of the {np.count_nonzero(is_after)} validations that were heard, from step {heard} on, ran "
                    f"in training mode, layer {first.name!r} ({first.kind}) among others."
                ),
            ),
            why="Dropout makes the validation worse than it is, and batch normalisation learns from its examples.",
            fix="Call model.eval() before each evaluation and model.train() after it.",
            confidence=0.85,
            references=("Jiang et al., TrainCheck, OSDI 2025: two evaluations that differ",),
        )
    ]


def _worse_in_evaluation(log: Log, largest_ratio: float) -> list[Finding]:
    outcome = Outcome.of(log)
    layer = next((each for each in log.model.layers if each.uses_batch), None)
    if outcome is None or layer is None or "probe_loss_as_trained" not in log:
        return []
    trained = log.series("probe_loss_as_trained").known()
    used = log.series("probe_loss").at(trained.steps)[:, 0]
    as_trained = trained.values[:, 0]
    # A loss that is practically zero may be many times another such and mean nothing.
    is_worse = (used > largest_ratio * as_trained) & (used - as_trained > 0.1 * abs(outcome.initial))
    spell = lasting(is_worse, trained.steps)
    if spell is None:
        return []
    guess = guess_loss(log)
    is_useless = guess is not None and used[-1] > 0.9 * guess and as_trained[-1] < 0.5 * guess
    return [
        Finding(
            rule="train_eval_mode",
            severity="fault" if is_useless else "warning",
            layer=layer.name,
            onset_step=spell.step,
            evidence=Evidence(
                series="probe_loss",
                value=float(used[-1] / as_trained[-1]) if as_trained[-1] else float("inf"),
                band=f"at most {largest_ratio:g} times the loss as trained",
                readings=spell.readings,
                last_healthy_step=spell.last_healthy_step,
                text=(
                    f"In the end the loss on the probe batch is {as_trained[-1]:.4g} in the mode of training and "
                    f"{used[-1]:.4g} in evaluation mode, with the same weights."
                ),
            ),
            why=(
                "In evaluation, batch normalisation uses running statistics in place of the batch's own, and those "
                "do not fit what the network gives by now."
            ),
            fix=(
                "Look at the momentum of the running statistics, at batches that are small or of another kind than in "
                "use, and whether the layers were in training mode while they learned."
            ),
            confidence=0.8,
            references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: a loss that differs by half",),
        )
    ]
