"""Histograms: from the hooks of a network to the log, while it is written, and to TensorBoard."""

from typing import Any

import h5py
import numpy as np
import pytest
import xarray
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import diag
import probes
import scratchnet as sn
from diag.board_histograms import histogram_values, without_densities
from diag.events import Event, Histogram, Reading
from diag.histograms import Histograms
from diag.log import Log, LogError, LogWriter, repair
from scratchnet import nn, optim

BINS = probes.histogram_bins()
X = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
Y = np.arange(16) % 3


def counts_of(array) -> dict[str, int]:
    counts = probes.magnitude_histogram(np.asarray(array))
    return {BINS[place]: int(counts[place]) for place in np.flatnonzero(counts)}


def named(counts) -> dict[str, int]:
    return {BINS[place]: int(counts[place]) for place in np.flatnonzero(counts)}


class Training:
    def __init__(self, framework=nn, optimizers=optim, array=np.asarray):
        rng = {"rng": 0} if framework is nn else {}
        self.model = framework.Sequential(
            framework.Linear(5, 7, **rng), framework.ReLU(), framework.Linear(7, 3, **rng)
        )
        self.optimizer = optimizers.SGD(self.model.parameters(), lr=0.1)
        self.criterion = framework.CrossEntropyLoss()
        self.x, self.y = array(X), array(Y)

    def step(self):
        loss = self.criterion(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def scratchnet_training():
    return Training()


def torch_training():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return Training(torch.nn, torch.optim, torch.from_numpy)


@pytest.fixture(params=[scratchnet_training, torch_training], ids=["scratchnet", "torch"])
def training(request):
    return request.param()


def record(training, folder, steps=6, **settings) -> Log:
    with diag.Recorder(folder, **{"every": 1, "histograms_every": 2, **settings}) as recorder:
        recorder.watch(training.model, training.optimizer, criterion=training.criterion)
        for _ in range(steps):
            training.step()
    return Log(folder)


class TestWhatIsCounted:
    def test_activations_gradients_and_the_weights_before_the_step(self, training, tmp_path):
        weight = np.asarray(training.model.state_dict()["0.weight"]).copy()
        log = record(training, tmp_path / "run", steps=1)
        assert log.histograms == ("activation_histogram", "gradient_histogram", "weight_histogram")
        found = log.histogram("weight_histogram")
        assert found.bins == BINS
        assert found.columns == ("0.weight", "0.bias", "2.weight", "2.bias")
        assert named(found.column("0.weight")[0]) == counts_of(weight)
        rectified = named(log.histogram("activation_histogram").column("1")[0])
        assert rectified["0"] > 0
        assert sum(rectified.values()) == 16 * 7
        assert log.histogram("gradient_histogram").column("2.bias").sum() == 3

    def test_only_recorded_steps_of_its_own_cadence(self, training, tmp_path):
        log = record(training, tmp_path / "run", steps=13, every=3, histograms_every=2)
        assert log.histogram("weight_histogram").steps.tolist() == [0, 6, 12]
        assert log.steps.tolist() == [0, 3, 6, 9, 12]

    def test_none_unless_they_are_asked_for(self, training, tmp_path):
        log = record(training, tmp_path / "run", histograms_every=None)
        assert log.histograms == ()
        with h5py.File(tmp_path / "run/log.h5") as file:
            assert "histograms" not in file

    def test_training_is_the_same_with_and_without(self, tmp_path):
        alone, beside = scratchnet_training(), scratchnet_training()
        record(beside, tmp_path / "run")
        for _ in range(6):
            alone.step()
        for ours, theirs in zip(alone.model.parameters(), beside.model.parameters(), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())

    def test_two_pairs_share_the_columns(self, tmp_path):
        pair = [scratchnet_training(), scratchnet_training()]
        with diag.Recorder(tmp_path / "run", every=1, histograms_every=1) as recorder:
            for name, each in zip("ab", pair, strict=True):
                recorder.watch(each.model, each.optimizer, name=name)
            for _ in range(3):
                for each in pair:
                    each.step()
        found = Log(tmp_path / "run").histogram("activation_histogram")
        assert found.columns == ("a.0", "a.1", "a.2", "b.0", "b.1", "b.2")
        assert found.counts.sum(axis=2)[-1].tolist() == [112, 112, 48] * 2

    @pytest.mark.filterwarnings("ignore:diag. histogram of")
    def test_a_failure_is_told_and_training_goes_on(self, training, tmp_path, monkeypatch):
        def fail(_array):
            raise MemoryError("no room")

        monkeypatch.setattr(probes, "magnitude_histogram", fail)
        log = record(training, tmp_path / "run", steps=3)
        assert len(log.steps) == 3
        told = {happening.message.partition(" failed")[0] for happening in log.happenings}
        assert told == {f"histogram of {kind}" for kind in ("activation", "gradient", "weight")}
        assert log.histograms == ()

    def test_other_events_are_passed_over(self):
        histograms = Histograms()
        histograms.hear(Event("loss", "", np.array(1.0)))
        assert histograms.take() == []

    @pytest.mark.parametrize("every", [0, -1])
    def test_a_cadence_that_is_none_is_refused(self, tmp_path, every):
        with pytest.raises(ValueError, match=f"Recorder needs histograms_every >= 1, got {every}"):
            diag.Recorder(tmp_path / "run", histograms_every=every)


def histogram(name="weight_histogram", columns=("features.0.weight",), **counts: int) -> Histogram:
    table = np.zeros((len(columns), len(BINS)), np.int64)
    for bin_name, count in (counts or {"0": 1}).items():
        table[:, BINS.index(bin_name)] = count
    return Histogram(name, "parameters", columns, table)


class TestInTheLog:
    """Written and read like the rest of it."""

    @pytest.fixture
    def writer(self, tmp_path):
        described = diag.events.Model(
            parameters=tuple(diag.events.Parameter(name, "features.0", (2,)) for name in self.names)
        )
        return LogWriter(tmp_path, describe=lambda: described, bins=BINS, flush_seconds=0)

    names = ("features.0.weight", "features.0.bias")

    def write(self, writer, steps):
        for step in steps:
            writer.write(step, [Reading("weight_norm", "features.0.weight", 1.0, "parameters")])
            writer.write_histograms(step, [histogram(**{"+2^0": step + 1})])

    def test_a_reader_sees_them_while_the_run_lives(self, writer, tmp_path):
        self.write(writer, range(5))
        found = Log(tmp_path).histogram("weight_histogram")
        assert found.steps.tolist() == [0, 1, 2, 3, 4]
        assert found.column("features.0.weight")[:, BINS.index("+2^0")].tolist() == [1, 2, 3, 4, 5]
        assert found.column("features.0.bias").sum() == 0
        writer.close()

    def test_they_are_the_same_once_the_log_is_compressed(self, writer, tmp_path):
        self.write(writer, range(5))
        before = Log(tmp_path).histogram("weight_histogram")
        writer.close()
        after = Log(tmp_path).histogram("weight_histogram")
        np.testing.assert_array_equal(after.counts, before.counts)
        with h5py.File(tmp_path / "log.h5") as file:
            assert file["histograms/weight_histogram"].compression == "gzip"

    def test_xarray_opens_the_group(self, writer, tmp_path):
        self.write(writer, range(4))
        writer.close()
        data = xarray.open_dataset(tmp_path / "log.h5", group="histograms")
        assert data.weight_histogram.dims == ("step", "parameter", "bin")
        assert data.weight_histogram.sel(step=3).sum() == 4

    def test_one_that_turns_up_later_opens_a_new_segment(self, writer, tmp_path):
        self.write(writer, range(4))
        writer.write_histograms(4, [histogram("gradient_histogram")])
        self.write(writer, range(5, 7))
        writer.close()
        log = Log(tmp_path)
        assert log.histograms == ("weight_histogram", "gradient_histogram")
        assert log.histogram("gradient_histogram").column("features.0.weight").sum() == 1
        # Nothing of the other was taken at step 4.
        weights = log.histogram("weight_histogram")
        assert weights.counts.sum(axis=(1, 2)).tolist() == [1, 2, 3, 4, 0, 6, 7][: len(weights.steps)]
        assert (tmp_path / "log.segment2.h5").exists()

    def test_a_new_series_takes_what_waits_along(self, tmp_path):
        described = diag.events.Model(
            parameters=tuple(diag.events.Parameter(name, "features.0", (2,)) for name in self.names)
        )
        writer = LogWriter(tmp_path, describe=lambda: described, bins=BINS, flush_seconds=1e9)
        self.write(writer, range(4))
        writer.write(4, [Reading("criterion_loss", "", 1.0, "network")])
        self.write(writer, range(5, 7))
        writer.close()
        found = Log(tmp_path).histogram("weight_histogram")
        assert found.steps.tolist() == [0, 1, 2, 3, 5, 6]
        assert found.counts.sum(axis=(1, 2)).tolist() == [1, 2, 3, 4, 6, 7]

    def test_a_repaired_log_has_them_still(self, writer, tmp_path):
        self.write(writer, range(5))
        (killed := tmp_path / "killed").mkdir()
        (killed / "log.h5").write_bytes((tmp_path / "log.h5").read_bytes())
        writer.close()
        assert len(repair(killed)) == 1
        assert Log(killed).histogram("weight_histogram").counts.sum() == 1 + 2 + 3 + 4 + 5

    def test_what_there_is_not_is_said(self, writer, tmp_path):
        self.write(writer, range(3))
        writer.close()
        log = Log(tmp_path)
        with pytest.raises(LogError, match='no histogram "weights".*there is: weight_histogram'):
            log.histogram("weights")
        with pytest.raises(LogError, match='no column "features.1.weight" .did you mean "features.0.weight"'):
            log.histogram("weight_histogram").column("features.1.weight")


def of_tag(folder, tag) -> list[Any]:
    (file,) = folder.glob("events.out.tfevents.*")
    return [
        (event.step, value)
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag == tag
    ]


def buckets(value) -> np.ndarray:
    shape = [dim.size for dim in value.tensor.tensor_shape.dim]
    return np.frombuffer(value.tensor.tensor_content, "<f8").reshape(shape)


class TestOnTheBoard:
    def test_buckets_are_the_powers_of_two_that_occur(self):
        counted = histogram(**{"-2^1": 2, "0": 3, "+2^0": 4, "nan": 5, "+inf": 6, "-inf": 7})
        (value,) = histogram_values([counted], probes.histogram_edges())
        table = buckets(value)
        assert value.tag == "weight_histogram/features.0.weight"
        assert value.metadata.plugin_data.plugin_name == "histograms"
        assert table[table[:, 2] > 0].tolist() == [[-4.0, -2.0, 2.0], [0.0, 0.0, 3.0], [1.0, 2.0, 4.0]]
        # No gap between them, and nothing beyond.
        np.testing.assert_array_equal(table[1:, 0], table[:-1, 1])
        assert (table[0, 0], table[-1, 1]) == (-4.0, 2.0)

    def test_where_nothing_was_counted_there_is_no_value(self):
        nothing = histogram()._replace(counts=np.zeros((1, len(BINS)), np.int64))
        assert list(histogram_values([nothing], probes.histogram_edges())) == []

    def test_a_recorded_run_has_one_a_layer_and_step(self, training, tmp_path):
        record(training, tmp_path / "run")
        values = of_tag(tmp_path / "run", "activation_histogram/1")
        assert [step for step, _ in values] == [0, 2, 4]
        assert [buckets(value)[:, 2].sum() for _, value in values] == [16 * 7] * 3

    def test_a_density_is_shown_as_a_histogram_and_not_as_hundreds_of_scalars(self, tmp_path):
        run = scratchnet_training()
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(run.model, run.optimizer)
            recorder.curvature(lambda: run.criterion(run.model(X), Y), every=2, density=True)
            for _ in range(3):
                run.step()
        log = Log(tmp_path / "run")
        grid, density = (log.series(name).values for name in ("spectral_density_grid", "spectral_density"))
        assert grid.shape == density.shape == (2, 128)
        np.testing.assert_allclose(density.sum(axis=1) * np.diff(grid, axis=1).mean(axis=1), 1, atol=1e-3)
        # The same as by hand, at the weights before the first step.
        fresh = scratchnet_training()
        parameters = list(fresh.model.parameters())
        eigenvalues = np.linalg.eigvalsh(
            sn.derivatives.hessian(lambda: fresh.criterion(fresh.model(X), Y), parameters)
        )
        mean = (density[0] * grid[0]).sum() / density[0].sum()
        assert mean == pytest.approx(eigenvalues.mean(), rel=0.5)
        assert grid[0, 0] < eigenvalues[0] < eigenvalues[-1] < grid[0, -1]
        (first, _), (second, value) = of_tag(tmp_path / "run", "spectral_density")
        assert (first, second) == (0, 2)
        assert buckets(value)[:, 2].sum() == pytest.approx(1, abs=1e-3)
        assert of_tag(tmp_path / "run", "spectral_density/0") == []
        assert len(of_tag(tmp_path / "run", "top_eigenvalues/0")) == 2

    def test_a_density_that_failed_is_left_out(self):
        none = np.full(4, np.nan)
        readings = [
            Reading(name, "", none, "curvature") for name in ("spectral_density", "spectral_density_grid")
        ]
        assert without_densities(readings) == ([], [])
