"""A survey answers as the log does, and reads each series once."""

import numpy as np
import pytest

import diag
from diag.diagnosis import diagnose
from diag.events import Model, Reading
from diag.log import Log, LogWriter
from diag.reporting import Survey, to_html


@pytest.fixture
def read(monkeypatch) -> list[tuple[str, str]]:
    """The series that were read from the disk since, in order."""
    found: list[tuple[str, str]] = []
    whole = Log.series

    def series(self, name, of=None):
        answer = whole(self, name, of)
        if type(self) is Log:
            found.append((answer.axis, name))
        return answer

    monkeypatch.setattr(Log, "series", series)
    return found


def test_what_the_rules_have_read_is_not_read_again(log, read):
    survey = Survey(log)
    diagnosis = diagnose(survey)
    by_rules = set(read)
    read.clear()
    to_html(survey, diagnosis)
    again = [series for series in read if series in by_rules and series[0] in ("layers", "parameters")]
    assert again == []
    assert {("layers", "activation_rms"), ("layers", "gradient_norm")} - by_rules <= set(read)


def test_a_page_is_the_same_with_and_without(log, diagnosis):
    assert to_html(Survey(log), diagnosis) == to_html(log, diagnosis)


def test_it_is_a_log_like_the_one_it_surveys(log):
    survey = Survey(log)
    assert Survey.of(survey) is survey
    assert (survey.names, survey.model, survey.state) == (log.names, log.model, log.state)
    np.testing.assert_array_equal(survey.series("update_ratio").values, log.series("update_ratio").values)
    assert diag.diagnose(survey) == diag.diagnose(log)
    assert survey.rank(0).names == log.names


def test_a_digest_says_how_much_there_is_and_what_was_last(tmp_path):
    rows = [[1.0, np.nan, np.nan], [2.0, 5.0, np.nan], [3.0, np.nan, np.nan]]
    writer = LogWriter(tmp_path, describe=Model)
    for step, row in enumerate(rows):
        readings = [Reading("gradient_norm", f"{layer}", value, "layers") for layer, value in enumerate(row)]
        writer.write(10 * step, readings)
    writer.close()
    digest = Survey(Log(tmp_path)).digest("layers", "gradient_norm")
    assert digest.steps.tolist() == [0, 10, 20]
    assert digest.numbers.tolist() == [3, 1, 0]
    np.testing.assert_array_equal(digest.last, [3.0, 5.0, np.nan])
    assert digest.map is not None
    assert digest.map.names == ("0", "1")
    assert [(row.label, row.readings, row.last) for row in digest.map.rows] == [("0", 3, 3.0), ("1", 1, 5.0)]
    np.testing.assert_array_equal(digest.map.table.values, [[1.0, 2.0, 3.0], [np.nan, 5.0, np.nan]])


def test_a_series_without_a_number_has_no_map(tmp_path):
    writer = LogWriter(tmp_path, describe=Model)
    writer.write(0, [Reading("gradient_norm", "fc", np.nan, "layers")])
    writer.close()
    digest = Survey(Log(tmp_path)).digest("layers", "gradient_norm")
    assert digest.map is None
    assert np.isnan(digest.last).all()


def test_an_axis_without_a_step_has_empty_digests(tmp_path):
    LogWriter(tmp_path, describe=Model).close()
    assert Survey(Log(tmp_path)).names["layers"] == ()
