"""Verdicts and maps of a stored run for TensorBoard, in a folder of their own beside what the run itself writes."""

import socket
import struct
import time
from io import BytesIO
from os import getpid
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from diag.diagnosis import Diagnosis, Finding
from diag.log import Log
from diag.reporting import Survey
from diag.reporting.forms import ENVIRONMENT
from diag.reporting.maps import maps_as_png


def write_verdicts(log: Log, diagnosis: Diagnosis) -> Path:
    """Writes the verdicts as text and the maps of layer × step as images, at the last recorded step.

    They go into ``diagnosis/`` of the run's folder, where nobody else writes: TensorBoard reads one event
    file a folder, and that of the run is the recorder's. What was written there before is replaced.

    Args:
        log: Of a run in any state.
        diagnosis: Of the same run.

    Returns:
        The event file.

    Raises:
        OSError: If it cannot be written.
    """
    folder = (log.path if log.path.is_dir() else log.path.parent) / "diagnosis"
    folder.mkdir(exist_ok=True)
    earlier = list(folder.glob("events.out.tfevents.*"))
    now = time.time_ns()
    path = (
        folder
        / f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{getpid()}.{now % 10**9:09d}"
    )
    partial = folder / f".{path.name}.partial"
    partial.write_bytes(_events(log, diagnosis))
    partial.replace(path)
    for file in earlier:
        file.unlink(missing_ok=True)
    return path


def _events(log: Log, diagnosis: Diagnosis) -> bytes:
    values = [_text("diagnosis", _in_words(diagnosis))]
    values += [_image(f"{name}_by_depth", png) for name, png in maps_as_png(Survey.of(log), diagnosis)]
    step = int(log.steps[-1]) if len(log.steps) else 0
    stream = BytesIO()
    records = RecordWriter(stream)
    for event in (
        event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"),
        event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=values)),
    ):
        records.write(event.SerializeToString())
    return stream.getvalue()


def _text(tag: str, markdown: str) -> Any:
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[markdown.encode()],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
    )
    metadata = text_metadata.create_summary_metadata(display_name="", description="")
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def _image(tag: str, png: bytes) -> Any:
    # A PNG says its size in its first chunk.
    width, height = struct.unpack(">II", png[16:24])
    image = summary_pb2.Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return summary_pb2.Summary.Value(tag=tag, image=image)


def _in_words(diagnosis: Diagnosis) -> str:
    findings = [_finding(index, finding) for index, finding in enumerate(diagnosis.findings, 1)]
    return "\n\n".join([f"# {diagnosis.status.replace('_', ' ')}", *findings])


def _finding(index: int, finding: Finding) -> str:
    code, plain = ENVIRONMENT.filters["code"], ENVIRONMENT.filters["plain"]
    place = "" if finding.layer is None else f", layer {code(finding.layer)}"
    since = "" if finding.onset_step is None else f", since step {finding.onset_step:,}"
    return (
        f"{index}. **{finding.severity}: {plain(finding.rule)}**{place}{since}. {plain(finding.evidence.text)} "
        f"{plain(finding.why)} **What to do:** {plain(finding.fix)}"
    )
