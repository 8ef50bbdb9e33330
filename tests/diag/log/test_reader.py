"""What a log gives back, in each state, and what it says of files that it cannot read."""

import json
import os
import re
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray

from diag.events import Happening, Reading
from diag.log import Log, LogError, write_run
from diag.log.schema import LIBVER

EVERY_GROUP = ["model", "layers", "parameters", "network", "curvature", "scalars", "happenings", "end"]


@pytest.fixture
def run(open_writer, folder, readings_at):
    """A closed run of three steps."""
    writer = open_writer()
    for step in (0, 10, 20):
        writer.write(step, readings_at(step))
    writer.write_scalars(10, {"val_loss": 0.5})
    writer.write_happening(Happening(10, "failed_probe", "tête", "the probe gave “nothing”"))
    writer.close()
    return folder


# --------------------------------------------------------------------------------- what there is


def test_a_log_lists_its_series_by_axis(run):
    assert Log(run).names == {
        "layers": ("dead_unit_rate",),
        "parameters": ("update_ratio",),
        "network": ("criterion_loss",),
        "curvature": ("sharpness", "top_eigenvalues"),
        "scalars": ("val_loss",),
    }


@pytest.mark.parametrize(
    ("name", "axis", "columns", "last"),
    [
        pytest.param(
            "dead_unit_rate",
            "layers",
            ("features.0", "features.1", "tête"),
            [np.nan, 20.25, np.nan],
            id="layers",
        ),
        pytest.param(
            "update_ratio",
            "parameters",
            ("features.0.weight", "features.0.bias", "tête.weight"),
            [20.5, np.nan, np.nan],
            id="parameters",
        ),
        pytest.param("criterion_loss", "network", ("criterion_loss",), [20.75], id="network"),
        pytest.param("sharpness", "curvature", ("sharpness",), [20.0], id="curvature"),
        pytest.param("top_eigenvalues", "curvature", ("0", "1", "2"), [23.0, 22.0, 21.0], id="index"),
    ],
)
def test_a_series_has_steps_columns_and_values(run, name, axis, columns, last):
    series = Log(run).series(name)
    assert (series.name, series.axis, series.columns) == (name, axis, columns)
    assert series.steps.tolist() == [0, 10, 20]
    assert (series.steps.dtype.name, series.values.dtype.name) == ("int64", "float64")
    assert series.values.shape == (3, len(columns))
    np.testing.assert_array_equal(series.values[-1], last)


def test_a_scalar_has_the_steps_at_which_it_was_logged(run):
    series = Log(run).series("val_loss")
    assert (series.axis, series.columns) == ("scalars", ("val_loss",))
    assert (series.steps.tolist(), series.values.tolist()) == ([10], [[0.5]])


def test_the_rest_of_the_log(run, model):
    log = Log(run)
    assert log.model == model
    assert log.steps.tolist() == [0, 10, 20]
    assert log.happenings == (Happening(10, "failed_probe", "tête", "the probe gave “nothing”"),)
    assert (log.state, log.end_reason, log.run) == ("closed", "finished", {})
    assert "update_ratio" in log
    assert "val_loss" in log
    assert "no_such_series" not in log
    assert repr(log) == f'Log("{run}", closed, 3 steps)'


def test_one_file_reads_like_its_folder(run):
    assert Log(str(run / "log.h5")).series("update_ratio").steps.tolist() == [0, 10, 20]


def test_a_name_on_several_axes_is_the_first_of_them_unless_one_says_which(open_writer, folder):
    writer = open_writer()
    writer.write(
        0, [Reading("gradient_norm", "", 3.0, "network"), Reading("gradient_norm", "tête", 1.0, "layers")]
    )
    writer.write_scalars(0, {"gradient_norm": 7.0})
    writer.close()
    log = Log(folder)
    assert log.series("gradient_norm").axis == "layers"
    assert log.series("gradient_norm", of="network").values.item() == 3.0
    assert log.series("gradient_norm", of="scalars").values.item() == 7.0


def test_of_a_step_that_was_recorded_twice_the_last_row_counts(open_writer, folder):
    writer = open_writer(warm_up=0, chunk_rows=2)
    for step, loss in [(0, 1.0), (10, 2.0), (20, 3.0), (10, 4.0)]:
        writer.write(step, [Reading("criterion_loss", "", loss, "network")])
        writer.write_scalars(step, {"val_loss": -loss})
    writer.close()
    log = Log(folder)
    assert log.steps.tolist() == [0, 10, 20]
    assert log.series("criterion_loss").values.ravel().tolist() == [1.0, 4.0, 3.0]
    assert log.series("val_loss").values.ravel().tolist() == [-1.0, -4.0, -3.0]


