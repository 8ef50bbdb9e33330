"""What is trained: the draw of mutants, their labels, their recorded runs, and the healthy runs; in pieces.

Every piece stands by itself and gives plain data, so that any of joblib's backends can run it, and a run that
was cut short goes on where it was.
"""

import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np

import diag
from benchmarks.faults import healthy
from benchmarks.faults.families import HALVES, SEEDS, Half, programs
from benchmarks.faults.features import features
from benchmarks.faults.labels import LABEL_SEEDS
from benchmarks.faults.operators import DOSES, OPERATORS, Operator
from benchmarks.faults.program import Program
from benchmarks.faults.rivals import PROBES, RIVALS, alarms
from benchmarks.faults.training import Result, train
from diag.diagnosis import FAILED

# Pieces between two writings of the results.
AT_A_TIME = 32


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        mutants: For each operator and dose, in each half.
        healthy: Runs in each half.
        seeds: Of a label.
        operators: Every so-manieth operator only.
    """

    mutants: int
    healthy: int
    seeds: int
    operators: int = 1


WHOLE = Size(mutants=2, healthy=200, seeds=LABEL_SEEDS)
SMALL = Size(mutants=1, healthy=60, seeds=LABEL_SEEDS)
QUICK = Size(mutants=1, healthy=1, seeds=6, operators=26)


@dataclass(frozen=True)
class Piece:
    """One piece of the suite.

    Attributes:
        kind: ``"label"``: trainings of a program or a mutant over the seeds; ``"run"``: a mutant, recorded and
            judged; ``"healthy"``: a healthy run, recorded and judged.
        half: Of the suite.
        index: Of the program among those of its half, or of the healthy run.
        operator: The fault; "" for none.
        dose: One of `DOSES`; "" for none.
    """

    kind: Literal["label", "run", "healthy"]
    half: Half
    index: int
    operator: str = ""
    dose: str = ""

    @property
    def key(self) -> str:
        """Tells pieces apart in a file of results."""
        return "|".join((self.kind, self.half, str(self.index), self.operator, self.dose))


# --------------------------------------------------------------------------------------- the draw


def pieces(size: Size, halves: Sequence[Half] = HALVES) -> list[Piece]:
    """Everything that is to be run, the same every time."""
    return [piece for half in halves for piece in _pieces_of(half, size)]


def _pieces_of(half: Half, size: Size) -> Iterator[Piece]:
    drawn = list(mutants(half, size))
    for index in dict.fromkeys(index for _, _, index in drawn):
        yield Piece("label", half, index)
    for operator, dose, index in drawn:
        yield Piece("label", half, index, operator, dose)
        yield Piece("run", half, index, operator, dose)
    for index in range(size.healthy):
        yield Piece("healthy", half, index)


def mutants(half: Half, size: Size) -> Iterator[tuple[str, str, int]]:
    """Operator, dose and program of each mutant: as many for each operator and dose, over all that it fits.

    The programs of an operator are dealt out in a random order, the same for all its doses, so that doses can
    be compared, and one after another, so that few come twice.
    """
    candidates = programs(half)
    for position, operator in enumerate(OPERATORS):
        if position % size.operators:
            continue
        rng = np.random.default_rng((SEEDS[half].mutants, HALVES.index(half), position))
        order = _dealt(operator, candidates, rng)
        for dose in DOSES:
            for index in islice(order, size.mutants):
                yield operator.name, dose, index


def _dealt(operator: Operator, candidates: Sequence[Program], rng: np.random.Generator) -> list[int]:
    """Indices of the programs that an operator fits, in random order, but architectures and frameworks in turn."""
    fitting = [int(i) for i in rng.permutation(len(candidates)) if operator.fits(candidates[i])]
    chosen: list[int] = []
    while fitting:
        counts = [_seen(candidates, chosen, candidates[i]) for i in fitting]
        chosen.append(fitting.pop(int(np.argmin(counts))))
    return chosen


def _seen(candidates: Sequence[Program], chosen: Iterable[int], program: Program) -> int:
    """How often what a program consists of has been chosen already."""
    before = [candidates[index] for index in chosen]
    return sum(
        (other.framework == program.framework)
        + (other.network.architecture == program.network.architecture)
        + (other.is_classifier == program.is_classifier)
        + (other.family == program.family)
        for other in before
    )


# ------------------------------------------------------------------------------------- one piece


def program_of(piece: Piece) -> Program:
    """The program of a mutant, or of what it was made of."""
    program = programs(piece.half)[piece.index]
    if not piece.operator:
        return program
    operator = operator_of(piece.operator)
    return operator.inject(program, operator.doses[DOSES.index(piece.dose)])


def operator_of(name: str) -> Operator:
    """The operator of a name."""
    return next(operator for operator in OPERATORS if operator.name == name)


def measure(piece: Piece, seeds: int) -> dict[str, Any]:
    """Runs one piece; what came of it is plain data."""
    with warnings.catch_warnings():
        # What a mutant does is warned of by everybody concerned.
        warnings.simplefilter("ignore")
        return {"key": piece.key, **_RUNS[piece.kind](piece, seeds)}


def _label(piece: Piece, seeds: int) -> dict[str, Any]:
    program, first = program_of(piece), SEEDS[piece.half].labels
    return {"skills": [train(program, first + number).skill for number in range(seeds)]}


def _run(piece: Piece, _seeds: int) -> dict[str, Any]:
    return recorded(program_of(piece), SEEDS[piece.half].recorded + piece.index)[0]


def _healthy(piece: Piece, _seeds: int) -> dict[str, Any]:
    rejected = 0
    while True:
        program = healthy.draw(piece.half, piece.index, rejected)
        told, result = recorded(program, SEEDS[piece.half].recorded + piece.index)
        if healthy.is_healthy(program, result):
            return {"rejected": rejected, "optimizer": program.descent.kind, "family": program.family, **told}
        rejected += 1


_RUNS = {"label": _label, "run": _run, "healthy": _healthy}


def recorded(program: Program, seed: int) -> tuple[dict[str, Any], Result]:
    """Trains once with every step recorded, and says what our rules and the rivals' make of the log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with diag.Recorder(path, every=1, probes=PROBES) as recorder:
            result = train(program, seed, recorder)
        return judged(diag.Log(path)) | {"skill": result.skill}, result


