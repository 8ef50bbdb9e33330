"""The ranks of a run read as one: what is the same on all of them, what each had of its own, what they share.

Gradients, weights and updates are the same on every rank, for gradients are averaged before the optimiser gets
them: rank 0 speaks for all. Activations, losses and summaries of data are of a rank's own examples
and are pooled, as if all had been one batch to which each rank gave as many. Parameters that are
spread over the ranks (`shards`) are put together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from diag.events import Happening
from diag.log.one_rank import RankLog, look_at, side_by_side
from diag.log.opening import LogError, files_at
from diag.log.schema import log_files, rank_of
from diag.log.series import Series
from diag.log.shards import is_spread, whole

Ranks = Mapping[int, RankLog]


def look_at_ranks(folder: Path, world_size: int) -> tuple[dict[int, RankLog], tuple[Happening, ...]]:
    """What every rank wrote into a folder, and what is to be said of the ranks themselves.

    Args:
        folder: Of the run.
        world_size: How many ranks there were.

    Returns:
        The ranks that can be read, lowest first, and a happening for each that cannot, or ended otherwise.

    Raises:
        LogError: If none can be read.
    """
    found: dict[int, RankLog] = {}
    failures: dict[int, LogError] = {}
    present = {rank_of(path) for path in log_files(folder)}
    for rank in sorted({0, *present}):
        try:
            found[rank] = look_at(files_at(folder, rank))
        except LogError as error:
            failures[rank] = error
    if not found:
        raise next(iter(failures.values()))
    absent = sorted(set(range(world_size)) - present - {0})
    told = [_rank_happening(0, str(rank), f"cannot be read: {error}") for rank, error in failures.items()]
    told += [
        _rank_happening(0, which, "left no log: not recorded, or killed before it was written")
        for which in _runs(absent)
    ]
    return found, (*told, *_other_ends(found))


def happenings_of(ranks: Ranks) -> tuple[Happening, ...]:
    """What happened on any rank, once; what the first does not know says which rank it was."""
    (_, first), *others = ranks.items()
    known = set(first.happenings)
    told = list(first.happenings)
    for rank, other in others:
        new = [happening for happening in other.happenings if happening not in known]
        told += [happening._replace(message=f"on rank {rank}: {happening.message}") for happening in new]
        known.update(new)
    return tuple(sorted(told, key=lambda happening: happening.step)) if others else tuple(told)


def read_as_one(ranks: Sequence[RankLog], name: str, table: str, world_size: int) -> Series:
    """A series of the whole run.

    Args:
        ranks: Those that can be read, of which the first speaks for what is the same on all.
        name: Of the series, which the first has.
        table: Where it stands.
        world_size: How many ranks there were.

    Raises:
        LogError: If a file can no longer be read.
    """
    if is_spread(ranks[0].model, name, table):
        return whole(ranks, name, table, world_size)
    series = ranks[0].series(name, table)
    if len(ranks) == 1 or not _is_of_own_data(name, table):
        return series
    if name.endswith("_std"):
        return replace(series, values=_pooled_std(ranks, series))
    own = name.rpartition(".")[2]
    way = _WAYS.get(own, _WAYS.get(own.rpartition("_")[2], np.ma.mean))
    return replace(series, values=np.asarray(way(side_by_side(ranks, series), axis=0)))


def _is_of_own_data(name: str, table: str) -> bool:
    """Whether each rank measured it of examples of its own."""
    if table == "layers":
        return name != "gradient_norm"
    # Before it may stand the name of a pair.
    return table == "network" and name.rpartition(".")[2].startswith(_OF_DATA)


_OF_DATA: Final = ("batch_size", "criterion_loss", "input_", "prediction_", "target_")


def _root_mean_square(values: Any, axis: int) -> Any:
    return np.ma.sqrt(np.ma.mean(values**2, axis=axis))


# By name or by how it ends; of all others the mean.
_WAYS: Final[Mapping[str, Callable[..., Any]]] = {
    "dead_unit_rate": np.ma.min,
    "dead_unit_rate_pooled": np.ma.min,
    "activation_rms": _root_mean_square,
    "batch_size": np.ma.sum,
    "count": np.ma.sum,
    "min": np.ma.min,
    "max": np.ma.max,
}


def _pooled_std(ranks: Sequence[RankLog], series: Series) -> Any:
    """Spread within the ranks, and of their means around the mean of all."""
    means = ranks[0].series(f"{series.name.removesuffix('std')}mean", series.axis)
    within = np.ma.mean(side_by_side(ranks, series) ** 2, axis=0)
    return np.asarray(np.ma.sqrt(within + np.ma.var(side_by_side(ranks, means), axis=0)))


def _other_ends(ranks: Ranks) -> list[Happening]:
    """Ranks whose end is not that of the first."""
    (lowest, first), *others = ranks.items()
    told = []
    for rank, other in others:
        if other.end_reason != first.end_reason:
            last = int(other.steps[-1]) if other.steps.size else 0
            end = (
                f"ended with {other.end_reason!r}"
                if other.end_reason
                else "has no end: killed, or still at work"
            )
            told.append(
                _rank_happening(
                    last,
                    str(rank),
                    f"{end}, after recorded step {last}; rank {lowest}: {first.end_reason or 'no end'}",
                )
            )
    return told


def _rank_happening(step: int, ranks: str, message: str) -> Happening:
    return Happening(step, "rank", f"rank {ranks}", message)


def _runs(ranks: Sequence[int]) -> list[str]:
    """Numbers that follow each other as one: "1", "3 to 7"."""
    runs = [
        [rank for _, rank in run] for _, run in groupby(enumerate(ranks), key=lambda pair: pair[1] - pair[0])
    ]
    return [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
