"""What is left when the process dies: every row whose flush had returned, and no row that is made up.

Row s holds the value s in every cell, so that a lost, torn or zero row shows. Rows come as the recorder brings
them, a vector over columns that stay the same.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from diag.log import Log, repair

LAYERS = 40
SERIES = 20

# Says "flushing" before each flush and the number of rows after it.
WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from diag.events import Column, Columns, Happening, Layer, Model, Readings
from diag.log import LogWriter, write_run
layers = tuple(Layer(f"layer{{i}}", "Linear") for i in range({LAYERS}))
cells = Columns(Column(f"series{{k}}", layer.name, "layers") for k in range({SERIES}) for layer in layers)
folder, rows_a_flush = Path(sys.argv[1]), int(sys.argv[2])
write_run(folder)
writer = LogWriter(folder, describe=lambda: Model(layers), chunk_rows=16, flush_seconds=1e9)
step = 0
while True:
    for _ in range(rows_a_flush):
        writer.write(step, Readings(cells, np.full(len(cells.cells), float(step))))
        writer.write_scalars(step, {{"loss": step, f"loss_of_{{step // 50}}": step}})
        writer.write_happening(Happening(step, "skipped_step", "", str(step)))
        step += 1
    print("flushing", flush=True)
    writer.flush()
    print(step, flush=True)
"""


def kill_a_writer(folder: Path, *, rows_a_flush: int, flushes: int, delay: float) -> int:
    """Kills a writer some time after it has begun a flush; gives the rows that it had acknowledged."""
    command = [sys.executable, "-c", WRITER, str(folder), str(rows_a_flush)]
    acknowledged = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line != "flushing\n":
                acknowledged = int(line)
            elif acknowledged >= flushes * rows_a_flush:
                break
        aim = time.perf_counter() + delay
        while time.perf_counter() < aim:
            pass
        process.kill()
        rest = [line for line in process.stdout if line.strip().isdecimal()]
        # A last line that the kill cut short counts for nothing.
        return max([acknowledged, *(int(line) for line in rest if line.endswith("\n"))])


def assert_rows_are_whole(log: Log, acknowledged: int) -> None:
    series = log.series("series3")
    assert len(series.steps) >= acknowledged
    for name in log.names["layers"]:
        series = log.series(name)
        np.testing.assert_array_equal(series.steps, np.arange(len(series.steps)))
        np.testing.assert_array_equal(
            series.values, np.broadcast_to(series.steps[:, np.newaxis], series.values.shape)
        )
    for name in log.names["scalars"]:
        scalar = log.series(name)
        np.testing.assert_array_equal(scalar.values[:, 0], scalar.steps)
    assert len(log.series("loss").steps) >= acknowledged
    assert [happening.message for happening in log.happenings] == [str(s) for s in range(len(log.happenings))]
    assert len(log.happenings) >= acknowledged


def assert_survives(folder: Path, acknowledged: int) -> None:
    log = Log(folder)
    assert (log.state, log.end_reason) == ("killed", None)
    assert_rows_are_whole(log, acknowledged)
    # Without run.json nobody knows whether the writer still runs, so the file is read as a live one is.
    alone = shutil.copy(folder / "log.h5", folder.with_name("alone.h5"))
    assert_rows_are_whole(Log(alone), acknowledged)
    rows = len(log.steps)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(folder / "log.h5")
    assert repair(folder) == [
        f"log.h5: closed, compressed, {rows} recorded steps kept, uncommitted rows dropped"
    ]
    log = Log(folder)
    assert (log.state, log.end_reason, len(log.steps)) == ("closed", "repaired", rows)
    assert_rows_are_whole(log, acknowledged)
    for group in ("layers", "scalars", "happenings", "model"):
        with xarray.open_dataset(folder / "log.h5", group=group, engine="h5netcdf") as dataset:
            dataset.load()
    assert sorted(path.name for path in folder.iterdir()) == ["log.h5", "run.json"]


