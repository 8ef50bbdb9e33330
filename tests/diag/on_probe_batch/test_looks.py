"""Looks at a fixed batch: the numbers are right, the cadence is kept, and the training never knows."""

import numpy as np
import pytest

import diag
import probes
import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 64)
CRITERION = nn.CrossEntropyLoss()
LOOKS = ("curvature", "representation", "noise")


def network():
    return nn.Sequential(
        nn.Linear(6, 8, rng=0),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3, rng=1),
        nn.Linear(8, 8, rng=2),
        nn.ReLU(),
        nn.Linear(8, 3, rng=3),
    )


class Run:
    """A training on batches of 16 of the first examples."""

    def __init__(self, model=None, move=lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.5)):
        self.model = network() if model is None else model
        self.optimizer = move(self.model.parameters())

    def loss(self, rows=slice(None)):
        return CRITERION(self.model(X[rows]), Y[rows])

    def chunk(self, part):
        return lambda: self.loss(slice(16 * part, 16 * part + 16))

    def look(self, recorder, *which, **settings):
        if "curvature" in which:
            recorder.curvature(self.loss, k=2, samples=3, **settings)
        if "representation" in which:
            recorder.representation(self.loss, **settings)
        if "noise" in which:
            recorder.noise([self.chunk(part) for part in range(4)], examples=16, **settings)

    def train(self, steps):
        for step in range(steps):
            loss = self.loss(slice(16 * (step % 4), 16 * (step % 4) + 16))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def record(self, folder, steps=4, *, looks=LOOKS, every=1):
        with diag.Recorder(folder, every=1) as recorder:
            recorder.watch(self.model, self.optimizer, criterion=CRITERION)
            self.look(recorder, *looks, every=every)
            self.train(steps)
        return diag.Log(folder)

    def readings(self, folder, look):
        """What a look reads before anything is trained."""
        with diag.Recorder(folder, every=1) as recorder:
            recorder.watch(self.model, self.optimizer, criterion=CRITERION)
            self.look(recorder, look)
            return taken(recorder)


def taken(recorder):
    """By name, or by name and layer."""
    (look,) = recorder._looks
    readings = look.take(0, recorder._guard)
    return {(r.name, r.subject) if r.subject else r.name: r.value for r in readings}


@pytest.mark.parametrize("look", LOOKS)
def test_training_is_bit_identical_with_a_look_at_every_step(tmp_path, look):
    alone, watched = Run(), Run()
    alone.train(12)
    log = watched.record(tmp_path / "run", 12, looks=[look])
    assert [h.message for h in log.happenings] == []
    for name, weights in alone.model.state_dict().items():
        assert weights.tobytes() == watched.model.state_dict()[name].tobytes(), name


def test_a_look_leaves_gradients_modes_buffers_random_states_and_hooks(tmp_path):
    run = Run()
    heard: list[str] = []
    run.model[1].eval()
    run.model[0].register_forward_hook(lambda *_: heard.append("hook"))
    run.loss().backward()
    heard.clear()
    before = {name: array.copy() for name, array in run.model.state_dict().items()}
    gradients = [np.array(p.grad) for p in run.model.parameters()]
    random_state = run.model[3]._generator.bit_generator.state
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(run.model, run.optimizer, criterion=CRITERION)
        run.look(recorder, *LOOKS)
        for look in recorder._looks:
            assert look.take(0, recorder._guard)
        assert [module.training for module in run.model] == [True, False, True, True, True, True, True]
        assert recorder._watched[0].capture.listening
    assert heard == []
    assert all(np.array_equal(array, before[name]) for name, array in run.model.state_dict().items())
    assert all(
        np.array_equal(p.grad, kept) for p, kept in zip(run.model.parameters(), gradients, strict=True)
    )
    assert run.model[3]._generator.bit_generator.state == random_state