def test_the_smallest_numbers_are_kept(open_writer, folder):
    writer = open_writer()
    writer.write(0, [Reading("gradient_norm", "tête", value, "layers") for value in (1e-300,)])
    writer.close()
    assert Log(folder).series("gradient_norm").column("tête").tolist() == [1e-300]


# --------------------------------------------------------------------------------------- states


def test_a_live_log_is_read_beside_its_writer_as_it_stood_when_last_looked_at(
    open_writer, folder, readings_at
):
    write_run(folder)
    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    writer.flush()
    log = Log(folder)
    assert (log.state, log.end_reason) == ("live", None)
    for step in (1, 2):
        writer.write(step, readings_at(step))
        writer.flush()
        assert log.series("criterion_loss").steps.tolist() == [0]
    log.refresh()
    assert log.series("criterion_loss").steps.tolist() == [0, 1, 2]
    writer.close()
    assert log.series("criterion_loss").steps.tolist() == [0, 1, 2]
    log.refresh()
    assert log.state == "closed"


@pytest.mark.parametrize(
    ("run_json", "state"),
    [
        pytest.param({"pid": os.getpid(), "host": socket.gethostname()}, "live", id="process-lives-here"),
        pytest.param({"pid": os.getpid(), "host": "elsewhere.invalid"}, "killed", id="another-host"),
        pytest.param({"pid": 2**22 + 1, "host": socket.gethostname()}, "killed", id="no-such-process"),
        pytest.param({}, "killed", id="nobody-named"),
    ],
)
def test_a_log_without_an_end_is_live_as_long_as_its_process(
    open_writer, folder, readings_at, run_json, state
):
    writer = open_writer()
    writer.write(0, readings_at(0))
    writer.flush()
    (folder / "run.json").write_text(json.dumps(run_json), encoding="utf-8")
    log = Log(folder)
    assert (log.state, log.run) == (state, run_json)


def test_a_run_that_died_between_two_segments_has_not_ended(open_writer, folder, readings_at):
    writer = open_writer()
    writer.write(0, readings_at(0))
    writer.close("continued")
    assert (Log(folder).state, Log(folder).end_reason) == ("killed", None)
    assert (Log(folder / "log.h5").state, Log(folder / "log.h5").end_reason) == ("closed", "continued")


# -------------------------------------------------------------------------------------- xarray


@pytest.mark.parametrize("empty", [False, True], ids=["run", "empty-run"])
@pytest.mark.parametrize("group", EVERY_GROUP)
def test_xarray_opens_every_group_of_a_closed_log(request, open_writer, folder, group, empty):
    if empty:
        open_writer().close()
    else:
        request.getfixturevalue("run")
    with xarray.open_dataset(folder / "log.h5", group=group, engine="h5netcdf") as dataset:
        assert not any(str(dimension).startswith("phony") for dimension in dataset.load().dims)


def test_xarray_sees_coordinates_by_name(run):
    with xarray.open_dataset(run / "log.h5", group="layers", engine="h5netcdf") as dataset:
        assert dataset["dead_unit_rate"].sel(step=10, layer=b"features.1").item() == 10.25
    with xarray.open_dataset(run / "log.h5", group="curvature", engine="h5netcdf") as dataset:
        assert dataset["top_eigenvalues"].dims == ("step", "index")
    with xarray.open_dataset(run / "log.h5", group="model", engine="h5netcdf") as dataset:
        assert dataset["layer_kind"].sel(layer="tête".encode()).item() == b"Linear"


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        pytest.param(
            "update_ration",
            None,
            r'no series "update_ration" \(did you mean "update_ratio"\?\); there is: .*val_loss',
            id="typo",
        ),
        pytest.param(
            "zzz", "network", r'no series in network "zzz"; there is: criterion_loss$', id="one-axis"
        ),
        pytest.param(
            "update_ratio", "layers", r"no series in layers .*there is: dead_unit_rate", id="other-axis"
        ),
        pytest.param(
            "update_ratio", "layer", "of= to be one of layers, .*, scalars; got 'layer'", id="no-axis"
        ),
    ],
)
def test_a_series_that_is_not_there_is_told_with_what_there_is(run, name, of, message):
    with pytest.raises(LogError, match=message):
        Log(run).series(name, of)


def test_a_column_that_is_not_there_is_told_with_what_there_is(run):
    with pytest.raises(LogError, match=r'no column "features\.2" \(did you mean "features'):
        Log(run).series("dead_unit_rate").column("features.2")