def test_rows_are_whole_whenever_a_live_log_is_read(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", WRITER, str(folder), "3"]
    states = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for acknowledged in (int(line) for line in process.stdout if line != "flushing\n"):
            log = Log(folder)
            states.add(log.state)
            assert_rows_are_whole(log, acknowledged)
            if acknowledged > 50:
                process.kill()
                break
    assert states == {"live"}


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.006], ids="{}s".format)
def test_rows_survive_a_kill_inside_a_flush(tmp_path, delay):
    assert_survives(
        tmp_path / "run", kill_a_writer(tmp_path / "run", rows_a_flush=16, flushes=3, delay=delay)
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_rows_survive_a_kill_at_any_time(tmp_path, seed):
    chance = np.random.default_rng(seed)
    assert_survives(
        tmp_path / "run",
        kill_a_writer(
            tmp_path / "run",
            rows_a_flush=int(chance.choice([1, 7, 16, 40])),
            flushes=int(chance.integers(12)),
            delay=float(chance.choice([chance.uniform(0, 0.015), chance.uniform(0, 0.2)])),
        ),
    )


# Dies by itself where its rows are in the file and the counters that vouch for them are not.
TORN_WRITER = """
import os, signal, sys
from pathlib import Path
import h5py
from diag.events import Model, Reading
from diag.log import LogWriter
writer = LogWriter(Path(sys.argv[1]), describe=Model)
flush = h5py.File.flush
def flush_and_die(file):
    flush(file)
    os.kill(os.getpid(), signal.SIGKILL)
for step in range(10):
    writer.write(step, [Reading("loss", "", step, "network")])
    if step == 4:
        writer.flush()
h5py.File.flush = flush_and_die
writer.flush()
"""


def test_rows_without_their_counter_are_not_shown_and_a_repair_drops_them(tmp_path):
    subprocess.run([sys.executable, "-c", TORN_WRITER, str(tmp_path)], check=False)
    with h5py.File(tmp_path / "log.h5", "r", swmr=True) as file:
        assert len(file["network/loss"]) == 10
    assert Log(tmp_path).series("loss").values.ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    repair(tmp_path)
    with h5py.File(tmp_path / "log.h5") as file:
        assert file["network/loss"][()].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


# Dies while it compresses: the second file is written and has not yet taken the place of the first.
INTERRUPTED_COMPACTION = """
import os, signal, sys
from pathlib import Path
from diag.events import Model, Reading
from diag.log import LogWriter
writer = LogWriter(Path(sys.argv[1]), describe=Model)
writer.write(0, [Reading("loss", "", 1.0, "network")])
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
writer.close()
"""


def test_a_kill_during_the_compression_leaves_a_whole_log(tmp_path):
    subprocess.run([sys.executable, "-c", INTERRUPTED_COMPACTION, str(tmp_path)], check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.h5", "log.h5.partial"]
    log = Log(tmp_path)
    assert (log.state, log.end_reason, log.series("loss").values.tolist()) == ("closed", "finished", [[1.0]])
    assert repair(tmp_path) == []


# A limit on the size of its files stands for a full disk: both make a write fail.
WRITER_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from diag.events import Column, Columns, Happening, Layer, Model, Reading, Readings
from diag.log import LogWriteError, LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
layers = tuple(Layer(f"layer{i}", "Linear") for i in range(40))
cells = Columns(Column("series3", layer.name, "layers") for layer in layers)
writer = LogWriter(Path(sys.argv[1]), describe=lambda: Model(layers), chunk_rows=16, flush_seconds=1e9)
acknowledged = 0
try:
    for step in range(100_000):
        writer.write(step, Readings(cells, np.full(len(layers), float(step))))
        if step % 16 == 5:
            writer.flush()
            acknowledged = step + 1
except LogWriteError as error:
    print(acknowledged, error)
writer.write(0, [Reading("series3", "layer0", -1.0, "layers")])
writer.write_scalars(0, {"loss": 1.0})
writer.write_happening(Happening(0, "x", "", ""))
writer.flush()
writer.close()
"""


def run_on_a_full_disk(folder: Path, size: int) -> int:
    command = [sys.executable, "-c", WRITER_ON_A_FULL_DISK, str(folder), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    acknowledged, _, message = done.stdout.partition(" ")
    assert "needs room and permission to" in message
    assert "what was flushed before stays readable" in message
    return int(acknowledged)


def test_a_full_disk_stops_the_log_once_and_what_was_flushed_stays_readable(tmp_path):
    acknowledged = run_on_a_full_disk(tmp_path, 500_000)
    assert acknowledged > 500
    log = Log(tmp_path)
    series = log.series("series3")
    assert len(series.steps) >= acknowledged
    np.testing.assert_array_equal(series.values[:, 7], np.arange(len(series.steps)))
    assert log.end_reason is not None
    assert log.end_reason.startswith("could not write the log: ")
    assert repair(tmp_path) == []


def test_a_disk_that_is_full_from_the_start_leaves_no_file(tmp_path):
    assert run_on_a_full_disk(tmp_path, 1000) == 0
    assert not list(tmp_path.iterdir())
