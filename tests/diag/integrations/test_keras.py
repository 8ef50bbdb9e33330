"""The callback for Keras on torch, in the real `fit`: what it makes of layers, optimisers and logged numbers."""

import os

import numpy as np
import pytest

import diag

torch = pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

import keras  # noqa: E402  it may be missing
from keras import layers  # noqa: E402

from diag.integrations.keras import DiagCallback  # noqa: E402  Keras may be missing
from diag.log import LogWriter  # noqa: E402

# Keras's own reading of a variable as an array, in its progress bar and in its metrics.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :3].argmax(1)


def mlp():
    return keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.1, seed=0, name="dropout"),
            layers.Activation("tanh", name="half"),
            layers.Dense(3, name="last"),
        ]
    )


def compiled(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def fitted(*callbacks, make=mlp, optimizer=None, **settings):
    keras.utils.set_random_seed(0)
    model = compiled(make(), optimizer or keras.optimizers.Adam(0.01))
    model.fit(X, Y, **{"batch_size": 8, "epochs": 2, "verbose": 0, **settings}, callbacks=list(callbacks))
    return model


def state_of(model):
    return [variable.value for variable in (*model.weights, *model.optimizer.variables)]


def same(one, other):
    return all(map(torch.equal, state_of(one), state_of(other)))


OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "AdamW, clipped": lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.01),
    "Adam, accumulating": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "Adam, scheduled": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "SGD, scaled loss": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_bit_identical_with_and_without_the_callback(tmp_path, optimizer):
    alone = fitted(optimizer=OPTIMIZERS[optimizer](), validation_split=0.2)
    watched = fitted(
        DiagCallback(tmp_path / "run", every=2), optimizer=OPTIMIZERS[optimizer](), validation_split=0.2
    )
    assert same(alone, watched)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in (watched, *watched.layers))
    assert "compute_loss" not in vars(watched)
    assert not {"apply", "_clip_gradients"} & vars(watched.optimizer).keys()


def test_layers_parameters_and_each_step_of_the_optimiser_are_recorded(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1, config={"note": 7})
    fitted(callback, validation_split=0.2)
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == list(range(8))
    kinds = {layer.name: layer.kind for layer in log.model.layers}
    assert list(kinds.items())[:2] == [("hidden", "Dense"), ("hidden.activation", "ReLU")]
    assert (kinds["norm"], kinds["half"]) == ("BatchNormalization", "Tanh")
    assert log.series("update_ratio").columns[:2] == ("hidden.kernel", "hidden.bias")
    assert np.isfinite(log.series("dead_unit_rate").column("hidden.activation")).all()
    assert np.isfinite(log.series("saturation_rate").column("half")).all()
    assert (log.run["config"]["optimizer"], log.run["config"]["note"]) == ("Adam", 7)
    assert log.end_reason == "finished"
    assert callback.recorder is None
    assert log.happenings == ()


def test_readings_are_those_of_the_arrays_themselves(tmp_path):
    """One step of gradient descent on one batch, computed here by torch alone."""
    keras.utils.set_random_seed(0)
    model = compiled(
        keras.Sequential([layers.Input((4,)), layers.Dense(3, name="only")]), keras.optimizers.SGD(0.1)
    )
    kernel = model.layers[0].kernel.value.detach().clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(torch.tensor(X) @ kernel, torch.tensor(Y))
    (gradient,) = torch.autograd.grad(loss, kernel)
    model.fit(X, Y, batch_size=40, verbose=0, callbacks=[DiagCallback(tmp_path / "run", every=1)])
    log = diag.Log(tmp_path / "run")
    wanted = {
        "gradient_norm": gradient.norm(),
        "update_norm": 0.1 * gradient.norm(),
        "weight_norm": kernel.norm(),
    }
    for name, value in wanted.items():
        read = log.series(name, of="parameters").column("only.kernel")[0]
        assert read == pytest.approx(value.item(), rel=1e-5)
    assert log.series("criterion_loss").values[0, 0] == pytest.approx(loss.item(), rel=1e-5)
    assert log.series("input_mean").values[0, 0] == pytest.approx(X.mean(), rel=1e-4)
    assert log.series("learning_rate", of="network").values[0, 0] == pytest.approx(0.1)


def test_what_keras_logs_arrives_under_its_name_at_the_step_that_ended_last(tmp_path):
    model = fitted(DiagCallback(tmp_path / "run"), validation_split=0.2)
    log = diag.Log(tmp_path / "run")
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        series = log.series(name, of="scalars")
        assert series.steps.tolist() == [3, 7]
        assert np.allclose(series.values[:, 0], model.history.history[name])


