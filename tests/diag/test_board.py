"""The TensorBoard sink: what the file holds, and what TensorBoard itself makes of it."""

import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from diag.board import METRICS, Board, _record
from diag.board_histograms import histogram_values
from diag.events import Column, Columns, Histogram, Reading, Readings
from probes import histogram_edges, magnitude_histogram

DEADLINE_SECONDS = 60.0

HISTOGRAM = Histogram(
    "weight_histogram",
    "parameters",
    ("features.0.weight",),
    magnitude_histogram(np.array([1.0, 2.0, 3.0, 3.5]))[np.newaxis],
)

READINGS = [
    Reading("dead_unit_rate", "features.1", 0.25, "layers"),
    Reading("gradient_norm", "features.1", 2.0, "layers"),
    Reading("gradient_norm", "features.0.weight", 3.0, "parameters"),
    Reading("gradient_norm", "", 4.0, "network"),
    Reading("sharpness", "", 5.0, "curvature"),
    Reading("top_eigenvalues", "", np.array([7.0, 6.0]), "curvature"),
]
TAGS = {
    "dead_unit_rate/features.1": 0.25,
    "gradient_norm/features.1": 2.0,
    "gradient_norm/features.0.weight": 3.0,
    "gradient_norm": 4.0,
    "sharpness": 5.0,
    "top_eigenvalues/0": 7.0,
    "top_eigenvalues/1": 6.0,
}


def event_file(folder: Path) -> Path:
    (path,) = folder.glob("events.out.tfevents.*")
    return path


def events(folder: Path) -> list[Any]:
    return list(EventFileLoader(str(event_file(folder))).Load())


def scalars(event: Any) -> dict[str, float]:
    """The loader turns a ``simple_value`` into a tensor of one float."""
    values = event.summary.value
    return {
        value.tag: value.tensor.float_val[0]
        for value in values
        if value.metadata.plugin_data.plugin_name == "scalars"
    }


def steps_with_scalars(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(event.step, scalars(event)) for event in events(folder) if scalars(event)]


def hparams_data(folder: Path, tag: str) -> Any:
    values = [
        value for event in events(folder) for value in event.summary.value if value.tag == f"_hparams_/{tag}"
    ]
    assert len(values) == 1
    return plugin_data_pb2.HParamsPluginData.FromString(values[0].metadata.plugin_data.content)


def layouts(folder: Path) -> list[Any]:
    return [
        layout_pb2.Layout.FromString(value.tensor.string_val[0])
        for event in events(folder)
        for value in event.summary.value
        if value.tag == "custom_scalars__config__"
    ]


def patterns(layout: Any) -> dict[tuple[str, str], str]:
    return {
        (category.title, chart.title): chart.multiline.tag[0]
        for category in layout.category
        for chart in category.chart
    }


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path, config={})
    yield board
    board.close()


class TestScalars:
    def test_all_values_of_a_step_are_one_event(self, board, tmp_path):
        board.write(0, READINGS)
        board.write(10, READINGS)
        board.close()
        assert steps_with_scalars(tmp_path) == [(0, TAGS), (10, TAGS)]

    def test_a_vector_of_readings_gives_the_same_tags_whatever_is_missing(self, board, tmp_path):
        single = READINGS[:5]
        columns = Columns(Column(r.name, r.subject, r.axis) for r in single)
        tags = list(TAGS)[:5]
        nan = np.nan
        rows = [[1, 2, 3, 4, 5], [nan, 2, 3, nan, 1e300], [nan] * 5, [6, 7, 8, 9, 10]]
        for step, row in enumerate(rows):
            board.write(step, Readings(columns, np.array(row, float)))
        board.close()
        assert steps_with_scalars(tmp_path) == [
            (0, dict(zip(tags, [1, 2, 3, 4, 5], strict=True))),
            (1, dict(zip([tags[1], tags[2], tags[4]], [2, 3, np.inf], strict=True))),
            (3, dict(zip(tags, [6, 7, 8, 9, 10], strict=True))),
        ]

    def test_a_nan_is_left_out(self, board, tmp_path):
        board.write(0, [Reading("a", "", float("nan"), "network"), Reading("b", "", 1.0, "network")])
        board.write(1, [Reading("e", "", np.array([2.0, np.nan]), "curvature")])
        board.write_scalars(2, {"val_loss": float("nan"), "val_accuracy": 0.5})
        board.flush()
        assert steps_with_scalars(tmp_path) == [
            (0, {"b": 1.0}),
            (1, {"e/0": 2.0}),
            (2, {"val_accuracy": 0.5}),
        ]

    def test_an_infinity_is_written(self, board, tmp_path):
        board.write_scalars(0, {"val_loss": float("inf")})
        board.flush()
        assert steps_with_scalars(tmp_path) == [(0, {"val_loss": float("inf")})]

    def test_a_step_without_a_number_writes_no_event(self, board, tmp_path):
        board.write_scalars(0, {"val_loss": 1.0})
        board.flush()
        size = event_file(tmp_path).stat().st_size
        board.write(1, [])
        board.write_scalars(1, {"val_loss": float("nan")})
        board.flush()
        assert event_file(tmp_path).stat().st_size == size

    @pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), 0.5, 1], ids=repr)
    def test_a_value_may_be_any_0d_number(self, board, tmp_path, value):
        board.write(3, [Reading("loss", "", value, "network")])
        board.flush()
        assert steps_with_scalars(tmp_path) == [(3, {"loss": float(value)})]