def test_a_series_is_asked_at_steps_of_any_order_and_is_not_copied_at_its_own(run):
    series = Log(run).series("criterion_loss")
    np.testing.assert_array_equal(series.at(np.array([20, 5, 0]))[:, 0], [20.75, np.nan, 0.75])
    assert np.shares_memory(series.at(series.steps.copy()), series.values)


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(
        LogError, match=r"needs a run folder or an HDF5 file; .*nowhere does not exist; check the path"
    ):
        Log(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        pytest.param([], r"holds no log.h5; a run killed in its warm-up leaves none", id="empty"),
        pytest.param(
            ["log.rank1.h5"], r"holds no log.h5 but log.rank1.h5; name one of these files", id="other-rank"
        ),
    ],
)
def test_a_folder_without_a_log(tmp_path, others, message):
    for name in others:
        (tmp_path / name).touch()
    with pytest.raises(LogError, match=message):
        Log(tmp_path)


def test_a_file_that_is_no_hdf5(tmp_path):
    (tmp_path / "log.h5").write_text("step,loss\n")
    with pytest.raises(LogError, match=r"needs an HDF5 file; .*log.h5 is none \(10 bytes\)"):
        Log(tmp_path)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.99])
def test_a_file_that_lacks_its_end(run, fraction):
    content = (run / "log.h5").read_bytes()
    (run / "log.h5").write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(LogError, match=r"needs a whole file; .*log.h5 is truncated.*copy it again"):
        Log(run)


def test_a_file_with_a_hole_in_it(run):
    content = bytearray((run / "log.h5").read_bytes())
    content[100:-100] = bytes(len(content) - 200)
    (run / "log.h5").write_bytes(content)
    with pytest.raises(LogError, match=r"needs a whole file; .*log.h5 is damaged"):
        Log(run)


def test_a_hole_in_the_log_of_a_dead_process_is_told_at_once(open_writer, folder, tmp_path, readings_at):
    writer = open_writer()
    writer.write(0, readings_at(0))
    writer.flush()
    killed = tmp_path / "killed"
    killed.mkdir()
    content = bytearray((folder / "log.h5").read_bytes())
    content[100:-100] = bytes(len(content) - 200)
    (killed / "log.h5").write_bytes(content)
    (killed / "run.json").write_text(json.dumps({"pid": 2**22 + 1, "host": socket.gethostname()}))
    with pytest.raises(LogError, match=r"needs a whole file; .*log\.h5 is damaged"):
        Log(killed)


@pytest.mark.parametrize(
    ("attributes", "libver", "message"),
    [
        pytest.param(
            {}, "earliest", 'whose "format" is "scratchdiag"; .* does not say what it is', id="no-format"
        ),
        pytest.param(
            {"format": "other"}, LIBVER, 'says "other"; it was written by another program', id="other-format"
        ),
        pytest.param(
            {"format": "scratchdiag", "version": 2},
            LIBVER,
            "reads versions up to 1; .* has version 2; upgrade",
            id="newer",
        ),
    ],
)
def test_an_hdf5_file_that_is_no_log_of_ours(tmp_path, attributes, libver, message):
    with h5py.File(tmp_path / "log.h5", "w", libver=libver) as file:
        file.attrs.update(attributes)
    with pytest.raises(LogError, match=message):
        Log(tmp_path)


def test_a_file_left_open_without_swmr_asks_for_a_repair(run, tmp_path):
    copy = tmp_path / "copy.h5"
    with h5py.File(run / "log.h5", "r+", libver=LIBVER) as file:
        file.flush()
        copy.write_bytes((run / "log.h5").read_bytes())
    with pytest.raises(LogError, match=re.escape(f"closed; {copy} is not; run `diag repair {copy}`")):
        Log(copy)


def test_a_locked_file_names_the_way_out(run):
    hold = "import sys, h5py; file = h5py.File(sys.argv[1], 'r+', locking=True); print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(run / "log.h5")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            LogError, match=r"needs a shared lock on .*log\.h5; .*HDF5_USE_FILE_LOCKING=FALSE"
        ):
            Log(run)
        holder.communicate("\n")
    assert Log(run).state == "closed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", r"needs JSON in run\.json; .* has none: .*; mend it or move it away", id="no-JSON"),
        pytest.param("[]", r"needs a JSON object in run\.json; .* has another value", id="no-object"),
    ],
)
def test_a_run_json_that_is_none(run, content, message):
    (run / "run.json").write_text(content)
    with pytest.raises(LogError, match=message):
        Log(run)