def judged(log: diag.Log) -> dict[str, Any]:
    """The findings, causes first, each rival's alarms, and what a detector of another kind could learn from."""
    diagnosis = diag.diagnose(log)
    # Warnings are not heard here, and a rule that failed must not pass for one that keeps silent.
    failed = {rule: why for rule, why in diagnosis.not_assessed.items() if why.startswith(FAILED)}
    if failed:
        raise RuntimeError(f"judged needs rules that work, got {failed}")
    findings = [
        {"rule": finding.rule, "severity": finding.severity, "layer": finding.layer}
        for finding in diagnosis.findings
    ]
    return {
        "findings": findings,
        "rivals": {name: alarms(rules, log) for name, rules in RIVALS.items()},
        "features": features(log),
    }


# ---------------------------------------------------------------------------------- all of them


def run_pieces(wanted: Sequence[Piece], seeds: int, file: Path) -> Mapping[str, dict[str, Any]]:
    """Runs what a file of results does not hold yet, adds it there, and gives all of it.

    How, and on how many cores or machines, is for the caller's ``joblib.parallel_config`` to say.

    Args:
        wanted: What to run.
        seeds: Of a label.
        file: JSON lines, one a piece; made if it is not there.
    """
    done = read_results(file)
    open_pieces = iter([piece for piece in wanted if piece.key not in done])
    while some := list(islice(open_pieces, AT_A_TIME)):
        results = joblib.Parallel()(joblib.delayed(measure)(piece, seeds) for piece in some)
        with file.open("a", encoding="utf-8") as lines:
            # The end of line comes first: what is there may be a line that was cut off.
            lines.writelines(f"\n{json.dumps(result)}" for result in results)
        done |= {result["key"]: result for result in results}
    return {piece.key: done[piece.key] for piece in wanted}


def read_results(file: Path) -> dict[str, dict[str, Any]]:
    """What a file of results holds; a last line that was cut off is run again."""
    results: dict[str, dict[str, Any]] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                result = json.loads(line)
            except json.JSONDecodeError:
                continue
            results[result["key"]] = result
    return results
