"""TensorBoard sink: a recorded step becomes one event, and the layout of the charts keeps itself complete.

Of the ``tensorboard`` package only the protocol buffers are used. Its own ``EventFileWriter`` imports
TensorFlow wherever that is installed, and computes its checksums byte by byte in Python, which costs a
training loop ten times what the rest of an event does.
"""

import math
import re
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from os import getpid
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

from diag.events import Axis, Columns, Reading, Readings

# TensorBoard takes the metric columns of its table from an experiment that is written before the first
# step, and without one makes a column of every tag: hundreds, for fifty layers. These three are what runs
# are ranked by; one that never comes leaves its cell empty.
METRICS = ("criterion_loss", "val_loss", "val_accuracy")

_CATEGORIES: dict[Axis, str] = {
    "layers": "Layers",
    "parameters": "Parameters",
    "curvature": "Curvature",
    "network": "Network",
}
_LARGEST_EXACT_INTEGER = 2**53
_STEPS_THAT_WAIT = 64


class Board:
    """One TensorBoard event file in the folder of a run.

    All values of a step share one event: half the bytes of one event a value. NaN means "no number" and
    is left out, so that a line has no point there. TensorBoard shows about 1,000 points a tag, chosen at
    random; the HDF5 log keeps them all, so a spike that the view lacks may still have happened.

    Args:
        folder: Folder of the run; created where it is missing.
        config: The run's configuration, for the hyperparameter table: nested keys are joined by dots.
            It is written as it comes, so mask secrets first.
        flush_seconds: A write that comes at least this long after the last flush flushes the file.

    Raises:
        OSError: If the file cannot be created or written.

    Example:
        >>> import tempfile
        >>> board = Board(Path(tempfile.mkdtemp()), config={"optimizer": {"lr": 0.1}})
        >>> board.write(0, [Reading("dead_unit_rate", "features.1", 0.25, "layers")])
        >>> board.write_scalars(0, {"val_loss": 0.7})
        >>> board.close()
    """

    def __init__(self, folder: Path, *, config: Mapping[str, Any], flush_seconds: float = 5.0) -> None:
        self._file = _create_event_file(Path(folder))
        self._flush_seconds = flush_seconds
        self._flushed_at = time.monotonic()
        self._layout = _Layout()
        self._columns: Columns | None = None
        self._tags = _Tags([])
        self._waiting: list[tuple[float, int, NDArray[np.float64]]] = []
        hyperparameters = dict(_flatten(config))
        version = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
        self._file.write(_record(version.SerializeToString()))
        self._write_summary(0, [_experiment(hyperparameters), _session_start(hyperparameters)])
        self.flush()

    def write(self, step: int, readings: Sequence[Reading], wall_time: float | None = None) -> None:
        """Write all the readings of a step as one event.

        Args:
            step: The step that they belong to.
            readings: What was read. A layer's or parameter's has the tag ``NAME/SUBJECT``, the network's
                ``NAME``, the entries of a 1-D value ``NAME/0``, ``NAME/1``, …
            wall_time: When the step ended, in seconds since 1970; now if None.

        Raises:
            ValueError: If the board is closed.
            OSError: If the file cannot be written.
        """
        self._check_open(step)
        if not isinstance(readings, Readings):
            self._notice(step, readings)
            self._write_pairs(step, [pair for reading in readings for pair in _tagged(reading)])
            return
        if readings.columns is not self._columns:
            self._write_waiting()
            self._notice(step, readings)
            self._tags = _Tags(tag for reading in readings for tag, _ in _tagged(reading))
            self._columns = readings.columns
        # Nothing is done at once that can be done for many steps in a row.
        self._waiting.append((time.time() if wall_time is None else wall_time, step, readings.values))
        if len(self._waiting) == _STEPS_THAT_WAIT:
            self._write_waiting()
        self._flush_if_due()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the user's scalars under their own names, as one event.

        Args:
            step: The step that they belong to.
            scalars: Name and value.

        Raises:
            ValueError: If the board is closed.
            OSError: If the file cannot be written.
        """
        self._write_pairs(step, list(scalars.items()))

    def write_values(self, step: int, values: Sequence[Any]) -> None:
        """Write values that are no scalars, such as those of `diag.board_histograms`, as one event.

        Args:
            step: The step that they belong to.
            values: Protocol buffers.

        Raises:
            ValueError: If the board is closed.
            OSError: If the file cannot be written.
        """
        self._write_summary(step, list(values))

    def flush(self) -> None:
        """Hand what is buffered to the operating system: a viewer sees it, and a kill no longer loses it.

        Raises:
            ValueError: If the board is closed.
            OSError: If the file cannot be written.
        """
        self._write_waiting()
        self._file.flush()
        self._flushed_at = time.monotonic()

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._flushed_at >= self._flush_seconds:
            self.flush()

    def close(self, status: str = "finished") -> None:
        """Write how the session ended and close the file; a second call does nothing.

        Args:
            status: How the run ended: ``"finished"`` is shown as success, anything else as failure.

        Raises:
            OSError: If the file cannot be written; it is closed all the same.
        """
        if self._file.closed:
            return
        with self._file:
            self._write_summary(0, [_session_end(status)])

    def _notice(self, step: int, readings: Sequence[Reading]) -> None:
        if self._layout.notice(readings):
            self._write_summary(step, [self._layout.to_value()])

    def _write_pairs(self, step: int, pairs: Sequence[tuple[str, float]]) -> None:
        numbers = np.array([number for _, number in pairs], np.float64)
        self._write_event(step, _Tags(tag for tag, _ in pairs).summary(numbers))

    def _write_summary(self, step: int, values: list[Any]) -> None:
        self._write_event(step, _summary(values))

    def _write_event(self, step: int, summary: bytes) -> None:
        self._check_open(step)
        self._write_waiting()
        if summary:
            self._file.write(_event(time.time(), step, summary))
        self._flush_if_due()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wall_time, step, numbers in waiting:
            if summary := self._tags.summary(numbers):
                self._file.write(_event(wall_time, step, summary))

    def _check_open(self, step: int) -> None:
        if self._file.closed:
            raise ValueError(
                f"Board needs an open file to write step {step}; it was closed: make a new Board"
            )


def _create_event_file(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True)
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    # TensorBoard reads the files of a run in the order of their names, so a resumed run must sort later.
    name = f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}.{getpid()}.{nanoseconds:09d}"
    return (folder / name).open("xb")


def _tagged(reading: Reading) -> list[tuple[str, float]]:
    if _is_indexed(reading):
        return [(f"{reading.name}/{index}", value) for index, value in enumerate(reading.value)]
    has_subject = reading.axis in ("layers", "parameters")
    return [(f"{reading.name}/{reading.subject}" if has_subject else reading.name, reading.value)]


def _is_indexed(reading: Reading) -> bool:
    return reading.axis == "curvature" and np.ndim(reading.value) == 1


def _summary(values: Sequence[Any]) -> bytes:
    """The summary of these values as a field of an event; nothing where there are none."""
    summary = summary_pb2.Summary(value=values)
    return event_pb2.Event(summary=summary).SerializeToString() if values else b""


class _Tags:
    """Tags of a step's numbers: encoded once, so that afterwards only the numbers are put in.

    Args:
        tags: In the order of the numbers.
    """

    def __init__(self, tags: Iterable[str]) -> None:
        self._values = [summary_pb2.Summary.Value(tag=tag, simple_value=0.0) for tag in tags]
        self._form_of = lru_cache(maxsize=4)(self._form)

    def summary(self, numbers: NDArray[np.float64]) -> bytes:
        """The numbers under their tags as a field of an event, without those that are NaN."""
        is_there = ~np.isnan(numbers)
        form, places = self._form_of(is_there.tobytes())
        with np.errstate(over="ignore"):
            single = numbers[is_there].astype("<f4")
        form[places] = single.view(np.uint8).reshape(-1, 4)
        return form.tobytes()

    def _form(self, is_there: bytes) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """An encoded summary of zeros, and where in it the bytes of each number stand."""
        values = [value for value, there in zip(self._values, is_there, strict=True) if there]
        form = np.frombuffer(_summary(values), np.uint8).copy()
        lengths = [summary_pb2.Summary(value=[value]).ByteSize() for value in values]
        # A value's number is the last of it, and the last value ends the summary.
        ends = form.size - sum(lengths) + np.cumsum(lengths, dtype=np.intp)
        return form, ends[:, None] + np.arange(-4, 0)


class _Layout:
    """The custom-scalars layout: one chart for each quantity seen so far, all its subjects in it.

    TensorBoard shows the last layout of a run, so each is written whole.
    """

    def __init__(self) -> None:
        self._charts: dict[tuple[Axis, str, bool], None] = {}
        self._leaves: set[str] = set()

    def notice(self, readings: Iterable[Reading]) -> bool:
        """Whether something was new."""
        size = len(self._charts) + len(self._leaves)
        for reading in readings:
            self._charts[reading.axis, reading.name, _is_indexed(reading)] = None
            if reading.axis == "parameters":
                self._leaves.add(reading.subject.rpartition(".")[2])
        return len(self._charts) + len(self._leaves) > size

    def to_value(self) -> Any:
        layout = layout_pb2.Layout(category=self._categories())
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            string_val=[layout.SerializeToString()],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(),
        )
        return summary_pb2.Summary.Value(
            tag=layout_metadata.CONFIG_SUMMARY_TAG,
            metadata=layout_metadata.create_summary_metadata(),
            tensor=tensor,
        )

    def _categories(self) -> Iterator[Any]:
        for axis, title in _CATEGORIES.items():
            charts = [
                layout_pb2.Chart(title=name, multiline={"tag": [self._pattern(axis, name, is_indexed)]})
                for of, name, is_indexed in self._charts
                if of == axis
            ]
            if charts:
                yield layout_pb2.Category(title=title, chart=charts)

    def _pattern(self, axis: Axis, name: str, is_indexed: bool) -> str:
        name_pattern = re.escape(name)
        if axis == "network" or (axis == "curvature" and not is_indexed):
            return f"^{name_pattern}$"
        if axis == "curvature" or not self._is_on_both_axes(name):
            return f"^{name_pattern}/.*"
        # `gradient_norm/features.1` and `gradient_norm/features.1.weight`: only the last part of the name,
        # of which there are few (weight, bias, …), tells a parameter from a layer.
        parameter = rf"(?:.*\.)?(?:{'|'.join(map(re.escape, sorted(self._leaves)))})$"
        return (
            f"^{name_pattern}/{parameter}" if axis == "parameters" else f"^{name_pattern}/(?!{parameter}).*"
        )

    def _is_on_both_axes(self, name: str) -> bool:
        return ("layers", name, False) in self._charts and ("parameters", name, False) in self._charts


def _flatten(config: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, bool | float | str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> bool | float | str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    # The table carries doubles and its JSON has no infinity: what would be lost is kept as text.
    is_faithful = (isinstance(value, int) and abs(value) <= _LARGEST_EXACT_INTEGER) or (
        isinstance(value, float) and math.isfinite(value)
    )
    return float(value) if is_faithful else str(value)


def _experiment(hyperparameters: Mapping[str, bool | float | str]) -> Any:
    types = {
        bool: api_pb2.DATA_TYPE_BOOL,
        float: api_pb2.DATA_TYPE_FLOAT64,
        str: api_pb2.DATA_TYPE_STRING,
    }
    experiment = api_pb2.Experiment(
        time_created_secs=time.time(),
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=types[type(value)]) for name, value in hyperparameters.items()
        ],
        metric_infos=[api_pb2.MetricInfo(name={"tag": tag}) for tag in METRICS],
    )
    data = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return _hparams_value(hparams_metadata.EXPERIMENT_TAG, data)


def _session_start(hyperparameters: Mapping[str, bool | float | str]) -> Any:
    session = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in hyperparameters.items():
        kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(value)]
        setattr(session.hparams[name], kind, value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=session)
    return _hparams_value(hparams_metadata.SESSION_START_INFO_TAG, data)


def _session_end(status: str) -> Any:
    outcome = api_pb2.STATUS_SUCCESS if status == "finished" else api_pb2.STATUS_FAILURE
    session = plugin_data_pb2.SessionEndInfo(status=outcome, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=session)
    return _hparams_value(hparams_metadata.SESSION_END_INFO_TAG, data)


def _hparams_value(tag: str, data: Any) -> Any:
    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=hparams_metadata.create_summary_metadata(data),
        tensor=hparams_metadata.NULL_TENSOR,
    )


def _event(wall_time: float, step: int, summary: bytes) -> bytes:
    """A record of an event with the summary that is given, encoded as a field of it."""
    # Encoded fields may be put one behind the other: together they are one message.
    return _record(event_pb2.Event(wall_time=wall_time, step=step).SerializeToString() + summary)


def _record(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, data, its checksum; little-endian."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc32c(length) + data + _masked_crc32c(data)


def _masked_crc32c(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> 15) | (crc << 17)
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)