class TestFile:
    def test_flush_makes_a_step_readable_while_the_board_is_open(self, tmp_path):
        board = Board(tmp_path, config={}, flush_seconds=float("inf"))
        board.write_scalars(0, {"val_loss": 1.0})
        assert steps_with_scalars(tmp_path) == []
        board.flush()
        assert steps_with_scalars(tmp_path) == [(0, {"val_loss": 1.0})]
        board.close()

    def test_no_time_between_flushes_makes_every_step_readable_at_once(self, tmp_path):
        board = Board(tmp_path, config={}, flush_seconds=0.0)
        board.write_scalars(0, {"val_loss": 1.0})
        assert steps_with_scalars(tmp_path) == [(0, {"val_loss": 1.0})]
        board.close()

    def test_a_truncated_last_record_costs_that_record_only(self, board, tmp_path):
        for step in range(3):
            board.write_scalars(step, {"val_loss": 1.0})
        board.flush()
        path = event_file(tmp_path)
        os.truncate(path, path.stat().st_size - 7)
        assert [step for step, _ in steps_with_scalars(tmp_path)] == [0, 1]

    def test_the_folder_is_made_where_it_is_missing(self, tmp_path):
        Board(tmp_path / "runs" / "mlp", config={}).close()
        assert event_file(tmp_path / "runs" / "mlp").exists()

    def test_a_resumed_run_gets_a_second_file_that_is_read_after_the_first(self, tmp_path):
        for step in (0, 1):
            resumed = Board(tmp_path, config={})
            resumed.write_scalars(step, {"val_loss": 1.0})
            resumed.close()
        paths = sorted(tmp_path.iterdir())
        found = [
            event.step for path in paths for event in EventFileLoader(str(path)).Load() if scalars(event)
        ]
        assert found == [0, 1]

    def test_a_closed_board_says_that_it_is_closed(self, board):
        board.close()
        board.close("failed")
        with pytest.raises(ValueError, match="Board needs an open file to write step 4; it was closed"):
            board.write_scalars(4, {"val_loss": 1.0})

    @given(st.binary(max_size=700))
    def test_a_record_is_sealed_by_the_checksum_of_tensorboard(self, data):
        record = _record(data)
        assert record[8:12] == struct.pack("<I", masked_crc32c(record[:8]))
        assert record[-4:] == struct.pack("<I", masked_crc32c(data))

    def test_neither_tensorflow_nor_torch_is_imported_where_they_are_installed(self, tmp_path):
        for name in ("tensorflow", "torch"):
            (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")
        code = (
            "import sys; from pathlib import Path; from diag.board import Board\n"
            f"board = Board(Path({str(tmp_path / 'run')!r}), config={{'lr': 0.1}})\n"
            "board.write_scalars(0, {'val_loss': 1.0}); board.close()\n"
            "sys.exit(bool({'tensorflow', 'torch', 'scratchnet'} & set(sys.modules)))"
        )
        path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})


