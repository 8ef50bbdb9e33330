"""Processes that train together and should hold the same parameters."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.persistence import last_healthy
from diag.diagnosis.rules import NotAssessableError, rule
from diag.log import Log

_CHECKSUM = "parameter_checksum"


@rule(_CHECKSUM)
def ranks_out_of_sync(log: Log) -> Iterator[Finding]:
    """Ranks whose parameters are no longer those of the others, bit by bit."""
    ranks, steps, sums = _checksums(log)
    if len(ranks) < 2:
        raise NotAssessableError("the checksums of only one rank can be read")
    differ = np.array([len(_distinct(row)) > 1 for row in sums], np.bool_)
    if not differ.any():
        return
    start = int(np.argmax(differ))
    onset, healthy = int(steps[start]), last_healthy(steps, start)
    apart = _apart(ranks, sums[start])
    since = "this is the first recorded step" if healthy is None else f"at step {healthy} all were the same"
    yield Finding(
        rule="ranks_out_of_sync",
        severity="fault",
        layer=None,
        onset_step=onset,
        evidence=Evidence(
            series=_CHECKSUM,
            value=float(len(_distinct(sums[start]))),
            band="1 checksum on all ranks",
            readings=int(np.count_nonzero(differ)),
            last_healthy_step=healthy,
            text=f"At step {onset} the parameters of {apart}; {since}.",
        ),
        why=(
            "Ranks average their gradients and take for granted that all hold the same parameters. Once they do "
            "not, each computes gradients of another network, the average is of none, and they drift further "
            "apart; what is saved is the network of one rank, not what was trained."
        ),
        fix=(
            "Look at what one rank does and the others do not between these two steps: a parameter that is changed "
            "outside the optimiser, weights that are loaded or initialised after the model was wrapped, other "
            "hyperparameters, a step skipped on one rank, gradients changed after they were averaged, a model called "
            "past its wrapper. Load a checkpoint from before the onset on all ranks."
        ),
        confidence=0.99,
        references=(
            "Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020",
        ),
    )


def _checksums(log: Log) -> tuple[list[int], NDArray[np.int64], NDArray[np.float64]]:
    """The ranks that have checksums, the steps of the first, and each rank's at them; NaN where it has none."""
    # Of the whole run only the first rank's is to be had; and one killed early may have none.
    alone = {rank: log.rank(rank) for rank in log.ranks}
    series = {rank: own.series(_CHECKSUM) for rank, own in alone.items() if _CHECKSUM in own}
    steps = next(iter(series.values())).steps
    return list(series), steps, np.concatenate([each.at(steps) for each in series.values()], axis=1)


def _distinct(sums: NDArray[np.float64]) -> set[float]:
    return set(sums[~np.isnan(sums)].tolist())


def _apart(ranks: list[int], sums: NDArray[np.float64]) -> str:
    """Which ranks differ from which: the fewer from the more, or from the first where they are as many."""
    known = [(rank, total) for rank, total in zip(ranks, sums.tolist(), strict=True) if not np.isnan(total)]
    (most, _), *_ = Counter(total for _, total in known).most_common()
    others = [str(rank) for rank, total in known if total != most]
    same = [str(rank) for rank, total in known if total == most]
    return f"{_listed(others)} differ from those of {_listed(same)}"


def _listed(ranks: list[str]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(ranks[:-1])} and {ranks[-1]}"
