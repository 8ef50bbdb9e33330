"""A training with a trap, recorded."""

import pytest

import diag


@pytest.fixture
def log_of(tmp_path):
    """The log of a training that is given `watch`; its warnings are the test's to expect."""

    def recorded(train, every=1, **settings):
        with diag.Recorder(tmp_path / "run", every=every, **settings) as recorder:
            train(recorder.watch)
        log = diag.Log(tmp_path / "run")
        assert [h.message for h in log.happenings if h.kind == "failure"] == []
        return log

    return recorded