def test_an_evaluation_in_the_midst_of_training_changes_no_reading(tmp_path):
    # Unshuffled, for the evaluation draws from the generator that shuffles.
    fitted(DiagCallback(tmp_path / "with", every=1), validation_data=(100 * X, Y), shuffle=False)
    fitted(DiagCallback(tmp_path / "without", every=1), shuffle=False)
    for name in ("activation_rms", "criterion_loss", "input_std"):
        one, other = (diag.Log(tmp_path / run).series(name) for run in ("with", "without"))
        assert np.array_equal(one.values, other.values, equal_nan=True)


def test_the_gradient_is_the_one_that_the_weights_are_moved_by(tmp_path):
    fitted(DiagCallback(tmp_path / "run", every=1), optimizer=OPTIMIZERS["AdamW, clipped"]())
    norms = diag.Log(tmp_path / "run").series("gradient_norm", of="network").values
    assert np.allclose(norms, 0.01, rtol=1e-4)


CLIPPED = {
    "plain": {},
    "accumulating": {"gradient_accumulation_steps": 5},
}


@pytest.mark.parametrize("settings", CLIPPED.values(), ids=CLIPPED)
@pytest.mark.parametrize("is_scaled", [False, True], ids=["unscaled", "scaled loss"])
def test_the_norm_before_clipping_is_that_of_the_whole_unscaled_gradient(tmp_path, settings, is_scaled):
    def fitted_with(name, **more):
        optimizer = keras.optimizers.SGD(0.0, **settings, **more)
        if is_scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
        callback = DiagCallback(tmp_path / name, every=1)
        fitted(callback, optimizer=optimizer, make=linear, shuffle=False)
        return diag.Log(tmp_path / name)

    clipped, whole = fitted_with("clipped", global_clipnorm=0.01), fitted_with("whole")
    before = clipped.series("gradient_norm_before_clipping").values
    assert np.allclose(before, whole.series("gradient_norm", of="network").values, rtol=1e-5)
    assert np.allclose(clipped.series("gradient_norm", of="network").values, 0.01, rtol=1e-4)
    assert "gradient_norm_before_clipping" not in whole


def test_what_a_constraint_makes_of_the_weights_is_part_of_the_update(tmp_path):
    def bounded():
        norm = keras.constraints.UnitNorm()
        return keras.Sequential([layers.Input((4,)), layers.Dense(3, kernel_constraint=norm, name="last")])

    fitted(DiagCallback(tmp_path / "run", every=1), make=bounded, optimizer=keras.optimizers.SGD(0.0))
    log = diag.Log(tmp_path / "run")
    weight, update = (log.series(name).column("last.kernel") for name in ("weight_norm", "update_norm"))
    assert weight[1:] == pytest.approx(np.sqrt(3), rel=1e-6)
    assert update[0] > 0.1
    assert update[1:] == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_of_a_scaled_loss_is_unscaled(tmp_path):
    for name, optimizer in {"scaled": "SGD, scaled loss", "plain": "plain"}.items():
        maker = OPTIMIZERS.get(optimizer, lambda: keras.optimizers.SGD(0.1))
        fitted(DiagCallback(tmp_path / name, every=1), optimizer=maker())
    scaled, plain = (
        diag.Log(tmp_path / name).series("gradient_norm", of="network") for name in ("scaled", "plain")
    )
    assert np.allclose(scaled.values, plain.values, rtol=1e-3)


def test_accumulation_does_not_change_what_a_step_is(tmp_path):
    accumulating = keras.optimizers.SGD(0.0, gradient_accumulation_steps=5)
    fitted(DiagCallback(tmp_path / "run", every=1), optimizer=accumulating, make=linear, shuffle=False)
    fitted(
        DiagCallback(tmp_path / "whole", every=1),
        optimizer=keras.optimizers.SGD(0.0),
        make=linear,
        batch_size=40,
    )
    log, whole = diag.Log(tmp_path / "run"), diag.Log(tmp_path / "whole")
    assert log.steps.tolist() == [0, 1]
    # Of all five batches, which are the data.
    mean, at_once = (run.series("gradient_norm", of="network").values for run in (log, whole))
    assert np.allclose(mean, at_once, rtol=1e-5)


def linear():
    return keras.Sequential([layers.Input((4,)), layers.Dense(3)])


def test_a_schedule_is_followed(tmp_path):
    fitted(DiagCallback(tmp_path / "run", every=1), optimizer=OPTIMIZERS["Adam, scheduled"]())
    rates = diag.Log(tmp_path / "run").series("learning_rate", of="network").values[:, 0]
    assert np.allclose(rates, 0.1 * 0.5 ** (np.arange(10) / 2))


class Block(layers.Layer):
    """A layer of somebody's own, made of others, with a parameter that is its own."""

    def build(self, shape):
        self.first = layers.Dense(4, name="twin")
        self.second = layers.Dense(4, name="twin")
        self.scale = self.add_weight(shape=(1,), name="scale", initializer="ones")

    def call(self, value):
        return self.scale * self.second(self.first(value))