class TestLayout:
    def test_each_quantity_is_one_chart_in_the_category_of_its_axis(self, board, tmp_path):
        board.write(0, READINGS)
        board.flush()
        (layout,) = layouts(tmp_path)
        assert [category.title for category in layout.category] == [
            "Layers",
            "Parameters",
            "Curvature",
            "Network",
        ]
        assert patterns(layout)["Layers", "dead_unit_rate"] == "^dead_unit_rate/.*"

    @pytest.mark.parametrize(
        ("chart", "tags"),
        [
            (("Layers", "dead_unit_rate"), {"dead_unit_rate/features.1"}),
            (("Layers", "gradient_norm"), {"gradient_norm/features.1"}),
            (("Parameters", "gradient_norm"), {"gradient_norm/features.0.weight"}),
            (("Network", "gradient_norm"), {"gradient_norm"}),
            (("Curvature", "sharpness"), {"sharpness"}),
            (("Curvature", "top_eigenvalues"), {"top_eigenvalues/0", "top_eigenvalues/1"}),
        ],
        ids=lambda value: str(value) if isinstance(value, tuple) else str(sorted(value)),
    )
    def test_a_chart_shows_the_tags_of_its_quantity_and_no_other(self, board, tmp_path, chart, tags):
        board.write(0, READINGS)
        board.flush()
        pattern = patterns(layouts(tmp_path)[0])[chart]
        assert {tag for tag in TAGS if re.match(pattern, tag)} == tags

    def test_a_parameter_of_the_root_module_is_no_layer(self, board, tmp_path):
        board.write(0, [Reading("norm", "0", 1.0, "layers"), Reading("norm", "weight", 1.0, "parameters")])
        board.flush()
        found = patterns(layouts(tmp_path)[0])
        assert re.match(found["Parameters", "norm"], "norm/weight")
        assert not re.match(found["Layers", "norm"], "norm/weight")

    def test_a_name_is_taken_literally(self, board, tmp_path):
        board.write(0, [Reading("a.b", "x", 1.0, "layers")])
        board.flush()
        pattern = patterns(layouts(tmp_path)[0])["Layers", "a.b"]
        assert re.match(pattern, "a.b/x")
        assert not re.match(pattern, "aXb/x")

    def test_a_layout_is_written_only_when_a_quantity_is_new(self, board, tmp_path):
        for step in range(3):
            board.write(step, READINGS[:1])
        board.write(3, READINGS)
        board.flush()
        assert [len(patterns(layout)) for layout in layouts(tmp_path)] == [1, 6]


class TestHyperparameters:
    def test_the_configuration_is_flattened_with_dots(self, tmp_path):
        Board(tmp_path, config={"optimizer": {"lr": 0.1, "name": "SGD"}, "nesterov": True}).close()
        start = hparams_data(tmp_path, "session_start_info").session_start_info
        assert start.hparams["optimizer.lr"].number_value == 0.1
        assert start.hparams["optimizer.name"].string_value == "SGD"
        assert start.hparams["nesterov"].bool_value is True

    @pytest.mark.parametrize(
        ("value", "kind", "shown"),
        [
            (np.float64(0.5), "number_value", 0.5),
            (np.bool_(False), "bool_value", False),
            (3, "number_value", 3.0),
            (2**60 + 1, "string_value", "1152921504606846977"),
            (float("inf"), "string_value", "inf"),
            (None, "string_value", "None"),
            ([64, 10], "string_value", "[64, 10]"),
            ({}, "string_value", "{}"),
            (Path("data"), "string_value", "data"),
        ],
        ids=str,
    )
    def test_numbers_strings_and_booleans_stay_and_the_rest_is_text(self, tmp_path, value, kind, shown):
        Board(tmp_path, config={"key": value}).close()
        stored = hparams_data(tmp_path, "session_start_info").session_start_info.hparams["key"]
        assert stored.WhichOneof("kind") == kind
        assert getattr(stored, kind) == shown

    def test_the_experiment_names_hyperparameters_and_metrics(self, board, tmp_path):
        Board(tmp_path / "run", config={"lr": 0.1, "nesterov": False, "name": "SGD"}).close()
        experiment = hparams_data(tmp_path / "run", "experiment").experiment
        assert {info.name: info.type for info in experiment.hparam_infos} == {
            "lr": api_pb2.DATA_TYPE_FLOAT64,
            "nesterov": api_pb2.DATA_TYPE_BOOL,
            "name": api_pb2.DATA_TYPE_STRING,
        }
        assert [info.name.tag for info in experiment.metric_infos] == list(METRICS)

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [("finished", api_pb2.STATUS_SUCCESS), ("exception: boom", api_pb2.STATUS_FAILURE)],
    )
    def test_closing_says_how_the_session_ended(self, board, tmp_path, status, outcome):
        board.close(status)
        assert hparams_data(tmp_path, "session_end_info").session_end_info.status == outcome


def write_runs(logdir: Path) -> None:
    for name, lr in (("slow", 0.01), ("fast", 0.1)):
        board = Board(logdir / name, config={"optimizer": {"lr": lr}, "epochs": 3})
        for step in range(4):
            board.write(step, READINGS[:1] if step < 2 else READINGS)
            board.write_values(step, list(histogram_values([HISTOGRAM], histogram_edges())))
        for step, loss in enumerate((3.0, 2.0, lr)):
            board.write_scalars(step, {"val_loss": loss})
        board.close()


