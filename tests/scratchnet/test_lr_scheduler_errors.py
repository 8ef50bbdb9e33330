"""What schedules refuse, and in which words."""

from collections.abc import Callable
from typing import Any

import pytest

from scratchnet import nn
from scratchnet.optim import lr_scheduler
from tests.scratchnet.schedules.contract import ours


def one_cycle(**options: Any) -> Any:
    return lr_scheduler.OneCycleLR(ours(), 0.1, **options)


def sequential(*milestones: int, parts: int = 3) -> Any:
    optimizer = ours()
    return lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.ConstantLR(optimizer) for _ in range(parts)], milestones
    )


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no optimiser": (
        lambda: lr_scheduler.StepLR(None, 3),  # type: ignore[arg-type]
        TypeError,
        "StepLR needs an optimiser, got NoneType; make one first",
    ),
    "a model for an optimiser": (
        lambda: lr_scheduler.OneCycleLR(nn.Linear(1, 1), 0.1, 100),  # type: ignore[arg-type]
        TypeError,
        "OneCycleLR needs an optimiser, got Linear",
    ),
    "no optimiser on a plateau": (
        lambda: lr_scheduler.ReduceLROnPlateau([]),  # type: ignore[arg-type]
        TypeError,
        "ReduceLROnPlateau needs an optimiser, got list",
    ),
    "going on without a start": (
        lambda: lr_scheduler.StepLR(ours(), 3, last_epoch=7),
        KeyError,
        "StepLR needs .*initial_lr.* in every group to go on from last_epoch=7",
    ),
    "no stair": (lambda: lr_scheduler.StepLR(ours(), 0), ValueError, "needs step_size > 0, got step_size=0"),
    "milestones that fall": (
        lambda: lr_scheduler.MultiStepLR(ours(), [5, 3]),
        ValueError,
        r"MultiStepLR needs milestones that increase from above zero, got \[5, 3\]",
    ),
    "milestones that stay": (
        lambda: lr_scheduler.MultiStepLR(ours(), [3, 3]),
        ValueError,
        r"milestones that increase from above zero, got \[3, 3\]",
    ),
    "a milestone at zero": (lambda: sequential(0, 3), ValueError, r"increase from above zero, got \[0, 3\]"),
    "too few milestones": (
        lambda: sequential(3),
        ValueError,
        "one milestone between each two schedules, got 3 schedules and 1 milestones",
    ),
    "a share above one": (lambda: lr_scheduler.ConstantLR(ours(), 1.5), ValueError, "needs factor in .0, 1."),
    "a warm-up from zero": (
        lambda: lr_scheduler.LinearLR(ours(), 0.0),
        ValueError,
        "LinearLR needs start_factor > 0, got start_factor=0",
    ),
    "a warm-up of no steps": (
        lambda: lr_scheduler.LinearLR(ours(), total_iters=0),
        ValueError,
        "LinearLR needs total_iters > 0",
    ),
    "no wave": (
        lambda: lr_scheduler.CosineAnnealingLR(ours(), 0),
        ValueError,
        "needs T_max > 0, got T_max=0",
    ),
    "half a round": (
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(ours(), 0.5),  # type: ignore[arg-type]
        ValueError,
        "needs T_0 to be an integer above zero, got 0.5",
    ),
    "an epoch before the first": (
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(ours(), 5).step(-1),
        ValueError,
        "needs epoch >= 0, got -1",
    ),
    "functions for too many groups": (
        lambda: lr_scheduler.LambdaLR(ours(), [abs]),
        ValueError,
        "one lr_lambda for each of 2 groups, got 1",
    ),
    "rates for too many groups": (
        lambda: lr_scheduler.CyclicLR(ours(), 0.1, [0.5, 0.6, 0.7]),
        ValueError,
        "CyclicLR needs one max_lr for each of 2 groups, got 3",
    ),
    "an unknown cycle": (
        lambda: lr_scheduler.CyclicLR(ours(), 0.1, 0.5, mode="square"),  # type: ignore[arg-type]
        ValueError,
        "needs mode 'triangular', 'triangular2' or 'exp_range', got 'square'; pass scale_fn",
    ),
    "no momentum to move": (
        lambda: _without_momentum(),
        ValueError,
        "CyclicLR needs an optimiser with momentum or betas.*pass cycle_momentum=False",
    ),
    "no length": (one_cycle, ValueError, "OneCycleLR needs total_steps, or both epochs and steps_per_epoch"),
    "half a length": (lambda: one_cycle(epochs=3), ValueError, "got epochs=3 and steps_per_epoch=None"),
    "no steps": (
        lambda: one_cycle(total_steps=0),
        ValueError,
        "total_steps to be an integer above zero, got 0",
    ),
    "too few steps to rise": (
        lambda: one_cycle(total_steps=3),
        ValueError,
        r"needs total_steps \* pct_start > 1 to rise at all, got total_steps=3 and pct_start=0.3; count updates",
    ),
    "a rise that never ends": (
        lambda: one_cycle(total_steps=9, pct_start=1.0),
        ValueError,
        "needs pct_start in",
    ),
    "a mirror too long": (
        lambda: one_cycle(total_steps=9, pct_start=0.6, three_phase=True),
        ValueError,
        "at most 0.5 with three_phase=True, got 0.6",
    ),
    "an unknown curve": (
        lambda: one_cycle(total_steps=9, anneal_strategy="exp"),
        ValueError,
        "needs anneal_strategy 'cos' or 'linear', got 'exp'",
    ),
    "a factor that does not reduce": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), factor=1.0),
        ValueError,
        "needs 0 <= factor < 1, got factor=1.0",
    ),
    "an unknown aim": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), "less"),  # type: ignore[arg-type]
        ValueError,
        "needs mode 'min' or 'max', got 'less'",
    ),
    "an unknown threshold": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), threshold_mode="both"),  # type: ignore[arg-type]
        ValueError,
        "needs threshold_mode 'rel' or 'abs', got 'both'",
    ),
    "an empty chain": (
        lambda: lr_scheduler.ChainedScheduler([]),
        ValueError,
        "ChainedScheduler needs at least one schedule, got none",
    ),
    "a plateau in a chain": (
        lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(ours())]),
        TypeError,
        "needs schedules that count steps, got ReduceLROnPlateau at position 0",
    ),
    "a chain across optimisers": (
        lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(ours()) for _ in range(2)]),
        ValueError,
        "needs schedules of one optimiser, got another's at position 1",
    ),
    "a state of another class": (
        lambda: lr_scheduler.StepLR(ours(), 3).load_state_dict(
            lr_scheduler.ExponentialLR(ours(), 0.5).state_dict()
        ),
        KeyError,
        "StepLR needs a state of its own class; missing: .'step_size'., unknown: none",
    ),
    "a state of fewer parts": (
        lambda: sequential(1, 2).load_state_dict(sequential(1, parts=2).state_dict()),
        ValueError,
        "SequentialLR needs the states of its 3 parts, got 2",
    ),
    "a schedule without a rule": (
        lambda: lr_scheduler.LRScheduler(ours()),
        TypeError,
        "LRScheduler needs a get_lr method",
    ),
}


def _without_momentum() -> Any:
    optimizer = ours()
    for group in optimizer.param_groups:
        del group["momentum"]
    return lr_scheduler.CyclicLR(optimizer, 0.1, 0.5)


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_what_makes_no_schedule_is_refused(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_one_cycle_ends_where_it_was_told_to() -> None:
    schedule = one_cycle(total_steps=10)
    for _ in range(10):
        schedule.step()
    with pytest.raises(ValueError, match="at most total_steps=10 calls of step, got one more"):
        schedule.step()


def test_a_group_that_came_later_is_refused() -> None:
    optimizer = ours()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.param_groups.append({"params": [], "lr": 1.0})
    with pytest.raises(ValueError, match="needs the 2 groups that it was made for, got 3"):
        schedule.step()
