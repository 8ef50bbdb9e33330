"""One number, all the way: from a forward pass to the log, TensorBoard, the rule and the report."""

import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import diag
import probes
from scratchnet import nn, optim

# Of four units the first fires always, the second sometimes, the third and fourth never.
WEIGHT = np.array([[1.0], [1.0], [0.0], [-1.0]], dtype=np.float32)
BIAS = np.array([2.0, 0.0, -1.0, -5.0], dtype=np.float32)
EXAMPLES = np.array([[-1.0], [0.0], [0.5], [1.0]], dtype=np.float32)
DEAD = 2 / 4


def recorded(folder, bias):
    """A training whose learning rate is zero, so that every step counts the same units."""
    features = nn.Sequential(nn.Linear(1, 4, rng=0), nn.ReLU())
    model = nn.Sequential(features, nn.Linear(4, 2, rng=1))
    model.load_state_dict({**model.state_dict(), "0.0.weight": WEIGHT, "0.0.bias": bias})
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    criterion = nn.CrossEntropyLoss()
    with diag.Recorder(folder, every=1) as recorder:
        recorder.watch(model, optimizer, criterion=criterion)
        for _ in range(300):
            loss = criterion(model(EXAMPLES), np.array([0, 1, 0, 1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return diag.Log(folder)


@pytest.fixture
def log(tmp_path):
    return recorded(tmp_path / "run", BIAS)


def test_it_is_the_number_that_one_counts_by_hand():
    assert float(probes.dead_unit_rate(np.maximum(EXAMPLES @ WEIGHT.T + BIAS, 0))) == DEAD


def test_the_log_has_it(log):
    series = log.series("dead_unit_rate")
    assert series.columns == ("0.0", "0.1", "1")
    assert np.all(series.column("0.1") == DEAD)
    assert np.isnan(series.column("0.0")).all()


def test_pooled_over_a_thousand_examples_it_is_the_same_and_before_that_no_number(log):
    pooled = log.series("dead_unit_rate_pooled").column("0.1")
    assert np.isnan(pooled[:249]).all()
    assert np.all(pooled[249:] == DEAD)


def test_tensorboard_has_it_under_the_same_name(log):
    (file,) = log.path.glob("events.out.tfevents.*")
    values = [
        value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag == "dead_unit_rate/0.1"
    ]
    assert values == [DEAD] * 300


def test_the_rule_reads_it_and_the_report_draws_it(log):
    # Half is the band's edge, not outside it: the rule that reads this very number stays silent.
    assert "dead_units" not in {finding.rule for finding in diag.diagnose(log).findings}
    report = diag.report(log, log.path / "report.html").read_text()
    assert "Dead units by depth" in report
    assert "<td>0.5</td>" in report


def test_one_more_dead_unit_and_the_rule_speaks(tmp_path):
    worse = recorded(tmp_path / "worse", BIAS - np.array([0, 5, 0, 0], dtype=np.float32))
    (finding,) = (finding for finding in diag.diagnose(worse).findings if finding.rule == "dead_units")
    assert (finding.layer, finding.onset_step, finding.evidence.value) == ("0.1", 0, 0.75)
    assert "75%" in diag.report(worse, tmp_path / "worse.html").read_text()


def test_the_report_needs_neither_scratchnet_nor_torch(log, tmp_path):
    code = (
        "import sys, diag; diag.report(diag.Log(sys.argv[1]), sys.argv[2]);"
        "print([name for name in ('scratchnet', 'torch') if name in sys.modules])"
    )
    out = tmp_path / "again.html"
    run = subprocess.run(
        [sys.executable, "-c", code, str(log.path), str(out)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
    assert out.read_text() == diag.report(log, tmp_path / "here.html").read_text()