def ask(server: SimpleNamespace, route: str, **query: str) -> Any:
    # The address is that of our own server on loopback.
    with urlopen(f"{server.url}data/{route}?{urlencode(query)}", timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def wait_for(question: Any, is_answered: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_answered(answer := question()):
        assert time.monotonic() < deadline, f"no good answer in {DEADLINE_SECONDS:g} s, the last was {answer}"
        time.sleep(0.1)
    return answer


# The Rust reader is what users get; the Python one is what they get where there is no binary for it.
@pytest.fixture(scope="class", params=["auto", "false"], ids=["rust-reader", "python-reader"])
def server(request, tmp_path_factory) -> Iterator[SimpleNamespace]:
    logdir = tmp_path_factory.mktemp("runs")
    write_runs(logdir)
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(logdir),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    process = subprocess.Popen([*command, "--load_fast", request.param], stderr=subprocess.PIPE, text=True)
    with process:
        try:
            banner = next(line for line in process.stderr or () if " at http://" in line)
            yield SimpleNamespace(url=re.search(r"http://\S+", banner)[0])  # type: ignore[index]
        finally:
            process.terminate()
            # Once in a while it does not go.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()


class TestServer:
    """What a running TensorBoard answers over HTTP."""

    def test_it_lists_the_runs_and_their_tags(self, server):
        tags = wait_for(lambda: ask(server, "plugin/scalars/tags"), lambda runs: len(runs) == 2)
        assert set(tags) == {"slow", "fast"}
        assert set(tags["slow"]) == set(TAGS) | {"val_loss"}

    def test_it_reads_the_scalars(self, server):
        wait_for(lambda: ask(server, "plugin/scalars/tags"), lambda runs: len(runs) == 2)
        points = ask(server, "plugin/scalars/scalars", run="slow", tag="top_eigenvalues/1")
        assert [(step, value) for _, step, value in points] == [(2, 6.0), (3, 6.0)]

    def test_it_reads_the_histograms(self, server):
        tag = "weight_histogram/features.0.weight"
        tags = wait_for(lambda: ask(server, "plugin/histograms/tags"), lambda runs: len(runs) == 2)
        assert set(tags["slow"]) == {tag}
        taken = ask(server, "plugin/histograms/histograms", run="slow", tag=tag)
        assert [step for _, step, _ in taken] == [0, 1, 2, 3]
        # One entry from 1 to 2, and three from 2 to 4.
        assert taken[-1][2] == [[1.0, 2.0, 1.0], [2.0, 4.0, 3.0]]

    def test_the_layout_that_it_shows_is_the_complete_one(self, server):
        layout = wait_for(
            lambda: ask(server, "plugin/custom_scalars/layout"),
            lambda shown: len(shown.get("category", ())) == 4,
        )
        charts = {
            (category["title"], chart["title"]): chart["multiline"]["tag"][0]
            for category in layout["category"]
            for chart in category["chart"]
        }
        assert len(charts) == 6
        answer = ask(
            server, "plugin/custom_scalars/scalars", run="slow", tag=charts["Layers", "gradient_norm"]
        )
        assert answer["regex_valid"]
        assert list(answer["tag_to_events"]) == ["gradient_norm/features.1"]

    def test_the_hyperparameter_table_ranks_runs_by_their_last_losses(self, server):
        request = json.dumps(
            {
                "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
                "colParams": [],
                "sliceSize": 10,
                "includeMetrics": True,
            }
        )
        table = wait_for(
            lambda: ask(server, "plugin/hparams/session_groups", request=request),
            lambda shown: len(shown.get("sessionGroups", ())) == 2,
        )
        rows = {group["hparams"]["optimizer.lr"]: group for group in table["sessionGroups"]}
        assert set(rows) == {0.01, 0.1}
        assert {row["sessions"][0]["status"] for row in rows.values()} == {"STATUS_SUCCESS"}
        (loss,) = [m["value"] for m in rows[0.1]["metricValues"] if m["name"]["tag"] == "val_loss"]
        assert loss == pytest.approx(0.1)

    def test_the_experiment_has_the_three_metrics(self, server):
        experiment = wait_for(
            lambda: ask(server, "plugin/hparams/experiment", request="{}"),
            lambda shown: "hparamInfos" in shown,
        )
        assert {info["name"]["tag"] for info in experiment["metricInfos"]} == set(METRICS)
