"""What is drawn, and that a run that was cut short goes on where it was."""

import json
from collections import Counter

import joblib
import pytest

from benchmarks.faults import healthy, run, suite
from benchmarks.faults.families import FAMILIES, HALVES, SEEDS, programs
from benchmarks.faults.labels import LABEL_SEEDS
from benchmarks.faults.operators import DOSES, OPERATORS
from benchmarks.faults.suite import QUICK, WHOLE, Piece, mutants, pieces, run_pieces
from benchmarks.faults.training import Result


def test_no_family_is_in_both_halves():
    families = [{program.family for program in FAMILIES[half]} for half in HALVES]
    assert not families[0] & families[1]


def test_no_training_is_in_both_halves_nor_is_a_recorded_one_part_of_a_label():
    used = [
        range(first, first + count)
        for seeds in SEEDS.values()
        for first, count in ((seeds.labels, LABEL_SEEDS), (seeds.recorded, WHOLE.healthy))
    ]
    assert len(set().union(*used)) == sum(map(len, used))
    assert not {*SEEDS["tuning"]} & {*SEEDS["scored"]}


@pytest.mark.parametrize("half", HALVES)
def test_each_half_has_all_architectures_with_both_tasks_and_frameworks(half):
    kinds = {(p.framework, p.network.architecture, p.is_classifier) for p in programs(half)}
    assert len(kinds) == 2 * 4 * 2


def test_the_draw_is_the_same_every_time_and_has_each_piece_once():
    keys = [piece.key for piece in pieces(WHOLE)]
    assert keys == [piece.key for piece in pieces(WHOLE)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("half", HALVES)
def test_every_operator_is_drawn_in_each_dose_as_often(half):
    drawn = list(mutants(half, WHOLE))
    counts = Counter((operator, dose) for operator, dose, _ in drawn)
    assert counts == {(operator.name, dose): WHOLE.mutants for operator in OPERATORS for dose in DOSES}


def test_a_smaller_draw_is_part_of_a_larger_one():
    assert {piece.key for piece in pieces(QUICK)} <= {piece.key for piece in pieces(WHOLE)}


@pytest.mark.parametrize("half", HALVES)
def test_the_draw_is_balanced_over_what_programs_consist_of(half):
    candidates = programs(half)
    drawn = [candidates[index] for _, _, index in mutants(half, WHOLE)]
    for of in (lambda p: p.framework, lambda p: p.network.architecture, lambda p: p.is_classifier):
        counts = Counter(map(of, drawn)).values()
        assert max(counts) < 2.5 * min(counts)


def test_the_whole_has_two_hundred_healthy_runs_to_score():
    assert sum(piece.kind == "healthy" and piece.half == "scored" for piece in pieces(WHOLE)) == 200


@pytest.mark.parametrize("half", HALVES)
def test_healthy_runs_vary_over_what_practitioners_vary(half):
    drawn = [healthy.draw(half, index, 0) for index in range(WHOLE.healthy)]
    assert {p.descent.kind for p in drawn} == {"SGD", "Adam", "AdamW", "Lion", "Muon"}
    assert {p.descent.schedule for p in drawn} == set(healthy.SCHEDULES)
    assert {p.network.norm for p in drawn} == {"", "batch", "layer"}
    assert any(p.network.residual for p in drawn)
    assert any(p.network.dropout for p in drawn)
    assert any(p.data.wrong_labels for p in drawn)
    assert any(p.loop.frozen and p.loop.pretrained for p in drawn)


def test_what_comes_to_no_sensible_end_is_not_healthy():
    classifier, regression = FAMILIES["tuning"][0], FAMILIES["tuning"][4]
    assert healthy.is_healthy(classifier, Result(0.6, 0.62))
    assert not healthy.is_healthy(classifier, Result(0.4, 0.4))
    assert healthy.is_healthy(regression, Result(0.4, 0.42))
    assert not healthy.is_healthy(regression, Result(0.4, 0.5))


WANTED = [Piece("healthy", "tuning", index) for index in range(3)]


def test_what_a_file_holds_already_is_not_run_again(tmp_path, monkeypatch):
    asked = []

    def measure(piece, seeds):
        asked.append(piece.index)
        return {"key": piece.key, "value": piece.index}

    monkeypatch.setattr(suite, "measure", measure)
    file = tmp_path / "results.jsonl"
    # The last line was being written when the machine went away.
    file.write_text(json.dumps({"key": WANTED[1].key, "value": -1}) + "\n" + '{"key": "heal')
    results = run_pieces(WANTED, 1, file)
    assert asked == [0, 2]
    assert [results[piece.key]["value"] for piece in WANTED] == [0, -1, 2]
    assert run_pieces(WANTED, 1, file) == results
    assert asked == [0, 2]


@pytest.mark.parametrize("variable", ["FAULTS_HALF", "FAULTS_SIZE"])
def test_an_unknown_choice_is_refused(monkeypatch, variable):
    monkeypatch.setenv(variable, "most")
    with pytest.raises(ValueError, match=f"faults needs {variable} to be one of .*, got 'most'"):
        list(run())


def test_a_small_suite_runs_from_end_to_end(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setenv("FAULTS_HALF", "tuning")
    monkeypatch.setenv("FAULTS_SIZE", "quick")
    monkeypatch.setenv("FAULTS_RESULTS", str(tmp_path / "results.jsonl"))
    monkeypatch.setenv("FAULTS_JOBS", "1")
    with joblib.parallel_config("sequential"):
        table = {row.case: row for row in run()}
    assert table["tuning: detected"].of > 0
    assert table["tuning: detected"].hits > 0
    assert table["tuning: false alarms on healthy runs"].of == QUICK.healthy
    assert table["tuning: torchmortem: any alarm on a fault"].of == table["tuning: detected"].of
    assert table["tuning: the judge of the outcome: any alarm on a fault"].of == table["tuning: detected"].of
