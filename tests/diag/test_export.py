"""What other programs get: every number once, to the last bit, in each form."""

import csv
import json
import math
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from diag.events import Layer, Model, Parameter, Reading
from diag.export import export
from diag.log import Log, LogWriter, write_run

# A layer called like a series, and names that a table or netCDF would stumble over.
MODEL = Model(
    (Layer("gradient_norm", "Linear", (2,)), Layer('a,"b"\n', "ReLU", (2,))),
    (Parameter("gradient_norm.weight", "gradient_norm", (2, 2)),),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    write_run(folder, {"lr": 0.1})
    writer = LogWriter(folder, describe=lambda: MODEL)
    for step in range(0, 40, 10):
        loss = 1 / (3 + step)
        readings = [
            Reading("gradient_norm", "gradient_norm", loss, "layers"),
            Reading("dead_unit_rate", 'a,"b"\n', 0.1 + step, "layers"),
            Reading("update_ratio", "gradient_norm.weight", 1e-300, "parameters"),
            Reading("gradient_norm", "", loss, "network"),
            Reading("criterion_loss", "", [loss, math.nan, math.inf, -math.inf][step // 10], "network"),
        ]
        if step == 20:
            readings.append(Reading("top_eigenvalues", "", np.array([3.0, math.nan, 1.0]), "curvature"))
            readings.append(Reading("trace", "", 4.0, "curvature"))
        writer.write(step, readings)
    writer.write_scalars(5, {"val/loss": 0.25})
    writer.write_scalars(25, {"val/loss": 0.125, "step": 7.0})
    writer.close()
    return Log(folder)


def expected(log):
    """Every row that a table must have, straight from the log."""
    rows = []
    for axis, names in log.names.items():
        for name in names:
            series = log.series(name, of=axis)
            has_subject = axis in ("layers", "parameters") or len(series.columns) > 1
            for column in series.columns:
                values = series.column(column).tolist()
                if not all(map(math.isnan, values)):
                    subject = column if has_subject else ""
                    rows += [
                        (axis, name, subject, *pair)
                        for pair in zip(series.steps.tolist(), values, strict=True)
                    ]
    return rows


def same(rows, others):
    return list(map(repr, rows)) == list(map(repr, others))


def test_the_csv_has_every_number_to_the_last_bit(log, tmp_path):
    with export(log, "csv", tmp_path / "x.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["axis", "name", "subject", "step", "value"]
    assert same([(*row[:3], int(row[3]), float(row[4])) for row in rows], expected(log))


def test_a_subject_without_any_number_is_left_out_and_nan_elsewhere_stays(log, tmp_path):
    lines = export(log, "csv", tmp_path / "x.csv").read_text().splitlines()
    assert not any(line.startswith("layers,dead_unit_rate,gradient_norm,") for line in lines)
    assert "network,criterion_loss,,10,nan" in lines
    assert "network,criterion_loss,,30,-inf" in lines


def test_the_parquet_has_the_same_table(log, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(export(log, "parquet", tmp_path / "x.parquet"))
    assert table.column_names == ["axis", "name", "subject", "step", "value"]
    assert same([tuple(row.values()) for row in table.to_pylist()], expected(log))
    assert table["value"].null_count == 0


def test_the_netcdf_has_a_group_for_each_axis_with_the_logs_dimensions(log, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path = export(log, "netcdf", tmp_path / "x.nc")
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        assert json.loads(tree.attrs["run"])["config"] == {"lr": 0.1}
        for axis, dimension in (("layers", "layer"), ("parameters", "parameter")):
            for name in log.names[axis]:
                series = log.series(name, of=axis)
                found = tree[axis][name]
                assert found.dims == ("step", dimension)
                assert tuple(found[dimension].values) == series.columns
                np.testing.assert_array_equal(found["step"], series.steps)
                np.testing.assert_array_equal(found, series.values)
        for name in log.names["network"]:
            np.testing.assert_array_equal(tree["network"][name], log.series(name, of="network").values[:, 0])
        assert tree["curvature"]["top_eigenvalues"].dims == ("step", "index")
        np.testing.assert_array_equal(tree["curvature"]["top_eigenvalues"], [[3, math.nan, 1]])
        scalars = tree["scalars"]["value"]
        assert scalars.sel(name="val/loss").values.tolist() == [0.25, 0.125]
        np.testing.assert_array_equal(scalars.sel(name="step"), [math.nan, 7])


@pytest.mark.parametrize(("form", "module"), [("csv", "csv"), ("parquet", "pyarrow"), ("netcdf", "h5netcdf")])
def test_an_empty_log_is_exported_empty(tmp_path, form, module):
    pytest.importorskip(module)
    LogWriter(tmp_path, describe=Model).close()
    path = export(Log(tmp_path), form)
    assert path.stat().st_size > 0
    assert form != "csv" or path.read_text() == "axis,name,subject,step,value\n"


@pytest.mark.parametrize(("form", "name"), [("csv", "export.csv"), ("netcdf", "export.nc")])
def test_without_a_path_it_lies_beside_the_log(log, form, name):
    path = export(Log(log.path / "log.h5"), form)
    assert path == log.path / name
    path.unlink()


def test_the_log_itself_stays_as_it_is(log, tmp_path):
    before = (log.path / "log.h5").read_bytes()
    export(log, "netcdf", tmp_path / "x.nc")
    assert (log.path / "log.h5").read_bytes() == before
    with h5py.File(log.path / "log.h5") as file:
        assert "layers" in file


class TestErrors:
    def test_another_form_is_refused(self, log):
        with pytest.raises(ValueError, match=r"knows csv, parquet, netcdf; it got 'xlsx'"):
            export(log, "xlsx")

    def test_a_folder_is_no_file(self, log, tmp_path):
        with pytest.raises(ValueError, match=r"is a folder; add /export\.csv"):
            export(log, "csv", tmp_path)

    @pytest.mark.parametrize(
        ("form", "module"),
        [
            ("parquet", "pyarrow"),
            ("parquet", "pyarrow.parquet"),
            ("netcdf", "xarray"),
            ("netcdf", "h5netcdf"),
        ],
    )
    def test_what_is_not_installed_is_named_with_the_way_out(self, log, tmp_path, monkeypatch, form, module):
        monkeypatch.setitem(sys.modules, module, None)
        package = module.partition(".")[0]
        with pytest.raises(
            ModuleNotFoundError, match=rf'needs {package}, .*pip install "scratchdiag\[export\]"'
        ):
            export(log, form, tmp_path / "x")
        assert list(tmp_path.iterdir()) == []

    def test_what_cannot_be_written_whole_leaves_the_old_one(self, log, tmp_path, monkeypatch):
        path = tmp_path / "x.csv"
        path.write_text("the old one")

        def fail(*_):
            raise OSError("no space left")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            export(log, "csv", path)
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.csv", "the old one")]
