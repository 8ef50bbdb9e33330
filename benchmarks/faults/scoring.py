"""From what was run to how often the rules are right, each share with its interval."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchmarks.faults.families import Half
from benchmarks.faults.labels import really_hurts
from benchmarks.faults.operators import DOSES
from benchmarks.faults.suite import Piece, operator_of, program_of
from benchmarks.faults.truth import TRUTH
from benchmarks.timing import Row

Results = Mapping[str, dict[str, Any]]
# Of a skill, what a fault costs that is large in anybody's eyes.
LARGE = 0.1
LIMITS = {
    "detected": 0.95,
    "first-named cause right": 0.70,
    "right among the first three": 0.85,
    "layer right": 0.70,
    "false alarms on healthy runs": 0.03,
}


class Interval(NamedTuple):
    """Where a share probably lies."""

    low: float
    high: float


def wilson(hits: int, of: int, z: float = 1.959964) -> Interval:
    """Wilson's interval of a share, 95 % by default.

    Example:
        >>> [round(end, 4) for end in wilson(3, 200)]
        [0.0051, 0.0432]
    """
    if not of:
        return Interval(0.0, 1.0)
    share, square = hits / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    reach = z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))


@dataclass(frozen=True)
class Rate(Row):
    """A share as a row of the table.

    Attributes:
        hits: How often it was so.
        of: Of how many.
    """

    hits: int = 0
    of: int = 0

    @property
    def holds(self) -> bool | None:
        """Whether the share keeps the limit; a share of nothing neither does nor does not."""
        return super().holds if self.of else None

    def to_json(self) -> dict[str, Any]:
        """The row as plain data, with the counts and the interval."""
        low, high = wilson(self.hits, self.of)
        figure = self.figure if self.of else None
        return {
            **super().to_json(),
            "figure": figure,
            "hits": self.hits,
            "of": self.of,
            "low": low,
            "high": high,
        }


def rate(case: str, hits: Iterable[bool], limit: float | None = None, *, at_least: bool = True) -> Rate:
    """The row for a share: its figure, the lower end of its interval, and the interval in words."""
    told = list(hits)
    count, of = sum(told), len(told)
    low, high = wilson(count, of)
    unit = f"{count} of {of}, 95 % interval {low:.3f} to {high:.3f}"
    return Rate(case, count / of if of else math.nan, unit, limit, low, at_least, count, of)


@dataclass(frozen=True)
class Mutant:
    """A mutant, its label, and what was found.

    Attributes:
        piece: Its recorded run.
        is_fault: Whether it really hurts.
        cost: By how much its mean skill lies below the whole program's.
        alarms: Findings of warning or above, causes first.
        rivals: By rival, the rules that fired.
    """

    piece: Piece
    is_fault: bool
    cost: float
    alarms: tuple[Mapping[str, Any], ...]
    rivals: Mapping[str, Sequence[str]]

    @property
    def is_detected(self) -> bool:
        """Whether an alarm is in the operator's row."""
        return any(alarm["rule"] in TRUTH[self.piece.operator].row for alarm in self.alarms)

    def is_named(self, among: int) -> bool:
        """Whether the cause is among the first alarms."""
        return any(alarm["rule"] in TRUTH[self.piece.operator].causes for alarm in self.alarms[:among])

    @property
    def layers(self) -> tuple[str, ...]:
        """Where the fault sits; none where it has no layer."""
        operator = operator_of(self.piece.operator)
        dose = operator.doses[DOSES.index(self.piece.dose)]
        whole = Piece("label", self.piece.half, self.piece.index)
        return operator.layers(program_of(whole), dose)

    @property
    def is_located(self) -> bool:
        """Whether the first alarm that names the cause names the layer too, or a part of it."""
        named = (alarm for alarm in self.alarms if alarm["rule"] in TRUTH[self.piece.operator].causes)
        layer = next((alarm["layer"] for alarm in named if alarm["layer"]), "")
        return any(f"{layer}.".startswith(f"{place}.") for place in self.layers)


