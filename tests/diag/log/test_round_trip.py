"""The law of the log: what was written is read, however it was cut into calls, flushes and segments."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.events import Column, Columns, Happening, Layer, Model, Reading, Readings
from diag.log import Log, LogWriter

NUMBER = st.floats(width=64)
STEP = st.integers(0, 6)
READING = st.one_of(
    st.builds(Reading, st.sampled_from("ab"), st.sampled_from(["x", "y", "z"]), NUMBER, st.just("layers")),
    st.builds(Reading, st.sampled_from("ab"), st.sampled_from(["x.w", "y.w"]), NUMBER, st.just("parameters")),
    st.builds(Reading, st.sampled_from("cd"), st.just(""), NUMBER, st.just("network")),
    st.builds(Reading, st.just("e"), st.just(""), NUMBER, st.just("curvature")),
    st.builds(
        Reading,
        st.just("f"),
        st.just(""),
        st.lists(NUMBER, min_size=1, max_size=3).map(np.array),
        st.just("curvature"),
    ),
)
SCALARS = st.dictionaries(st.sampled_from(["loss", "val/loss", "g"]), NUMBER, max_size=2)
HAPPENING = st.builds(
    Happening, STEP, st.just("failed_probe"), st.sampled_from(["", "x"]), st.text("aé", max_size=9)
)
CALL = st.one_of(
    st.tuples(st.just("write"), STEP, st.lists(READING, max_size=5)),
    st.tuples(st.just("write_scalars"), STEP, SCALARS),
    st.tuples(st.just("write_happening"), HAPPENING),
    st.tuples(st.just("flush")),
)


Row = dict[tuple[str, str], float]


class Book:
    """What a log should say: rows of each axis, where a step that follows itself adds to its row."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, list[tuple[int, Row]]] = defaultdict(list)
        self.scalars: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self.happenings: list[Happening] = []

    def write(self, step: int, readings: list[Reading]) -> None:
        for reading in readings:
            rows = self.rows[reading.axis]
            if not rows or rows[-1][0] != step:
                rows.append((step, {}))
            self._set(rows[-1][1], reading)

    def write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self.scalars[name][step] = value

    def write_happening(self, happening: Happening) -> None:
        self.happenings.append(happening)

    def flush(self) -> None:
        """What is written counts as read, flushed or not."""

    def _set(self, row: Row, reading: Reading) -> None:
        if not np.ndim(reading.value):
            row[reading.name, reading.subject or reading.name] = reading.value
            return
        for column in range(3):
            row[reading.name, str(column)] = reading.value[column] if column < len(reading.value) else np.nan


def assert_same(log: Log, book: Book) -> None:
    for axis, rows in book.rows.items():
        last = dict(rows)
        for name in {name for row in last.values() for name, _ in row}:
            series = log.series(name, of=axis)
            assert series.steps.tolist() == sorted(last)
            expected = [
                [last[step].get((name, column), np.nan) for column in series.columns] for step in sorted(last)
            ]
            np.testing.assert_array_equal(series.values, expected)
            assert {column for row in last.values() for of, column in row if of == name} - {
                "0",
                "1",
                "2",
            } <= set(series.columns)
    for name, values in book.scalars.items():
        series = log.series(name, of="scalars")
        assert series.steps.tolist() == sorted(values)
        np.testing.assert_array_equal(series.values[:, 0], [values[step] for step in sorted(values)])
    assert list(log.happenings) == book.happenings


@settings(max_examples=20, deadline=None)
@given(st.lists(CALL, max_size=12), st.integers(0, 3), st.integers(1, 4))
def test_whatever_is_written_is_read(calls, warm_up, chunk_rows):
    model = Model(layers=(Layer("x", "Linear"),))
    with tempfile.TemporaryDirectory() as folder:
        writer = LogWriter(
            Path(folder), describe=lambda: model, warm_up=warm_up, chunk_rows=chunk_rows, clock=lambda: 0.0
        )
        book = Book()
        for name, *arguments in calls:
            getattr(writer, name)(*arguments)
            getattr(book, name)(*arguments)
        writer.write(9, [Reading("c", "", 1.0, "network")])
        book.write(9, [Reading("c", "", 1.0, "network")])
        writer.flush()
        assert_same(Log(folder), book)
        writer.close()
        assert_same(Log(folder), book)


def test_a_vector_of_readings_is_kept_like_single_ones_even_where_new_columns_need_a_segment(
    open_writer, folder
):
    cells = [
        Column("update_ratio", "features.0.weight", "parameters"),
        Column("criterion_loss", "", "network"),
        Column("dead_unit_rate", "features.1", "layers"),
    ]
    few, all_of_them = Columns(cells[:2]), Columns(cells)
    writer = open_writer(warm_up=1)
    for step in range(4):
        writer.write(step, Readings(few, np.array([step + 0.5, step + 0.75])))
    writer.write(4, Readings(all_of_them, np.array([4.5, 4.75, 0.25])))
    writer.close()
    log = Log(folder)
    assert log.series("criterion_loss").values.ravel().tolist() == [0.75, 1.75, 2.75, 3.75, 4.75]
    assert log.series("update_ratio").values[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert np.nanmax(log.series("dead_unit_rate").values[-1]) == 0.25