def functional():
    entrance = layers.Input((4,))
    sequence = layers.Reshape((2, 2))(entrance)
    attended = layers.MultiHeadAttention(1, 2, name="attention")(sequence, sequence)
    recurrent = layers.LSTM(3, name="recurrent")(attended)
    block = Block(name="block")(entrance)
    return keras.Model(entrance, layers.Dense(3, name="last")(layers.Concatenate()([recurrent, block])))


def test_parts_of_layers_are_recorded_under_the_layers_name(tmp_path):
    alone = fitted(make=functional)
    assert same(alone, fitted(DiagCallback(tmp_path / "run", every=1), make=functional))
    log = diag.Log(tmp_path / "run")
    named = {parameter.name for parameter in log.model.parameters}
    assert {"attention.query.kernel", "recurrent.recurrent_kernel", "block.scale", "last.bias"} <= named
    assert {"block.twin.kernel", "block.twin_1.kernel"} <= named
    heard = set(log.series("activation_rms").columns)
    assert {"attention.attention_output", "recurrent", "block", "block.twin_1"} <= heard
    assert np.isfinite(log.series("update_norm").values).all()
    assert [h.subject for h in log.happenings if h.kind != "unseen"] == []


def test_a_model_that_owns_parameters_is_a_layer_itself(tmp_path):
    class Own(keras.Model):
        def build(self, shape):
            self.inner = layers.Dense(3, name="inner")
            self.shift = self.add_weight(shape=(3,), name="shift", initializer="ones")
            self.built = True

        def call(self, value):
            return self.inner(value) + self.shift

    fitted(DiagCallback(tmp_path / "run", every=1), make=lambda: Own(name="own"))
    log = diag.Log(tmp_path / "run")
    assert {parameter.name for parameter in log.model.parameters} == {
        "own.shift", "own.inner.kernel", "own.inner.bias",
    }  # fmt: skip
    means = log.series("activation_mean")
    assert not np.array_equal(means.column("own"), means.column("own.inner"))


def test_an_exception_ends_the_run_with_its_reason_in_a_with_block(tmp_path):
    class Clumsy(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                raise RuntimeError("out of coffee")

    with pytest.raises(RuntimeError, match="out of coffee"):
        with DiagCallback(tmp_path / "run", every=1) as callback:
            fitted(callback, Clumsy())
    log = diag.Log(tmp_path / "run")
    assert log.end_reason == "RuntimeError: out of coffee"
    assert log.steps.tolist() == [0, 1, 2]
    assert not callback.model._forward_pre_hooks


def test_a_second_fit_is_a_run_of_its_own(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1)
    model = fitted(callback)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callback])
    assert callback.folder == tmp_path / "run-2"
    assert [len(diag.Log(tmp_path / name).steps) for name in ("run", "run-2")] == [10, 5]


def test_a_model_can_be_saved_in_the_midst_of_training(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model = fitted(DiagCallback(tmp_path / "run", every=1), checkpoint)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert torch.equal(loaded.get_layer("last").kernel.value, model.get_layer("last").kernel.value)


def test_a_folder_that_holds_a_log_is_refused_before_the_first_step(tmp_path):
    diag.Recorder(tmp_path / "run").close()
    with pytest.raises(FileExistsError):
        fitted(DiagCallback(tmp_path / "run"))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # in torch's own compiler
def test_a_compiled_step_is_refused_before_the_first(tmp_path):
    model = compiled(mlp(), "sgd")
    model.jit_compile = True
    with pytest.raises(ValueError, match="needs a model that is not compiled by torch.*jit_compile=False"):
        model.fit(X, Y, verbose=0, callbacks=[DiagCallback(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_model_without_an_optimizer_is_refused(tmp_path):
    class Own(keras.Sequential):
        def train_step(self, data):
            return {}

    model = Own([layers.Input((4,)), layers.Dense(3)])
    model.compile(optimizer=None)
    with pytest.raises(ValueError, match="needs a model with an optimizer of Keras, got NoneType"):
        model.fit(X, Y, verbose=0, callbacks=[DiagCallback(tmp_path / "run")])


def test_another_backend_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="needs Keras on the torch backend, got 'jax'; set KERAS_BACKEND"):
        DiagCallback(tmp_path / "run")


def test_a_recorder_that_fails_stops_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(LogWriter, "write", fail)
    monkeypatch.setattr(LogWriter, "write_scalars", fail)
    with pytest.warns(diag.DiagWarning, match="disk full"):
        watched = fitted(DiagCallback(tmp_path / "run", every=1))
    assert same(watched, fitted())
