"""What the judge of the outcome and the learned detector see, where it is known what there is to be seen."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.limits import Runs, held_out, learned, limit_rows, lowest_usual, threshold
from benchmarks.faults.operators import DOSES
from benchmarks.faults.suite import Piece


def test_few_further_trainings_fall_below_what_is_usual():
    skills = np.random.default_rng(0).normal(0.7, 0.1, (20_000, 21))
    fell = [row[0] < lowest_usual(list(row[1:])) for row in skills]
    assert np.mean(fell) == pytest.approx(0.03, abs=0.004)


def test_what_is_usual_is_known_better_from_more_trainings():
    # Student's 3 % quantile at one degree of freedom is -1/tan(0.03 pi).
    assert lowest_usual([0.0, np.sqrt(2)]) == pytest.approx(
        np.sqrt(0.5) - np.sqrt(1.5) / np.tan(0.03 * np.pi)
    )
    assert lowest_usual([0.0, 1.0] * 2) < lowest_usual([0.0, 1.0] * 20)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.floats(0, 0.5))
def test_no_more_than_the_share_exceeds_the_threshold(scores, share):
    assert np.sum(np.array(scores) > threshold(np.array(scores), share)) <= share * len(scores)


def runs(shift, seed=0, count=240):
    """Runs of eight families: of faults one number lies higher by the shift; another tells families apart."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["fault", "healthy"])[rng.integers(0, 2, count)]
    families = rng.integers(0, 8, count)
    values = rng.normal(size=count) + shift * (kinds == "fault")
    features = [{"a": float(a), "b": float(b)} for a, b in zip(values, families, strict=True)]
    return Runs(features, kinds, [f"family {b}" for b in families])


@pytest.mark.parametrize(
    ("shift", "least", "most"), [(8.0, 0.99, 1.0), (0.0, 0.4, 0.6)], ids=["seen", "unseen"]
)
def test_what_can_be_seen_is_learned_and_nothing_else(shift, least, most):
    some, others = runs(shift), runs(shift, seed=1)
    for scores, of in ((held_out(some), some), (learned(some, others), others)):
        sick, well = scores[of.kinds == "fault"], scores[of.kinds == "healthy"]
        assert least <= np.mean(sick[:, None] > well) <= most


def test_a_number_that_hardly_any_run_has_is_not_learned_from():
    some = runs(0.0)
    rare = Runs(
        [{**each, "rare": 1.0} if i < 9 else each for i, each in enumerate(some.features)], *_rest(some)
    )
    assert np.array_equal(learned(rare, some), learned(some, some))


def _rest(some):
    return some.kinds, some.families


PROGRAMS = 24


def suite(half, doses):
    """Of each program a mutant in each dose, every other one a fault, as all numbers say; and as many healthy runs."""
    pieces: dict[Piece, dict[str, Any]] = {}
    good, bad = [0.9, 0.91, 0.92, 0.93] * 5, [0.1, 0.11, 0.12, 0.13] * 5
    for index in range(PROGRAMS):
        pieces[Piece("label", half, index)] = {"skills": good}
        for dose in doses:
            mutant = (half, index, "layers frozen", dose)
            skills = bad if index % 2 else good
            told = {"features": {"network probe_loss last": float(index % 2)}, "findings": [], "rivals": {}}
            pieces[Piece("label", *mutant)] = {"skills": skills}
            pieces[Piece("run", *mutant)] = {**told, "skill": skills[0]}
    for index in range(PROGRAMS * len(doses)):
        told = {"features": {"network probe_loss last": 0.0}, "family": f"family {index % PROGRAMS}"}
        pieces[Piece("healthy", half, index)] = told
    return pieces


def table(half, pieces):
    rows = limit_rows(half, list(pieces), {piece.key: told for piece, told in pieces.items()})
    return {row.case: (row.hits, row.of) for row in rows}


def test_both_see_what_is_plain_to_see_on_the_half_that_is_only_scored():
    assert table("scored", suite("tuning", DOSES) | suite("scored", DOSES[:1])) == {
        "scored: the judge of the outcome: any alarm on a fault": (12, 12),
        "scored: the judge of the outcome: any alarm where it costs 0.1 or more": (12, 12),
        "scored: the judge of the outcome: any alarm where it costs less": (0, 0),
        "scored: false alarms of the judge of the outcome on mutants that do not hurt": (0, 12),
        "scored: false alarms of the judge of the outcome on whole programs": (0, 20 * PROGRAMS),
        "scored: the learned detector: any alarm on a fault": (12, 12),
        "scored: the learned detector: any alarm where it costs 0.1 or more": (12, 12),
        "scored: the learned detector: any alarm where it costs less": (0, 0),
        "scored: false alarms of the learned detector on mutants that do not hurt": (0, 12),
        "scored: false alarms of the learned detector on healthy runs": (0, PROGRAMS),
    }


def test_from_too_few_runs_nothing_is_learned():
    assert not any("learned" in case for case in table("tuning", suite("tuning", DOSES[:1])))
