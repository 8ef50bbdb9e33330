"""The callback for Lightning, in the real Trainer: what it makes of fits, optimisers and logged numbers."""

from typing import Any

import numpy as np
import pytest

import diag

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.pytorch import LightningModule, Trainer  # noqa: E402  they may be missing

from diag.integrations.lightning import DiagCallback  # noqa: E402
from diag.log import LogWriter  # noqa: E402

nn = torch.nn

pytestmark = [
    # Advice on speed, which tests of a second do not need.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # Lightning 2.6 asks torch's trees for their leaves in the way of older versions of torch.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]


class Classifier(LightningModule):
    """Two layers with dropout, and whatever a user logs."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.save_hyperparameters({"lr": 0.1})
        self.network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
        self.criterion = nn.CrossEntropyLoss()
        self.fails_at = fails_at

    def training_step(self, batch, position):
        if position == self.fails_at:
            raise RuntimeError("out of coffee")
        loss = self.criterion(self.network(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, position):
        output = self.network(batch[0])
        self.log_dict({"val_loss": self.criterion(output, batch[1]), "val_mean": output.mean()})

    def on_train_epoch_end(self):
        self.log("late", float(self.current_epoch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Adversaries(LightningModule):
    """A GAN: two optimisers in manual optimisation."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 6))
        self.discriminator = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))

    def training_step(self, batch, position):
        steps = zip(self.optimizers(), (1.0, 0.0), strict=True)
        for optimizer, wanted in steps:
            real = self.discriminator(batch[0]) if not wanted else 0.0
            made = self.discriminator(self.generator(torch.ones(len(batch[0]), 2)))
            loss = ((made - wanted) ** 2).mean() + (torch.as_tensor(real) ** 2).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters(), lr=1e-3),
            torch.optim.SGD(self.discriminator.parameters(), lr=1e-2),
        ]


