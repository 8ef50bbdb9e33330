"""Faults of the loop: parameters that are left out, gradients that pile up, steps that go the wrong way."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import SEVERITIES, Evidence, Finding
from diag.diagnosis.learning_rate import typical_update_ratio
from diag.diagnosis.optimizer import ADAPTIVE
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.rules import NotAssessableError, rule
from diag.diagnosis.task import does_well, from_the_start, is_impaired, is_short, severity_of
from diag.diagnosis.units import first_death
from diag.events import Parameter
from diag.log import Log, Series

# Steps at the start over which gradients that pile up, or a loss that is driven up, can be told.
FIRST = 8
# Below this share of a weight single precision may round a step away.
ROUNDING = 1e-6


@rule("update_norm", "parameters/gradient_norm", LOSSES)
def frozen_parameters(log: Log, *, least_share: float) -> Iterator[Finding]:
    """Parameters that do not move: no optimiser has them, or its updates are exactly zero."""
    unmoved = _unmoved(log)
    still = [each for each in log.model.parameters if _is_left_out(each) or each.name in unmoved]
    share = sum(map(_size, still)) / max(sum(map(_size, log.model.parameters)), 1)
    if not still or share < least_share:
        return
    # What asks for a gradient, and is left out all the same, is hardly frozen on purpose.
    is_forgotten = any(parameter.requires_grad for parameter in still)
    is_untouched = _was_never_trained(still)
    is_hurt = is_impaired(log) or (is_forgotten and is_short(log, 0.2)) or (is_untouched and is_short(log))
    yield Finding(
        rule="frozen_parameters",
        severity=("fault" if share > 0.5 else "warning") if is_hurt else "note",
        layer=still[0].layer,
        onset_step=int(log.series("update_norm").steps[0]),
        evidence=Evidence(
            series="update_norm",
            value=share,
            band=f"below {least_share:.0%} of all weights",
            readings=len(still),
            last_healthy_step=None,
            text=(
                f"{len(still)} of {len(log.model.parameters)} parameters, {share:.0%} of all weights, never move: "
                f"{_reason(still)}. The first is {still[0].name!r}."
                + (" Their biases and scales are as they were built." if is_untouched else "")
            ),
        ),
        why="What does not move does not learn; on purpose that is fine-tuning, by mistake most of a network is idle.",
        fix=(
            "Load what they were trained to before they are frozen, or unfreeze them."
            if is_untouched
            else "Give the optimiser all parameters, after the last change of the model, or unfreeze these layers."
        ),
        confidence=0.8 if is_hurt else 0.5,
        references=(
            "Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: untrained weights",
            "Jiang et al., TrainCheck, OSDI 2025",
        ),
    )


def _is_left_out(parameter: Parameter) -> bool:
    return not (parameter.is_trained and parameter.requires_grad)


def _was_never_trained(still: list[Parameter]) -> bool:
    """Whether what is frozen holds no bias and no scale that a training has moved: each is one number throughout."""
    vectors = [parameter for parameter in still if len(parameter.shape) == 1 and parameter.shape[0] > 1]
    return bool(vectors) and all(parameter.is_uniform for parameter in vectors)


def _reason(still: list[Parameter]) -> str:
    if any(not parameter.is_trained for parameter in still):
        return "no optimiser has them"
    if any(not parameter.requires_grad for parameter in still):
        return "they do not ask for a gradient (requires_grad is False)"
    return "their updates are exactly zero, though their gradients are not"


def _unmoved(log: Log) -> set[str]:
    """Trained parameters whose updates are all exactly zero, although gradients push them."""
    updates, gradients = log.series("update_norm"), log.series("gradient_norm", of="parameters")
    has_moved = np.any(updates.values != 0, axis=0)
    names = [updates.columns[index] for index in np.flatnonzero(~has_moved)]
    return {name for name in names if name in gradients.columns and _is_pushed(log, gradients, name)}


def _is_pushed(log: Log, gradients: Series, name: str) -> bool:
    push = gradients.column(name)
    if "learning_rate" not in log or "weight_norm" not in log:
        return bool(np.any(push > 0))
    # A step that is lost in rounding, or times zero, is a fault of the learning rate.
    reach = log.series("learning_rate").at(gradients.steps)[:, 0] * push
    return bool(np.any(reach > ROUNDING * log.series("weight_norm").column(name)))


def _size(parameter: Parameter) -> int:
    return int(np.prod(parameter.shape))


@rule("parameters/gradient_norm", LOSSES)
def disconnected_parameters(log: Log) -> Iterator[Finding]:
    """Parameters that the optimiser has and no gradient ever reaches."""
    gradients = log.series("gradient_norm", of="parameters")
    reached = _reached(log)
    trained = [parameter for parameter in log.model.parameters if not _is_left_out(parameter)]
    cut_off = [parameter for parameter in trained if parameter.name not in reached]
    # What is dead from the start keeps gradients away by itself.
    begins_dead = first_death(log) == gradients.steps[0]
    if not cut_off or not reached or begins_dead or _begins_lost(log):
        return
    yield Finding(
        rule="disconnected_parameters",
        severity="warning",
        layer=cut_off[0].layer,
        onset_step=int(gradients.steps[0]),
        evidence=Evidence(
            series="gradient_norm",
            value=float(len(cut_off)),
            band="0 parameters without a gradient",
            readings=len(gradients.steps),
            last_healthy_step=None,
            text=(
                f"No gradient reaches {len(cut_off)} of {len(trained)} parameters that the optimiser has, at any "
                f"recorded step; the first is {cut_off[0].name!r}."
            ),
        ),
        why="Their layer does not take part, or the graph is cut between them and the loss.",
        fix="If they should learn, look for a detach, a conversion to NumPy, or a layer that is never called.",
        confidence=0.75,
        references=("Jiang et al., TrainCheck, OSDI 2025",),
    )


def _reached(log: Log) -> set[str]:
    """Parameters with a gradient other than zero at some step; one that is not finite has come, too."""
    gradients = log.series("gradient_norm", of="parameters")
    has_come = np.any(gradients.values > 0, axis=0)
    reached = {name for name, has in zip(gradients.columns, has_come.tolist(), strict=True) if has}
    if "gradient_non_finite_count" in log:
        counts = log.series("gradient_non_finite_count")
        has_broken = np.any(counts.values > 0, axis=0)
        reached |= {name for name, has in zip(counts.columns, has_broken.tolist(), strict=True) if has}
    return reached


def _begins_lost(log: Log) -> bool:
    """Whether numbers are lost from the first recorded step on, which leaves no gradient to go anywhere."""
    if "activation_non_finite_count" not in log:
        return False
    return bool(np.any(log.series("activation_non_finite_count").values[0] > 0))


@rule("network/gradient_norm", LOSSES)
def missing_zero_grad(
    log: Log, *, least_growth: float, largest_flicker: float, most_rises: float, least_agreement: float
) -> Iterator[Finding]:
    """Gradients that pile up from step to step because they are set to zero never, or not before each step."""
    from_the_start(log)
    series = log.series("gradient_norm", of="network")
    norm = series.values[:, 0]
    _every_step_at_the_start(series.steps)
    outcome = Outcome.of(log)
    if outcome is None or len(norm) < 2 * FIRST:
        return
    found = (
        _never_zeroed(norm, outcome, least_growth, largest_flicker)
        or _seldom_zeroed(norm, most_rises)
        or _every_other_zeroed(norm, outcome)
        or (None if does_well(log) else _keeps_its_way(norm, outcome, least_agreement))
    )
    if found is None:
        return
    value, band, readings, text = found
    # A sum that shows as one is a mistake whatever comes of it.
    severity = max(severity_of(log), "warning", key=SEVERITIES.index)
    yield Finding(
        rule="missing_zero_grad",
        severity="fault" if outcome.has_slipped_back() else severity,
        layer=None,
        onset_step=1,
        evidence=Evidence("gradient_norm", value, band, readings, 0, text),
        why="Each step follows the sum of the gradients so far, as under a momentum of 1: it overshoots and swings.",
        fix="Call optimizer.zero_grad() once for each step, before backward.",
        confidence=0.85,
        references=("Jiang et al., TrainCheck, OSDI 2025: SO-60335387",),
    )


Sum = tuple[float, str, int, str]


def _never_zeroed(
    norm: NDArray[np.float64], outcome: Outcome, least_growth: float, largest_flicker: float
) -> Sum | None:
    """A norm that grows from the first step on as a sum does, while the loss falls, and then hardly flickers."""
    if not _piles_up(norm[: FIRST + 1], least_growth):
        return None
    later = norm[FIRST : 5 * FIRST]
    flicker = float(np.median(np.abs(np.diff(np.log(later[np.isfinite(later) & (later > 0)])))))
    if not flicker < largest_flicker or not outcome.loss[1 : FIRST + 1].min() < outcome.initial:
        return None
    growth = float(norm[FIRST] / norm[0])
    text = (
        f"Over the first {FIRST} steps the gradient grows steadily to {growth:.3g} times its first size while the "
        f"loss still falls, and from then on changes by {flicker:.1%} a step: it is a sum."
    )
    return growth, f"below {least_growth:g} times the first, or not at each step a little more", FIRST, text


def _seldom_zeroed(norm: NDArray[np.float64], most_rises: float) -> Sum | None:
    """A norm that rises at nearly every step and falls abruptly now and then, as a sum that is begun anew."""
    known = norm[np.isfinite(norm) & (norm > 0)]
    if len(known) < 5 * FIRST:
        return None
    changes = known[1:] / known[:-1]
    share, falls = float(np.mean(changes > 1)), changes[changes <= 1]
    if share <= most_rises or len(falls) < 3 or np.median(falls) > 0.5:
        return None
    text = (
        f"The gradient's norm rises at {share:.0%} of the steps, and falls by half or more in between, about every "
        f"{len(changes) / len(falls):.0f} steps: it is a sum that is begun anew each time."
    )
    return share, f"rises at {most_rises:.0%} of the steps at most; about half is usual", len(changes), text


def _every_other_zeroed(norm: NDArray[np.float64], outcome: Outcome) -> Sum | None:
    """A norm that rises at every other step and falls in between, while the loss does no such thing."""
    rises, of_loss = _rises_in_pairs(norm), _rises_in_pairs(outcome.loss)
    if min(len(rises), len(of_loss)) < 2 * FIRST:
        return None
    share, factor = float(np.mean(rises > 0)), float(np.exp(np.median(rises)))
    # Two batches that take turns have two losses, too.
    takes_turns = np.mean(of_loss > 0) > 0.7
    # Two gradients add to √2 of one if they have nothing in common, to twice if they are alike.
    if share < 0.85 or not 1.2 <= factor <= 2.2 or takes_turns:
        return None
    text = (
        f"At {share:.0%} of every other step the gradient's norm is larger than at the step before, typically "
        f"{factor:.2g} times, and the loss is not: two gradients are added and then begun anew."
    )
    return share, "larger at about half of every other step", len(rises), text


def _rises_in_pairs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the second of each two readings exceeds the first, as a logarithm, whichever pairs rise more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.diff(np.log(values))
    # Pairs stay pairs, though one in between has no number.
    pairs = (some[np.isfinite(some)] for some in (changes[::2], changes[1::2]))
    return max(pairs, key=lambda some: float(np.mean(some > 0)) if len(some) else 0.0)


def _keeps_its_way(norm: NDArray[np.float64], outcome: Outcome, least_agreement: float) -> Sum | None:
    """A norm that goes on rising or falling from step to step, while the loss goes up and down with the batches."""
    of_norm, of_loss = _agreement(norm), _agreement(outcome.loss)
    if not of_norm >= least_agreement or not of_loss < 0.2:
        return None
    text = (
        f"What the gradient's norm does at one step, rise or fall, it does again at the next {of_norm:+.2f} more often "
        f"than not, where the loss has {of_loss:+.2f}: it is a sum, which no one batch changes much."
    )
    return of_norm, f"below {least_agreement:g}, or no more than the loss", len(norm), text


def _agreement(values: NDArray[np.float64]) -> float:
    """Mean product of the signs of successive changes: 1 for a steady course, about -1/3 for independent numbers."""
    signs = np.sign(np.diff(values[np.isfinite(values)]))
    return float(np.mean(signs[1:] * signs[:-1])) if len(signs) >= 5 * FIRST else float("nan")


def _every_step_at_the_start(steps: NDArray[np.int64]) -> None:
    if not np.array_equal(steps[: FIRST + 1], np.arange(FIRST + 1)):
        raise NotAssessableError(f"the first {FIRST + 1} steps were not all recorded; record with every=1")


def _piles_up(norm: NDArray[np.float64], least_growth: float) -> bool:
    """Whether each norm adds to the last, and none adds more than about the first: a sum, no explosion."""
    if not norm[0] > 0 or not np.all(np.isfinite(norm)):
        return False
    growth = norm / norm[0]
    rises = np.diff(growth)
    is_bounded = np.all(growth <= 1.5 * (1 + np.arange(len(growth))))
    slows_down = growth[-1] - growth[FIRST // 2] <= 1.3 * (growth[FIRST // 2] - 1)
    return bool(np.all(rises > 0) and growth[-1] >= least_growth and is_bounded and slows_down)


@rule("update_norm", "update_ratio", "parameters/gradient_norm", "criterion_loss")
def wrong_update_direction(log: Log, *, largest_ratio: float, least_rise: float) -> Iterator[Finding]:
    """Steps that climb: the loss rises from the first step on, by as much as it should fall."""
    from_the_start(log)
    outcome = Outcome.of(log)
    if outcome is None or not _only_rises(outcome):
        return
    is_told = any(optimizer.hyperparameters.get("maximize") is True for optimizer in log.model.optimizers)
    rise = _rise_over_first_order(log, outcome)
    # An optimiser that scales each step by itself does not overshoot for a steep slope.
    longest = largest_ratio * (5 if any(each.kind in ADAPTIVE for each in log.model.optimizers) else 1)
    if not is_told and not (rise >= least_rise and typical_update_ratio(log)[1][0] <= longest):
        return
    yield Finding(
        rule="wrong_update_direction",
        severity="fault",
        layer=None,
        onset_step=int(outcome.steps[0]),
        evidence=Evidence(
            series=outcome.name,
            value=rise,
            band=f"below {least_rise:g}; about -1 where steps follow the gradient down",
            readings=len(outcome.loss) - 1,
            last_healthy_step=None,
            text=(
                f"The loss rises from {outcome.initial:.4g} from the first step on, by {rise:.2g} times what steps of "
                f"that size along the gradient can change it by at first"
                + (
                    "; the optimiser was told to maximise."
                    if is_told
                    else ", and never falls below its start."
                )
            ),
        ),
        why="The weights go up the slope of the loss: a sign is wrong in the loss or in the update.",
        fix="Look for a minus sign, a loss that should be negated, or maximize=True.",
        confidence=0.95 if is_told else 0.65,
        references=("Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022: flipped sign",),
    )


def _only_rises(outcome: Outcome) -> bool:
    """Whether no loss but those of the first few steps lies below the start, and the end far above it."""
    below = outcome.loss[FIRST:] < outcome.initial
    return len(outcome.loss) > FIRST and not np.any(below) and not outcome.final <= 1.5 * abs(outcome.initial)


def _rise_over_first_order(log: Log, outcome: Outcome) -> float:
    """Rise of the loss over the first steps, over the sum of the products of update and gradient norms."""
    updates, gradients = log.series("update_norm"), log.series("gradient_norm", of="parameters")
    shared = [name for name in updates.columns if name in gradients.columns]
    last = int(np.flatnonzero(np.isfinite(outcome.loss[: FIRST + 1]))[-1])
    products = [updates.column(name)[:last] * gradients.column(name)[:last] for name in shared]
    reach = float(np.nansum(products))
    return float((outcome.loss[last] - outcome.initial) / reach) if reach > 0 and last > 0 else float("nan")
