"""The recorder: what it writes is right, and training never knows that it is there."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import diag
import probes
import scratchnet as sn
from scratchnet import nn, optim


def trained(training, recorder_settings=None, steps=30, folder=None, **more):
    subject = training(depth=2, width=16, **more)
    if recorder_settings is None:
        subject.run(steps)
        return subject
    with diag.Recorder(folder, **recorder_settings) as recorder:
        recorder.watch(subject.model, subject.optimizer, criterion=subject.criterion)
        probe = subject.data.x_train[:64], subject.data.y_train[:64]
        recorder.curvature(lambda: subject.criterion(subject.model(probe[0]), probe[1]), every=10, k=2)
        subject.run(steps)
        recorder.log(val_loss=0.5)
    return subject


class TestTrainingIsUntouched:
    @pytest.mark.parametrize("every", [1, 3, 10])
    @pytest.mark.parametrize("optimizer_kind", ["SGD", "Adam"])
    def test_it_is_bit_identical_with_and_without_the_recorder(
        self, training, tmp_path, every, optimizer_kind
    ):
        alone = trained(training, optimizer_kind=optimizer_kind)
        watched = trained(training, {"every": every}, folder=tmp_path / "run", optimizer_kind=optimizer_kind)
        for name, weights in alone.model.state_dict().items():
            assert weights.tobytes() == watched.model.state_dict()[name].tobytes()

    def test_a_closed_recorder_leaves_no_hook(self, training, tmp_path):
        subject = trained(training, {}, folder=tmp_path / "run")
        assert not any(module._forward_hooks or module._backward_hooks for module in subject.model.modules())
        assert not subject.optimizer._pre_hooks
        assert not subject.optimizer._post_hooks

    def test_a_probe_that_fails_is_told_once_with_its_name_and_layer(self, training, record):
        @probes.probe(unit="1", eats="activation", cost="cheap", source="this test")
        def failing_probe(activation):
            """Always fails."""
            raise ZeroDivisionError("as it must")

        subject = training(depth=1, width=8)
        with pytest.warns(
            diag.DiagWarning, match="failing_probe failed at '.'.*ZeroDivisionError: as it must"
        ) as warned:
            log = record(subject, 10, every=1, probes=[failing_probe])
        assert len(warned) == 3  # one for each of the three layers
        told = [h for h in log.happenings if h.kind == "failure"]
        assert {h.subject for h in told} == {"0", "1", "2"}
        assert np.isfinite(log.series("activation_mean").values).all()

    def test_a_closure_that_fails_stops_nothing(self, training, tmp_path):
        facts: dict[str, float] = {}
        subject = training(depth=1, width=8)
        with pytest.warns(diag.DiagWarning, match="curvature failed.*KeyError: 'lost'"):
            with diag.Recorder(tmp_path / "run", every=1) as recorder:
                recorder.watch(subject.model, subject.optimizer)
                recorder.curvature(lambda: facts["lost"], every=1)
                subject.run(5)
        assert len(diag.Log(tmp_path / "run").steps) == 5

    @pytest.mark.parametrize("sink", ["_log", "_board"])
    def test_a_sink_that_fails_stops_neither_training_nor_the_other_sink(self, training, tmp_path, sink):
        def fail(*_):
            raise OSError("disk full")

        subject = training(depth=1, width=8)
        with pytest.warns(diag.DiagWarning, match="writing failed.*disk full"):
            with diag.Recorder(tmp_path / "run", every=1) as recorder:
                recorder.watch(subject.model, subject.optimizer)
                getattr(recorder, sink).write = fail
                subject.run(5)
        assert subject.step == 5

    def test_an_exception_of_the_users_own_passes_and_is_noted(self, training, tmp_path):
        subject = training(depth=1, width=8)
        with (
            pytest.raises(RuntimeError, match="out of coffee"),
            diag.Recorder(tmp_path / "run", every=1) as recorder,
        ):
            recorder.watch(subject.model, subject.optimizer)
            subject.run(5)
            raise RuntimeError("out of coffee")
        assert diag.Log(tmp_path / "run").end_reason == "RuntimeError: out of coffee"

    def test_a_bad_scalar_is_told_and_the_others_before_it_stay(self, training, tmp_path):
        with pytest.warns(diag.DiagWarning, match="log failed.*could not convert"):
            with diag.Recorder(tmp_path / "run") as recorder:
                recorder.log(good=1.0)
                recorder.log({"bad": "much"})  # type: ignore[dict-item]
        assert "good" in diag.Log(tmp_path / "run")


class TestNumbers:
    """Every recorded number equals the one computed here by plain NumPy from the arrays themselves."""

    @pytest.fixture
    def run(self, tmp_path):
        rng = np.random.default_rng(1)
        model = nn.Sequential(
            nn.Linear(5, 7, rng=0), nn.Tanh(), nn.Linear(7, 6, rng=1), nn.ReLU(), nn.Linear(6, 3, rng=2)
        )
        model.double()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        criterion = nn.CrossEntropyLoss()
        facts = []
        with diag.Recorder(tmp_path / "run", every=2, config={"lr": 0.1}) as recorder:
            recorder.watch(model, optimizer, criterion=criterion)
            for _ in range(9):
                x, y = rng.standard_normal((16, 5)), rng.integers(0, 3, 16)
                w = model.state_dict()
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                g = {name: np.array(p.grad) for name, p in model.named_parameters()}
                optimizer.step()
                facts.append((x, y, w, g, model.state_dict(), loss.item()))
                recorder.log(own=float(len(facts)))
        return diag.Log(tmp_path / "run"), facts[::2]

    def test_steps_count_from_zero_and_every_second_is_recorded(self, run):
        assert run[0].steps.tolist() == [0, 2, 4, 6, 8]

    def test_parameters(self, run):
        log, facts = run
        for name in ("0.weight", "0.bias", "2.weight", "4.bias"):
            for row, (_, _, w, g, after, _) in enumerate(facts):
                update = after[name] - w[name]
                expected = {
                    "weight_norm": np.linalg.norm(w[name]),
                    "gradient_norm": np.linalg.norm(g[name]),
                    "update_norm": np.linalg.norm(update),
                    "update_ratio": np.linalg.norm(update) / np.linalg.norm(w[name]),
                    "gradient_non_finite_count": 0,
                }
                for quantity, value in expected.items():
                    recorded = log.series(quantity, of="parameters").column(name)[row]
                    assert recorded == pytest.approx(value, rel=1e-12), quantity

    def test_layers(self, run):
        log, facts = run
        for row, (x, _, w, g, _, _) in enumerate(facts):
            first = x @ w["0.weight"].T + w["0.bias"]
            squashed = np.tanh(first)
            second = squashed @ w["2.weight"].T + w["2.bias"]
            rectified = np.maximum(second, 0)
            expected = {
                ("activation_mean", "0"): first.mean(),
                ("activation_rms", "2"): np.sqrt((second**2).mean()),
                ("saturation_rate", "1"): (1 - squashed**2 < 0.01).mean(),
                ("dead_unit_rate", "3"): (rectified == 0).all(axis=0).mean(),
                ("gradient_norm", "2"): np.hypot(np.linalg.norm(g["2.weight"]), np.linalg.norm(g["2.bias"])),
            }
            for (quantity, layer), value in expected.items():
                assert log.series(quantity, of="layers").column(layer)[row] == pytest.approx(
                    value, rel=1e-12
                ), quantity

    def test_network(self, run):
        log, facts = run
        for row, (x, y, w, g, _, loss) in enumerate(facts):
            hidden = np.maximum(np.tanh(x @ w["0.weight"].T + w["0.bias"]) @ w["2.weight"].T + w["2.bias"], 0)
            prediction = hidden @ w["4.weight"].T + w["4.bias"]
            layers = [np.linalg.norm(np.r_[g[f"{n}.weight"].ravel(), g[f"{n}.bias"]]) for n in (0, 2, 4)]
            expected = {
                "criterion_loss": loss,
                "gradient_norm": np.linalg.norm(layers),
                "gradient_norm_ratio": layers[0] / layers[-1],
                "learning_rate": 0.1,
            }
            for kind, array in (("input", x), ("prediction", prediction), ("target", y)):
                for name in ("mean", "std", "min", "max"):
                    expected[f"{kind}_{name}"] = getattr(np, name)(array)
            for quantity, value in expected.items():
                recorded = log.series(quantity, of="network").values[row, 0]
                assert recorded == pytest.approx(value, rel=1e-12), quantity

    def test_scalars_belong_to_the_step_that_has_just_ended(self, run):
        own = run[0].series("own")
        assert own.steps.tolist() == list(range(9))
        assert own.values[:, 0].tolist() == list(range(1, 10))

    def test_a_recording_that_cost_nothing_is_not_believed(self, run):
        assert (run[0].series("recording_seconds").values > 0).all()


def test_curvature_equals_the_dense_hessians(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1)).double()
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    criterion = nn.CrossEntropyLoss()
    x, y = np.random.default_rng(0).standard_normal((20, 3)), np.random.default_rng(1).integers(0, 2, 20)

    def closure():
        return criterion(model(x), y)

    def dense():
        parameters = list(model.parameters())
        rows = []
        for parameter in range(len(parameters)):
            for index in np.ndindex(parameters[parameter].shape):
                vectors = [np.zeros(p.shape) for p in parameters]
                vectors[parameter][index] = 1
                rows.append(np.concatenate([c.ravel() for c in sn.hvp(closure, parameters, vectors)]))
        return np.array(rows)

    hessians = []
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(model, optimizer)
        recorder.curvature(closure, every=2, k=3, samples=5)
        for step in range(4):
            if step % 2 == 0:
                hessians.append(dense())
            optimizer.zero_grad()
            closure().backward()
            optimizer.step()
    log = diag.Log(tmp_path / "run")
    top = log.series("top_eigenvalues")
    assert top.steps.tolist() == [0, 2]
    for row, hessian in enumerate(hessians):
        expected = np.linalg.eigvalsh(hessian)[::-1]
        assert np.allclose(top.values[row], expected[:3], atol=1e-4 * abs(expected).max())
        error = log.series("trace_standard_error").values[row, 0]
        assert abs(log.series("trace").values[row, 0] - np.trace(hessian)) < 5 * error + 1e-9
    assert log.series("top_eigenvalues_residual").values.max() <= 1e-4
    assert log.series("stability_threshold").values[:, 0] == pytest.approx(2 * 1.9 / 0.2 - 0.01)


def test_two_pairs_are_told_apart_by_name_and_the_first_ends_the_step(tmp_path):
    pairs = [
        nn.Sequential(nn.Linear(2, 3, rng=seed), nn.ReLU(), nn.Linear(3, 1, rng=seed)) for seed in (0, 1)
    ]
    optimizers = [optim.SGD(model.parameters(), lr=0.1) for model in pairs]
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        for name, model, optimizer in zip(("generator", "critic"), pairs, optimizers, strict=True):
            recorder.watch(model, optimizer, name=name)
        for _ in range(4):
            for model, optimizer in zip(pairs, optimizers, strict=True):
                optimizer.zero_grad()
                model(np.ones((2, 2))).sum().backward()
                optimizer.step()
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert {"generator.0", "critic.0"} <= set(log.series("gradient_norm", of="layers").columns)
    assert {"generator.gradient_norm", "critic.gradient_norm"} <= set(log.names["network"])


def test_secrets_of_the_configuration_reach_neither_the_log_nor_tensorboard(training, tmp_path):
    subject = training(depth=1, width=8)
    with diag.Recorder(tmp_path / "run", every=1, config={"lr": 0.1, "api_key": "hunter2"}) as recorder:
        recorder.watch(subject.model, subject.optimizer)
        subject.run(3)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["lr"] == 0.1
    assert not any(b"hunter2" in file.read_bytes() for file in (tmp_path / "run").iterdir())


@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
def test_the_first_value_that_is_not_finite_is_told_of_once(training, record):
    def poison(subject):
        subject.model[2].weight.array[0, 0] = np.nan

    log = record(training(depth=2, width=16), 12, {6: poison}, every=1)
    told = [h for h in log.happenings if h.kind == "non_finite"]
    assert (told[0].step, told[0].subject) == (6, "2")
    assert len({(h.subject, h.message.split(":")[0]) for h in told}) == len(told)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(every=st.integers(1, 7), steps=st.integers(0, 20), watched_at=st.integers(0, 5))
def test_the_recorded_steps_are_those_that_the_cadence_names(
    training, tmp_path_factory, every, steps, watched_at
):
    subject = training(depth=1, width=4, batch_size=2)
    folder = tmp_path_factory.mktemp("cadence") / "run"
    subject.run(watched_at)
    with diag.Recorder(folder, every=every) as recorder:
        recorder.watch(subject.model, subject.optimizer)
        subject.run(steps)
    assert diag.Log(folder).steps.tolist() == list(range(0, steps, every))


class TestBadInput:
    def test_a_folder_that_holds_a_log_is_left_alone(self, training, tmp_path):
        trained(training, {}, folder=tmp_path / "run")
        before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        with pytest.raises(FileExistsError, match="needs a folder without a log.*choose another name"):
            diag.Recorder(tmp_path / "run")
        assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before

    def test_a_cadence_below_one(self, tmp_path):
        with pytest.raises(ValueError, match="Recorder needs every >= 1, got 0"):
            diag.Recorder(tmp_path / "run", every=0)
        assert not (tmp_path / "run").exists()

    def test_a_single_name_to_omit(self, tmp_path):
        with pytest.raises(TypeError, match=r"got the text 'update_ratio'; pass \['update_ratio'\]"):
            diag.Recorder(tmp_path / "run", omit="update_ratio")

    def test_a_function_that_is_no_probe(self, tmp_path):
        with pytest.raises((TypeError, ValueError, KeyError), match="probe"):
            diag.Recorder(tmp_path / "run", probes=[len])

    def test_a_probe_that_cannot_be_recorded_layer_by_layer(self, tmp_path):
        with pytest.raises(ValueError, match="got update_ratio, which eats"):
            diag.Recorder(tmp_path / "run", probes=[probes.update_ratio])

    def test_a_model_watched_twice_and_a_name_taken_twice(self, training, tmp_path):
        subject, other = training(depth=1, width=4), training(depth=1, width=4)
        with diag.Recorder(tmp_path / "run") as recorder:
            recorder.watch(subject.model, subject.optimizer)
            with pytest.raises(ValueError, match="not watched yet"):
                recorder.watch(subject.model, subject.optimizer, name="again")
            with pytest.raises(ValueError, match="name of its own.*pass name="):
                recorder.watch(other.model, other.optimizer)

    def test_curvature_of_nothing(self, training, tmp_path):
        with diag.Recorder(tmp_path / "run") as recorder:
            with pytest.raises(ValueError, match="nothing is watched; call watch first"):
                recorder.curvature(lambda: None)
            with pytest.raises(TypeError, match="curvature needs a closure.*got int"):
                recorder.curvature(3)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="curvature needs k >= 1, got 0"):
                recorder.curvature(lambda: None, k=0)

    def test_a_closed_recorder(self, training, tmp_path):
        subject = training(depth=1, width=4)
        recorder = diag.Recorder(tmp_path / "run")
        recorder.close()
        recorder.close()
        with pytest.raises(RuntimeError, match="watch needs an open recorder"):
            recorder.watch(subject.model, subject.optimizer)
        with pytest.warns(diag.DiagWarning, match="log needs an open recorder"):
            recorder.log(loss=1.0)

    def test_a_training_that_ends_while_nothing_is_recorded_says_nothing(self, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            diag.Recorder(tmp_path / "run").close()
        assert diag.Log(tmp_path / "run").steps.size == 0


def test_a_watch_that_fails_is_not_in_the_way_of_the_next(tmp_path):
    model, other = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
    with pytest.raises(ValueError, match="holds none of them"):
        diag.watch(model, optim.SGD(other.parameters(), lr=0.1), tmp_path / "run")
    diag.watch(model, optim.SGD(model.parameters(), lr=0.1), tmp_path / "run").close()


def test_an_interrupt_while_steps_are_written_loses_that_one_alone(training, tmp_path, monkeypatch):
    subject = training(depth=1, width=8)
    with pytest.raises(KeyboardInterrupt), diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(subject.model, subject.optimizer)
        write = recorder._log.write

        def interrupted(step, readings):
            if step == 10:
                raise KeyboardInterrupt
            write(step, readings)

        monkeypatch.setattr(recorder._log, "write", interrupted)
        subject.run(60)
    steps = diag.Log(tmp_path / "run").steps.tolist()
    assert steps == [step for step in range(len(steps) + 1) if step != 10]
    assert len(steps) > 10


def test_scalars_that_are_logged_later_bring_the_steps_before_them_along(training, tmp_path):
    subject = training(depth=1, width=8)
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(subject.model, subject.optimizer)
        subject.run(5)
        recorder._ended._seconds = 0.0
        recorder.log(val_loss=0.5)
        recorder._log.flush()
        assert diag.Log(tmp_path / "run").steps.tolist() == list(range(5))