class TwoFamilies(Adversaries):
    """One optimiser moves two children of the module, the other one."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 2)

    def training_step(self, batch, position):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            made = self.discriminator(self.generator(self.encoder(torch.ones(4, 2))))
            self.manual_backward((made**2).mean())
            optimizer.step()

    def configure_optimizers(self):
        first = [*self.encoder.parameters(), *self.generator.parameters()]
        return [torch.optim.SGD(first, lr=0.1), torch.optim.SGD(self.discriminator.parameters(), lr=0.1)]


def batches(count=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * count, 6, generator=generator)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :3].argmax(1)), batch_size=4)


def trainer(folder, *callbacks, **settings):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "log_every_n_steps": 3,
        "max_epochs": 2,
    }
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**quiet, **settings})


def fitted(folder, kind=Classifier, callback=None, **settings):
    torch.manual_seed(0)
    module = kind()
    validation = batches(2) if isinstance(module, Classifier) else None
    trainer(folder, *([callback] if callback else []), **settings).fit(module, batches(), validation)
    return module


TRAININGS: dict[str, tuple[type[LightningModule], dict[str, Any]]] = {
    "one optimiser": (Classifier, {}),
    "accumulating, clipped": (Classifier, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}),
    "bfloat16": (Classifier, {"precision": "bf16-mixed"}),
    "adversaries": (Adversaries, {}),
    "two families": (TwoFamilies, {}),
}


@pytest.mark.parametrize("training", TRAININGS)
def test_training_is_bit_identical_with_and_without_the_callback(tmp_path, training):
    kind, settings = TRAININGS[training]
    alone = fitted(tmp_path, kind, **settings)
    watched = fitted(tmp_path, kind, DiagCallback(tmp_path / "run", every=2), **settings)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())


def test_the_network_its_loss_and_the_steps_of_both_epochs_are_recorded(tmp_path):
    torch.manual_seed(0)
    module = Classifier()
    callback = DiagCallback(tmp_path / "run", criterion=module.criterion, every=1, config={"note": 7})
    trainer(tmp_path, callback).fit(module, batches(), batches(2))
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == list(range(16))
    assert np.isfinite(log.series("dead_unit_rate").column("1")).all()
    # Each forward pass of training is a step's; the criterion ran in validation too, unheard.
    assert len(log.series("criterion_loss").steps) == 16
    assert log.run["config"] == {"lr": 0.1, "first_global_step": 0, "note": 7}
    assert log.end_reason == "finished"
    assert callback.recorder is None


def test_what_is_logged_arrives_under_its_name_at_the_step_that_ended_last(tmp_path):
    heard = {}

    class Witness(Classifier):
        def on_train_batch_end(self, outputs, *_):
            heard[self.trainer.global_step - 1] = float(outputs["loss"])

    fitted(tmp_path, Witness, DiagCallback(tmp_path / "run"))
    log = diag.Log(tmp_path / "run")
    losses = log.series("train_loss_step", of="scalars")
    assert {2, 5, 8, 11, 14} <= set(losses.steps.tolist())
    assert np.allclose(losses.values[:, 0], [heard[step] for step in losses.steps.tolist()], rtol=1e-6)
    means = log.series("train_loss_epoch")
    assert means.steps.tolist() == [7, 15]
    assert means.values[1, 0] == pytest.approx(np.mean([heard[step] for step in range(8, 16)]), rel=1e-6)
    late = log.series("late")
    assert (late.steps.tolist(), late.values[:, 0].tolist()) == ([7, 15], [0.0, 1.0])


def test_a_validation_in_the_midst_of_training_changes_no_reading(tmp_path):
    class Plain(Classifier):
        def __init__(self):
            super().__init__()
            # The loader of the validation draws a random number.
            self.network[2] = nn.Identity()

    for name, batches in {"with": 1.0, "without": 0}.items():
        fitted(
            tmp_path,
            Plain,
            DiagCallback(tmp_path / name, every=1),
            limit_val_batches=batches,
            val_check_interval=3,
        )
    one, other = (diag.Log(tmp_path / name).series("activation_rms") for name in ("with", "without"))
    assert np.array_equal(one.values, other.values)


def test_numbers_of_the_validation_arrive(tmp_path):
    module = fitted(tmp_path, callback=DiagCallback(tmp_path / "run", every=1))
    log = diag.Log(tmp_path / "run")
    assert log.series("val_loss").steps.tolist() == [7, 15]
    module.eval()
    with torch.no_grad():
        outputs = module.network(batches(2).dataset.tensors[0])
    assert log.series("val_mean").values[-1, 0] == pytest.approx(outputs.mean().item(), rel=1e-5)
    assert [h for h in log.happenings if h.kind == "failure"] == []


def test_several_optimisers_are_watched_under_the_names_of_what_they_move(tmp_path):
    fitted(tmp_path, Adversaries, DiagCallback(tmp_path / "run", every=1))
    log = diag.Log(tmp_path / "run")
    assert [optimizer.name for optimizer in log.model.optimizers] == ["generator", "discriminator"]
    assert [optimizer.kind for optimizer in log.model.optimizers] == ["Adam", "SGD"]
    assert {"generator.0.weight", "discriminator.2.bias"} <= set(log.series("update_ratio").columns)
    assert log.steps.tolist() == list(range(16))


def test_children_that_one_optimiser_moves_together_are_watched_as_one(tmp_path):
    fitted(tmp_path, TwoFamilies, DiagCallback(tmp_path / "run", every=1))
    log = diag.Log(tmp_path / "run")
    assert [optimizer.name for optimizer in log.model.optimizers] == ["optimizer_0", "discriminator"]
    columns = log.series("update_norm").columns
    assert {"optimizer_0.encoder.weight", "optimizer_0.generator.0.weight", "discriminator.0.bias"} <= set(
        columns
    )
    assert "optimizer_0.generator.1" in log.series("dead_unit_rate").columns


def test_an_optimiser_of_the_same_parameters_is_left_out_with_a_warning(tmp_path):
    class Twice(Adversaries):
        def configure_optimizers(self):
            generator = self.generator.parameters
            return [torch.optim.SGD(generator(), lr=0.1), torch.optim.SGD(generator(), lr=0.2)]

    with pytest.warns(diag.DiagWarning, match="optimiser 1 .SGD. is not recorded: no part of Twice is moved"):
        fitted(tmp_path, Twice, DiagCallback(tmp_path / "run", every=1))
    assert [optimizer.name for optimizer in diag.Log(tmp_path / "run").model.optimizers] == ["generator"]


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.filterwarnings("ignore:diag. optimiser 0 ._MockOptimizer. is not recorded")  # Lightning's own
def test_a_module_without_optimisers_trains_unrecorded_with_a_warning(tmp_path):
    class Idle(Classifier):
        def configure_optimizers(self):
            return None

    with pytest.warns(diag.DiagWarning, match="nothing is recorded: no optimiser of Idle"):
        fitted(tmp_path, Idle, DiagCallback(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_accumulation_does_not_change_what_a_step_is(tmp_path):
    fitted(tmp_path, callback=DiagCallback(tmp_path / "run", every=1), accumulate_grad_batches=4)
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert log.series("val_loss").steps.tolist() == [1, 3]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_what_the_trainer_clips_is_seen_before_and_after(tmp_path, accumulated, precision):
    norms = []

    class Witness(Classifier):
        def on_before_optimizer_step(self, optimizer):
            norms.append(nn.utils.get_total_norm([p.grad for p in self.parameters()]).item())

    fitted(
        tmp_path,
        Witness,
        DiagCallback(tmp_path / "run", every=1),
        gradient_clip_val=0.01,
        accumulate_grad_batches=accumulated,
        precision=precision,
    )
    log = diag.Log(tmp_path / "run")
    assert np.allclose(log.series("gradient_norm", of="network").values, 0.01, rtol=1e-3)
    assert np.allclose(log.series("gradient_norm_before_clipping").values[:, 0], norms, rtol=1e-5)


def test_an_exception_ends_the_run_with_its_reason(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1)
    with pytest.raises(RuntimeError, match="out of coffee"):
        trainer(tmp_path, callback).fit(Classifier(fails_at=3), batches(), batches(2))
    log = diag.Log(tmp_path / "run")
    assert log.end_reason == "RuntimeError: out of coffee"
    assert log.steps.tolist() == [0, 1, 2]


def test_a_second_fit_is_a_run_of_its_own(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1)
    module, training = Classifier(), trainer(tmp_path, callback, max_epochs=1)
    training.fit(module, batches(), batches(2))
    training.fit_loop.max_epochs = 2
    training.fit(module, batches(), batches(2))
    assert callback.folder == tmp_path / "run-2"
    first, second = diag.Log(tmp_path / "run"), diag.Log(tmp_path / "run-2")
    assert (len(first.steps), len(second.steps)) == (8, 8)
    assert second.run["config"]["first_global_step"] == 8
    # Nothing that the first fit logged.
    assert second.series("val_loss").steps.tolist() == [7]


def test_a_folder_that_holds_a_log_is_refused_before_the_first_step(tmp_path):
    diag.Recorder(tmp_path / "run").close()
    module = Classifier()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(FileExistsError):
        trainer(tmp_path, DiagCallback(tmp_path / "run")).fit(module, batches(), batches(2))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_recorder_that_fails_stops_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(LogWriter, "write", fail)
    monkeypatch.setattr(LogWriter, "write_scalars", fail)
    with pytest.warns(diag.DiagWarning, match="disk full"):
        watched = fitted(tmp_path, callback=DiagCallback(tmp_path / "run", every=1))
    assert torch.equal(watched.network[0].weight, fitted(tmp_path).network[0].weight)