class TestRepresentation:
    def test_its_readings_are_the_probes_of_the_layers_in_evaluation_mode(self, tmp_path):
        run = Run()
        run.model.eval()
        with sn.no_grad():
            outputs = [X]
            for layer in run.model:
                outputs.append(layer(outputs[-1]).numpy())
        run.model.train()
        readings = run.readings(tmp_path / "run", "representation")
        weight, bias = (parameter.array for parameter in run.model[6].parameters())
        ranks = {name[1] for name in readings if name[0] == "activation_effective_rank"}
        assert ranks == {"0", "1", "2", "4", "5", "6"}  # Dropout only gives on what it gets.
        for layer in ranks:
            expected = probes.activation_effective_rank(outputs[int(layer) + 1])
            assert readings["activation_effective_rank", layer] == pytest.approx(float(expected))
        similarity = probes.debiased_linear_cka(outputs[1], outputs[5])
        expected = {
            ("debiased_linear_cka", "4"): similarity,
            ("dormant_unit_rate", "2"): probes.dormant_unit_rate(outputs[3]),
            "within_class_variability": probes.within_class_variability(outputs[6], Y),
            "nearest_centre_agreement": probes.nearest_centre_agreement(outputs[6], Y, weight, bias),
            "self_duality_deviation": probes.self_duality_deviation(outputs[6], Y, weight),
            "probe_loss": F.cross_entropy(outputs[7], Y).item(),
            "prediction_example_std": outputs[7].std(axis=0).mean(),
        }
        for name, value in expected.items():
            assert readings[name] == pytest.approx(float(value), rel=1e-5), name

    def test_two_modes_are_compared_only_where_there_are_two(self, tmp_path):
        assert "probe_loss_as_trained" in Run().readings(tmp_path / "a", "representation")
        plain = nn.Sequential(nn.Linear(6, 8, rng=0), nn.ReLU(), nn.Linear(8, 3, rng=1))
        assert "probe_loss_as_trained" not in Run(plain).readings(tmp_path / "b", "representation")

    def test_batch_statistics_make_the_loss_as_trained(self, tmp_path):
        model = nn.Sequential(nn.Linear(6, 8, rng=0), nn.BatchNorm1d(8), nn.Linear(8, 3, rng=1))
        readings = Run(model).readings(tmp_path / "run", "representation")
        assert readings["probe_loss_as_trained"] == pytest.approx(CRITERION(model(X), Y).item())
        assert readings["probe_loss"] != pytest.approx(readings["probe_loss_as_trained"])

    @pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
    def test_attention_is_where_the_module_itself_says_that_it_looks(self, tmp_path, is_causal):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(6, 2, batch_first=True, rng=0)
                self.head = nn.Linear(6, 3, rng=1)

            def forward(self, x):
                x = x.reshape(-1, 4, 6)
                return self.head(self.attention(x, x, x, need_weights=False, is_causal=is_causal)[0][:, 0])

        model, rows = Net(), X.reshape(16, 4, 6)
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(model, optim.SGD(model.parameters(), lr=0.1), criterion=CRITERION)
            recorder.representation(lambda: CRITERION(model(X), Y[:16]))
            readings = taken(recorder)
        _, weights = model.attention(rows, rows, rows, is_causal=is_causal, average_attn_weights=False)
        entropy = np.median(probes.attention_entropy(weights.numpy()))
        assert readings["attention_entropy", "attention"] == pytest.approx(entropy)
        assert readings["attention_keys", "attention"] == 4
        projection = model.attention.in_proj_weight
        assert projection is not None
        projected = F.linear(rows, projection, model.attention.in_proj_bias).numpy()
        q, k = projected.reshape(16, 4, 3, 2, 3).transpose(2, 0, 3, 1, 4)[:2]
        logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(3)
        allowed = np.tril(np.ones((4, 4), bool)) if is_causal else np.ones((4, 4), bool)
        largest = logits[:, :, allowed].max()
        assert readings["largest_attention_logit", "attention"] == pytest.approx(largest, rel=1e-5)
        assert "forward" not in vars(model.attention)

    def test_classes_that_come_unevenly_are_counted_and_the_rarest_is_looked_for(self, tmp_path):
        model = nn.Sequential(nn.Linear(6, 3, rng=0))
        weight, bias = model.parameters()
        weight.array[...], bias.array[...] = 0, [0, 1, 0]  # Always the second class.
        labels = np.r_[np.zeros(5, int), np.ones(50, int), np.full(9, 2)]
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(model, optim.SGD(model.parameters(), lr=0.1), criterion=CRITERION)
            recorder.representation(lambda: CRITERION(model(X), labels))
            readings = taken(recorder)
        assert (readings["class_count_ratio"], readings["rarest_class_error_rate"]) == (10, 1)

    def test_a_batch_of_three_is_told_once_and_training_goes_on(self, tmp_path):
        run = Run()
        with pytest.warns(diag.DiagWarning, match="batch of 4 examples at least, got 3.*take a few hundred"):
            with diag.Recorder(tmp_path / "run", every=1) as recorder:
                recorder.watch(run.model, run.optimizer, criterion=CRITERION)
                recorder.representation(lambda: run.loss(slice(3)), every=1)
                run.train(4)
        assert len(diag.Log(tmp_path / "run").steps) == 4


class TestNoise:
    def test_its_estimate_is_that_of_the_chunks_gradients(self, tmp_path):
        run = Run()
        run.model.eval()
        gradients = []
        for part in range(4):
            found = sn.grad(run.chunk(part)(), list(run.model.parameters()))
            gradients.append(np.concatenate([g.numpy().ravel() for g in found]).astype(np.float64))
        run.model.train()
        readings = run.readings(tmp_path / "run", "noise")
        # Unbiased by another road: the sample variance of the chunks' means is that of one example over 16.
        variance = 16 * np.var(gradients, axis=0, ddof=1).sum()
        squared = np.sum(np.mean(gradients, axis=0) ** 2) - variance / 64
        assert readings["gradient_noise_variance"] == pytest.approx(variance, rel=1e-4)
        assert readings["gradient_noise_squared_norm"] == pytest.approx(squared, rel=1e-3)
        assert readings["gradient_noise_scale"] == pytest.approx(variance / squared, rel=1e-3)

    def test_chunks_that_are_all_alike_have_no_noise(self, tmp_path):
        run = Run()
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(run.model, run.optimizer)
            recorder.noise([run.chunk(0), run.chunk(0)], examples=16)
            assert taken(recorder)["gradient_noise_scale"] == pytest.approx(0, abs=1e-3)


