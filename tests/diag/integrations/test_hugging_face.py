"""The callback for Hugging Face, in the real Trainer: what it makes of trainings and logged numbers."""

from typing import Any

import numpy as np
import pytest

import diag

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import (  # noqa: E402  they may be missing
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from diag.integrations.hugging_face import DiagCallback  # noqa: E402
from diag.log import LogWriter  # noqa: E402


def classifier(**settings):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=2,
        **settings,
    )
    return BertForSequenceClassification(config)


def sentences(count=32):
    words = torch.randint(0, 20, (count, 6), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": (row[0] > 9).long()} for row in words]


def trained(folder, *callbacks, model=None, data=None, resume=None, **settings):
    quiet = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 16,
        "num_train_epochs": 2,
        "logging_steps": 3,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 1,
        # Pinned memory is for a GPU; without one torch warns of it.
        "dataloader_pin_memory": False,
    }
    arguments = TrainingArguments(output_dir=str(folder / "out"), **{**quiet, **settings})
    trainer = Trainer(
        model or classifier(),
        arguments,
        train_dataset=data or sentences(),
        eval_dataset=sentences(16),
        compute_metrics=lambda prediction: {"mean": float(prediction.predictions.mean())},
        callbacks=list(callbacks),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_training_is_bit_identical_with_and_without_the_callback(tmp_path):
    alone = trained(tmp_path).model
    watched = trained(tmp_path, DiagCallback(tmp_path / "run", every=2)).model
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())


def test_layers_parameters_and_each_step_of_the_optimiser_are_recorded(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1, config={"note": 7})
    trained(tmp_path, callback)
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == list(range(16))
    assert "classifier.weight" in log.series("update_ratio").columns
    assert "bert.encoder.layer.0.intermediate.dense" in log.series("activation_rms").columns
    assert [optimizer.kind for optimizer in log.model.optimizers] == ["AdamW"]
    assert np.allclose(log.series("learning_rate", of="network").values[0], 5e-5)
    assert (log.run["config"]["per_device_train_batch_size"], log.run["config"]["note"]) == (4, 7)
    assert log.run["config"]["first_global_step"] == 0
    assert log.end_reason == "finished"
    assert callback.recorder is None
    # Attention in one fused step passes its dropout module by, and the log says so.
    told = [(happening.kind, happening.subject) for happening in log.happenings]
    assert told == [("unseen", "bert.encoder.layer.0.attention.self.dropout")]


def test_what_the_trainer_logs_arrives_under_its_name_at_the_step_that_ended_last(tmp_path):
    trainer = trained(tmp_path, DiagCallback(tmp_path / "run"))
    log = diag.Log(tmp_path / "run")
    history = {
        name: [row for row in trainer.state.log_history if name in row] for name in ("loss", "eval_mean")
    }
    for name, rows in history.items():
        series = log.series(name, of="scalars")
        assert series.steps.tolist() == [row["step"] - 1 for row in rows]
        assert np.allclose(series.values[:, 0], [row[name] for row in rows])
    assert log.series("eval_loss").steps.tolist() == [7, 15]
    assert "learning_rate" not in log.names["scalars"]


def test_the_gradient_that_the_trainer_clips_is_seen_before_and_after(tmp_path):
    trained(tmp_path, DiagCallback(tmp_path / "run", every=1), max_grad_norm=0.01, logging_steps=1)
    log = diag.Log(tmp_path / "run")
    assert np.allclose(log.series("gradient_norm", of="network").values, 0.01, rtol=1e-3)
    before = log.series("gradient_norm_before_clipping").values[:, 0]
    assert np.allclose(before, log.series("grad_norm").values[:, 0], rtol=1e-4)


def test_accumulation_does_not_change_what_a_step_is(tmp_path):
    trained(tmp_path, DiagCallback(tmp_path / "run", every=1), gradient_accumulation_steps=4)
    log = diag.Log(tmp_path / "run")
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert log.series("eval_loss").steps.tolist() == [1, 3]


def test_an_evaluation_in_the_midst_of_training_changes_no_reading(tmp_path):
    # With dropout it would: the evaluation's loader draws a random number.
    cases: dict[str, dict[str, Any]] = {
        "often": {"eval_strategy": "steps", "eval_steps": 1},
        "never": {"eval_strategy": "no"},
    }
    for name, settings in cases.items():
        model = classifier(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        trained(tmp_path, DiagCallback(tmp_path / name, every=1), model=model, **settings)
    often, never = (diag.Log(tmp_path / name).series("activation_rms") for name in ("often", "never"))
    assert np.array_equal(often.values, never.values, equal_nan=True)


def test_an_exception_ends_the_run_with_its_reason_in_a_with_block(tmp_path):
    class Clumsy(TrainerCallback):
        def on_step_begin(self, args, state, control, **objects):
            if state.global_step == 3:
                raise RuntimeError("out of coffee")

    with pytest.raises(RuntimeError, match="out of coffee"):
        with DiagCallback(tmp_path / "run", every=1) as callback:
            trained(tmp_path, callback, Clumsy())
    log = diag.Log(tmp_path / "run")
    assert log.end_reason == "RuntimeError: out of coffee"
    assert log.steps.tolist() == [0, 1, 2]


def test_without_the_block_the_next_training_closes_what_an_exception_left_open(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1)
    model = classifier()
    with pytest.raises(KeyError):
        trained(tmp_path, callback, model=model, data=[*sentences(4), *[{"no": 1}] * 8])
    trained(tmp_path, callback, model=model)
    assert diag.Log(tmp_path / "run").end_reason == "left open when the next training began"
    assert diag.Log(tmp_path / "run-2").steps.tolist() == list(range(16))


def test_a_resumed_training_is_a_run_of_its_own_and_says_where_it_began(tmp_path):
    callback = DiagCallback(tmp_path / "run", every=1)
    trained(tmp_path, callback, save_strategy="epoch", num_train_epochs=1)
    trained(tmp_path, callback, resume=str(tmp_path / "out" / "checkpoint-8"))
    assert callback.folder == tmp_path / "run-2"
    log = diag.Log(tmp_path / "run-2")
    assert log.run["config"]["first_global_step"] == 8
    assert log.steps.tolist() == list(range(8))


def test_a_folder_that_holds_a_log_is_refused_before_the_first_step(tmp_path):
    diag.Recorder(tmp_path / "run").close()
    with pytest.raises(FileExistsError):
        trained(tmp_path, DiagCallback(tmp_path / "run"))


def test_a_recorder_that_fails_stops_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(LogWriter, "write", fail)
    monkeypatch.setattr(LogWriter, "write_scalars", fail)
    with pytest.warns(diag.DiagWarning, match="disk full"):
        watched = trained(tmp_path, DiagCallback(tmp_path / "run", every=1)).model
    assert torch.equal(watched.classifier.weight, trained(tmp_path).model.classifier.weight)
