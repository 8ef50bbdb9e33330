"""What TensorBoard is shown of a stored run, read back by TensorBoard itself."""

import io

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diag.diagnosis import Diagnosis, Evidence, Finding
from diag.events import Layer, Model, Reading
from diag.log import Log, LogWriter
from diag.verdict_board import write_verdicts

HOSTILE = "<script>alert(1)</script>"
EVIDENCE = Evidence("gradient_norm", 1.0, "0", 1, None, f"measured {HOSTILE}")
FINDING = Finding("dead_units", "fault", HOSTILE, 10, EVIDENCE, "why", "fix", 1.0)


@pytest.fixture
def log(tmp_path):
    writer = LogWriter(tmp_path, describe=lambda: Model((Layer("0", "Linear"), Layer("2", "Linear"))))
    for step in range(0, 30, 10):
        writer.write(step, [Reading("gradient_norm", name, 1.0 + step, "layers") for name in "02"])
    writer.close()
    return Log(tmp_path)


def read(path):
    events = EventAccumulator(str(path.parent), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    return events


def test_tensorboard_reads_the_verdicts_at_the_last_step(log):
    events = read(write_verdicts(log, Diagnosis("fault", (FINDING,), {})))
    (told,) = events.Tensors("diagnosis")
    text = told.tensor_proto.string_val[0].decode()
    assert told.step == 20
    assert text.startswith("# fault\n\n1. **fault: dead_units**, layer `")
    assert "measured &lt;script>" in text
    assert events.summary_metadata["diagnosis"].plugin_data.plugin_name == "text"


def test_tensorboard_reads_the_maps_as_pictures(log):
    events = read(write_verdicts(log, Diagnosis("healthy", (), {})))
    assert events.Tags()["images"] == ["gradient_norm_by_depth"]
    (image,) = events.Images("gradient_norm_by_depth")
    pixels = imread(io.BytesIO(image.encoded_image_string))
    assert pixels.shape == (image.height, image.width, 4)
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 3


def test_a_second_time_replaces_the_first_and_touches_no_other_folder(log):
    before = sorted(log.path.iterdir())
    first = write_verdicts(log, Diagnosis("healthy", (), {}))
    second = write_verdicts(log, Diagnosis("warning", (), {}))
    assert list(second.parent.iterdir()) == [second] != [first]
    assert sorted(log.path.iterdir()) == sorted([*before, log.path / "diagnosis"])
    assert read(second).Tensors("diagnosis")[0].tensor_proto.string_val == [b"# warning"]


def test_an_empty_log_has_a_verdict_too(tmp_path):
    LogWriter(tmp_path, describe=Model).close()
    events = read(write_verdicts(Log(tmp_path), Diagnosis("not_assessable", (), {})))
    assert events.Tensors("diagnosis")[0].tensor_proto.string_val == [b"# not assessable"]
