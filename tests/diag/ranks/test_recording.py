"""One rank's recorder, by what its launcher says, without the others."""

import warnings

import numpy as np
import pytest

import diag
from probes.checksum import checksum

STEPS = 3


@pytest.fixture
def record_rank(training, tmp_path, monkeypatch):
    """Records a small training as a rank would."""

    def recorded(launched_as, world_size=2, **settings):
        monkeypatch.setenv("RANK", str(launched_as))
        monkeypatch.setenv("WORLD_SIZE", str(world_size))
        subject = training(depth=1, width=8)
        with diag.Recorder(tmp_path / "run", every=1, **settings) as recorder:
            recorder.watch(subject.model, subject.optimizer)
            subject.run(STEPS)
        return subject

    return recorded


def test_the_launcher_says_where_a_rank_writes(record_rank, tmp_path):
    record_rank(1)
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == ["log.rank1.h5", "rank1"]
    assert len(list((folder / "rank1").glob("events.out.tfevents.*"))) == 1


def test_who_says_a_rank_is_believed(record_rank, tmp_path):
    record_rank(1, rank=0)
    assert {"log.h5", "run.json"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_the_checksum_is_of_the_weights_after_the_step(record_rank, tmp_path):
    subject = record_rank(0)
    weights = [np.asarray(parameter) for parameter in subject.model.parameters()]
    sums = diag.Log(tmp_path / "run").series("parameter_checksum").values[:, 0]
    assert len(set(sums.tolist())) == STEPS
    assert sums[-1] == checksum(weights)


def test_one_process_has_no_checksum(record_rank, tmp_path):
    record_rank(0, world_size=1)
    assert "parameter_checksum" not in diag.Log(tmp_path / "run")


def test_the_checksum_can_be_omitted(record_rank, tmp_path):
    record_rank(0, omit=["parameter_checksum"])
    assert "parameter_checksum" not in diag.Log(tmp_path / "run")


def test_only_the_first_rank_warns_and_what_another_has_to_say_is_in_its_log(tmp_path):
    with diag.Recorder(tmp_path, rank=0) as recorder:
        with pytest.warns(diag.DiagWarning, match="log failed"):
            recorder.log(loss="no number")  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with diag.Recorder(tmp_path, rank=1) as recorder:
            recorder.log(loss="none here either")  # type: ignore[arg-type]
    log = diag.Log(tmp_path)
    assert [told.kind for told in log.rank(1).happenings] == ["failure"]
    first, second = log.happenings
    assert "no number" in first.message
    assert second.message.startswith("on rank 1: log failed: ValueError")