def loud(findings: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Findings of warning or above."""
    return tuple(finding for finding in findings if finding["severity"] != "note")


def mutants_of(pieces: Iterable[Piece], results: Results) -> list[Mutant]:
    """All recorded mutants with their labels."""
    found = []
    for piece in pieces:
        if piece.kind != "run":
            continue
        skills = results[Piece("label", piece.half, piece.index, piece.operator, piece.dose).key]["skills"]
        whole = results[Piece("label", piece.half, piece.index).key]["skills"]
        told = results[piece.key]
        cost = sum(whole) / len(whole) - sum(skills) / len(skills)
        found.append(Mutant(piece, really_hurts(whole, skills), cost, loud(told["findings"]), told["rivals"]))
    return found


# -------------------------------------------------------------------------------------- the rows


def rows(half: Half, pieces: Sequence[Piece], results: Results, *, is_limited: bool) -> Iterator[Rate]:
    """The table of one half: ours, and the rivals'."""
    own = [piece for piece in pieces if piece.half == half]
    mutants = mutants_of(own, results)
    healthy = [results[piece.key] for piece in own if piece.kind == "healthy"]
    for row in (*_ours(mutants, healthy), *_rivals(mutants, healthy)):
        limit = LIMITS.get(row.case) if is_limited else None
        at_least = not row.case.startswith("false alarms")
        yield replace(row, case=f"{half}: {row.case}", limit=limit, at_least=at_least)


def _ours(mutants: Sequence[Mutant], healthy: Sequence[Mapping[str, Any]]) -> Iterator[Rate]:
    faults = [mutant for mutant in mutants if mutant.is_fault]
    harmless = [mutant for mutant in mutants if not mutant.is_fault]
    yield rate("mutants that really hurt", (mutant.is_fault for mutant in mutants))
    yield rate("detected", (mutant.is_detected for mutant in faults))
    yield rate("any alarm on a fault", (bool(mutant.alarms) for mutant in faults))
    yield from by_cost("detected", faults, [mutant.is_detected for mutant in faults])
    yield rate("first-named cause right", (mutant.is_named(1) for mutant in faults))
    yield rate("right among the first three", (mutant.is_named(3) for mutant in faults))
    yield rate("layer right", (mutant.is_located for mutant in faults if mutant.layers))
    yield rate("false alarms on healthy runs", (bool(loud(run["findings"])) for run in healthy))
    yield rate("false alarms on mutants that do not hurt", (bool(mutant.alarms) for mutant in harmless))
    drawn = len(healthy) + sum(run["rejected"] for run in healthy)
    yield rate("draws of healthy runs rejected", (index >= len(healthy) for index in range(drawn)))


def _rivals(mutants: Sequence[Mutant], healthy: Sequence[Mapping[str, Any]]) -> Iterator[Rate]:
    for rival in dict.fromkeys(name for mutant in mutants for name in mutant.rivals):
        told = [(mutant.is_fault, bool(mutant.rivals[rival])) for mutant in mutants]
        yield rate(f"{rival}: any alarm on a fault", (alarm for is_fault, alarm in told if is_fault))
        yield rate(
            f"false alarms of {rival} on healthy runs", (bool(run["rivals"][rival]) for run in healthy)
        )
        harmless = (alarm for is_fault, alarm in told if not is_fault)
        yield rate(f"false alarms of {rival} on mutants that do not hurt", harmless)


def by_cost(case: str, faults: Sequence[Mutant], hits: Sequence[bool]) -> Iterator[Rate]:
    """A share of the faults, apart for those that cost much and those that cost little."""
    told = [(fault.cost >= LARGE, hit) for fault, hit in zip(faults, hits, strict=True)]
    yield rate(f"{case} where it costs {LARGE:g} or more", (hit for is_large, hit in told if is_large))
    yield rate(f"{case} where it costs less", (hit for is_large, hit in told if not is_large))


def operator_rows(half: Half, pieces: Sequence[Piece], results: Results) -> Iterator[Rate]:
    """The same half operator by operator."""
    mutants = mutants_of((piece for piece in pieces if piece.half == half), results)
    for operator in dict.fromkeys(mutant.piece.operator for mutant in mutants):
        faults = [mutant for mutant in mutants if mutant.is_fault and mutant.piece.operator == operator]
        if faults:
            case = f"{half}: {operator}"
            yield rate(f"{case}: detected", (mutant.is_detected for mutant in faults))
            yield rate(f"{case}: first-named cause right", (mutant.is_named(1) for mutant in faults))
