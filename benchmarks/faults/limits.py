"""How much there is to be seen: by a judge that knows how a run ended, and by a detector that learns from logs.

A fault is a label over twenty seeds, and of one run alone not even its outcome says for sure whether the program is
sick: that is what the judge of the outcome measures. The learned detector knows no more than our rules do, and
has other people's runs to learn from: the half for setting thresholds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from benchmarks.faults.families import Half
from benchmarks.faults.scoring import Mutant, Rate, Results, by_cost, mutants_of, rate
from benchmarks.faults.suite import Piece, program_of

FALSE_ALARMS = 0.03
FOLDS = 6
# From fewer healthy runs, or fewer faults, nothing is learned.
LEAST_OF_A_KIND = 30
# A number that fewer runs have says nothing of the next.
LEAST_KNOWN = 20

Kind = Literal["fault", "harmless", "healthy"]
Scores = NDArray[np.float64]


def limit_rows(half: Half, pieces: Sequence[Piece], results: Results) -> Iterator[Rate]:
    """What both see on one half; the learned one only where there is enough to learn from."""
    own = [piece for piece in pieces if piece.half == half]
    mutants = mutants_of(own, results)
    for row in (*_of_outcomes(own, mutants, results), *_of_learning(half, pieces, results)):
        yield replace(row, case=f"{half}: {row.case}", at_least=not row.case.startswith("false alarms"))


# ------------------------------------------------------------------------- the judge of the outcome


def lowest_usual(skills: Sequence[float], share: float = FALSE_ALARMS) -> float:
    """The skill below which a further training of the same program falls that rarely, if skills are normal.

    Example:
        >>> round(lowest_usual([0.8, 0.9, 1.0]), 3)
        0.426
    """
    count = len(skills)
    reach = float(student.ppf(share, count - 1)) * math.sqrt(1 + 1 / count)
    return float(np.mean(skills)) + reach * float(np.std(skills, ddof=1))


def _of_outcomes(own: Sequence[Piece], mutants: Sequence[Mutant], results: Results) -> Iterator[Rate]:
    labels = [piece for piece in own if piece.kind == "label" and not piece.operator]
    skills = {piece.index: results[piece.key]["skills"] for piece in labels}
    lowest = {index: lowest_usual(some) for index, some in skills.items()}
    alarms = [results[each.piece.key]["skill"] < lowest[each.piece.index] for each in mutants]
    yield from _shares("the judge of the outcome", mutants, alarms)
    # It needs twenty trainings of the very program, which of healthy runs there are not: so each of these in turn.
    left_out = (
        some[place] < lowest_usual([*some[:place], *some[place + 1 :]])
        for some in skills.values()
        for place in range(len(some))
    )
    yield rate("false alarms of the judge of the outcome on whole programs", left_out)


def _shares(who: str, mutants: Sequence[Mutant], alarms: Sequence[bool]) -> Iterator[Rate]:
    told = list(zip(mutants, alarms, strict=True))
    faults, seen = [each for each, _ in told if each.is_fault], [hit for each, hit in told if each.is_fault]
    yield rate(f"{who}: any alarm on a fault", seen)
    yield from by_cost(f"{who}: any alarm", faults, seen)
    harmless = (hit for each, hit in told if not each.is_fault)
    yield rate(f"false alarms of {who} on mutants that do not hurt", harmless)


# --------------------------------------------------------------------------- the learned detector


@dataclass(frozen=True)
class Runs:
    """Recorded runs: first the mutants, then the healthy ones.

    Attributes:
        features: Of each, by name.
        kinds: What each is.
        families: What each was made of.
    """

    features: Sequence[Mapping[str, float]]
    kinds: NDArray[np.str_]
    families: Sequence[str]

    def having(self, rows: Any) -> "Runs":
        """Some of them."""
        return Runs([self.features[i] for i in rows], self.kinds[rows], [self.families[i] for i in rows])

    def table(self, names: Sequence[str]) -> Scores:
        """Their features side by side, NaN where one is missing; shape ``(runs, names)``."""
        return np.array([[each.get(name, np.nan) for name in names] for each in self.features])

    @property
    def are_enough(self) -> bool:
        """Whether there is anything to be learned from them."""
        counts = [int(np.sum(self.kinds == kind)) for kind in ("fault", "healthy")]
        return min(counts) >= LEAST_OF_A_KIND


def runs_of(mutants: Sequence[Mutant], healthy: Sequence[Mapping[str, Any]], results: Results) -> Runs:
    """The recorded runs of one half."""
    kinds: list[Kind] = ["fault" if each.is_fault else "harmless" for each in mutants]
    families = [program_of(Piece("label", each.piece.half, each.piece.index)).family for each in mutants]
    told = [*(results[each.piece.key] for each in mutants), *healthy]
    return Runs(
        [each["features"] for each in told],
        np.array([*kinds, *("healthy" for _ in healthy)]),
        [*families, *(each["family"] for each in healthy)],
    )


def learned(known: Runs, judged: Runs) -> Scores:
    """How much each judged run looks like the faults among the known ones, from 0 to 1."""
    names = sorted({name for each in known.features for name in each})
    table = known.table(names)
    is_known = np.sum(~np.isnan(table), axis=0) >= LEAST_KNOWN
    kept = [name for name, enough in zip(names, is_known, strict=True) if enough]
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=150,
        max_leaf_nodes=8,
        min_samples_leaf=5,
        l2_regularization=1.0,
        max_features=0.2,
        random_state=0,
    )
    model.fit(table[:, is_known], known.kinds == "fault")
    return np.asarray(model.predict_proba(judged.table(kept))[:, 1])


def held_out(runs: Runs) -> Scores:
    """The same of each run by what was learned from runs of other families."""
    scores = np.zeros(len(runs.kinds))
    for known, judged in GroupKFold(FOLDS).split(runs.kinds, groups=runs.families):
        scores[judged] = learned(runs.having(known), runs.having(judged))
    return scores


def threshold(scores: Scores, share: float = FALSE_ALARMS) -> float:
    """The least score that no more than this share of the scores exceed.

    Example:
        >>> threshold(np.array([0.1, 0.4, 0.2, 0.3]), 0.25)
        0.3
    """
    return float(np.sort(scores)[::-1][int(share * len(scores))])


def _of_learning(half: Half, pieces: Sequence[Piece], results: Results) -> Iterator[Rate]:
    halves = {}
    for name in dict.fromkeys(("tuning", half)):
        own = [piece for piece in pieces if piece.half == name]
        mutants = mutants_of(own, results)
        healthy = [results[piece.key] for piece in own if piece.kind == "healthy"]
        halves[name] = mutants, runs_of(mutants, healthy, results)
    (_, known), (mutants, judged) = halves["tuning"], halves[half]
    if not known.are_enough:
        return
    of_known = held_out(known)
    scores = of_known if half == "tuning" else learned(known, judged)
    alarms = (scores > threshold(of_known[known.kinds == "healthy"])).tolist()
    who = "the learned detector"
    yield from _shares(who, mutants, alarms[: len(mutants)])
    yield rate(f"false alarms of {who} on healthy runs", alarms[len(mutants) :])