def test_adams_curvature_is_that_of_the_dense_preconditioned_hessian(tmp_path):
    model = nn.Sequential(nn.Linear(6, 4, rng=0), nn.Tanh(), nn.Linear(4, 3, rng=1))
    run = Run(model, lambda parameters: optim.Adam(parameters, lr=0.01, betas=(0.8, 0.99)))
    run.train(3)
    parameters = list(model.parameters())
    state = run.optimizer.state_dict()["state"]
    moments = np.concatenate([state[i]["exp_avg_sq"].ravel() for i in range(4)])
    diagonal = (1 - 0.8**3) * (np.sqrt(moments / (1 - 0.99**3)) + 1e-8)
    rows = []
    for index in range(len(diagonal)):
        unit = np.eye(1, len(diagonal), index, dtype=np.float32)[0]
        ends = np.cumsum([p.size for p in parameters])[:-1]
        vectors = [v.reshape(p.shape) for v, p in zip(np.split(unit, ends), parameters, strict=True)]
        rows.append(np.concatenate([v.ravel() for v in sn.hvp(run.loss, parameters, vectors)]))
    expected = np.linalg.eigvals(np.array(rows) / diagonal[:, None]).real.max()
    readings = run.readings(tmp_path / "run", "curvature")
    assert readings["preconditioned_top_eigenvalue"] == pytest.approx(expected, rel=1e-3)
    assert readings["stability_threshold"] == pytest.approx(2 * 1.8 / (0.2 * 0.01))


def test_before_its_first_step_adam_has_no_curvature_of_its_own(tmp_path):
    run = Run(move=lambda parameters: optim.Adam(parameters, lr=0.01))
    log = run.record(tmp_path / "run", 2, looks=["curvature"])
    assert np.isnan(log.series("preconditioned_top_eigenvalue").values[:, 0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("every", "look_every", "steps"),
    [(1, 4, [0, 4, 8]), (3, 2, [0, 3, 6, 9]), (3, 4, [0, 6]), (5, 100, [0])],
)
def test_a_look_beside_the_rest_is_taken_at_recorded_steps_alone(tmp_path, every, look_every, steps):
    run = Run()
    with diag.Recorder(tmp_path / "run", every=every) as recorder:
        recorder.watch(run.model, run.optimizer, criterion=CRITERION)
        run.look(recorder, "representation", every=look_every)
        run.train(10)
    log = diag.Log(tmp_path / "run")
    losses = log.series("probe_loss")
    assert losses.steps.tolist() == list(range(0, 10, every))
    assert losses.steps[np.isfinite(losses.values[:, 0])].tolist() == steps
    assert np.isfinite(log.series("criterion_loss").values).all()


def test_the_readings_of_a_named_pair_carry_its_name(tmp_path):
    run = Run()
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(run.model, run.optimizer, criterion=CRITERION, name="critic")
        run.look(recorder, *LOOKS, name="critic")
        run.train(2)
    log = diag.Log(tmp_path / "run")
    assert {"critic.probe_loss", "critic.gradient_noise_scale"} <= set(log.names["network"])
    assert "critic.top_eigenvalues" in log.names["curvature"]
    assert "critic.0" in log.series("activation_effective_rank").columns


class TestBadInput:
    @pytest.fixture
    def recorder(self, tmp_path):
        run = Run()
        with diag.Recorder(tmp_path / "run") as recorder:
            recorder.watch(run.model, run.optimizer)
            yield recorder

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (
                lambda r: r.representation(3),
                TypeError,
                "representation needs a closure that returns the loss",
            ),
            (lambda r: r.representation(len, every=0), ValueError, "representation needs every >= 1, got 0"),
            (
                lambda r: r.representation(len, name="x"),
                ValueError,
                r"representation needs the name of a watched pair, got 'x' while \[''\]",
            ),
            (lambda r: r.noise([len, 3], examples=4), TypeError, "noise needs a closure .* got int"),
            (lambda r: r.noise([len], examples=4), ValueError, "two closures at least, got 1; cut the batch"),
            (lambda r: r.noise([len, len], examples=0), ValueError, "noise needs examples >= 1, got 0"),
        ],
    )
    def test_it_is_refused_at_once(self, recorder, call, error, message):
        with pytest.raises(error, match=message):
            call(recorder)

    def test_a_closed_recorder_takes_no_looks(self, recorder):
        recorder.close()
        with pytest.raises(RuntimeError, match="noise needs an open recorder"):
            recorder.noise([len, len], examples=4)


def test_what_is_passed_by_name_is_looked_at_as_far_as_it_is_heard(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(6, 8, rng=0), nn.Linear(8, 3, rng=1)

        def forward(self, x):
            return self.head(x=self.body(x))

    model = Net()
    readings = Run(model).readings(tmp_path / "run", "representation")
    assert ("activation_effective_rank", "head") in readings
    assert "class_count_ratio" in readings
    assert "within_class_variability" not in readings
