"""Loops in PyTorch in which a step is not one forward and one backward pass: what the log then says."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them

nn = torch.nn


def told(log, kind):
    return [(h.step, h.subject, h.message) for h in log.happenings if h.kind == kind]


def gradient_of_all(model, scale=1.0):
    loss = scale * nn.functional.cross_entropy(model(traps.X), traps.Y)
    return [g.norm().item() for g in torch.autograd.grad(loss, list(model.parameters()))]


def norm_of_all(model, scale=1.0):
    return np.linalg.norm(gradient_of_all(model, scale))


def first_gradients(log):
    return log.series("gradient_norm", of="parameters").values[0]


def test_a_step_of_several_backward_passes_is_one_step_with_the_gradient_of_all(log_of):
    log = log_of(traps.accumulation)
    assert log.steps.tolist() == [0, 1, 2]
    assert np.allclose(first_gradients(log), gradient_of_all(traps.mlp()), rtol=1e-12)
    ((step, _, message),) = told(log, "accumulation")
    assert step == 0
    assert message.startswith("4 backward passes went into this step")


def test_one_backward_pass_a_step_is_nothing_to_tell(log_of):
    assert log_of(traps.plain).happenings == ()


def test_the_gradient_is_the_clipped_one_and_its_norm_before_is_recorded_beside_it(log_of):
    log = log_of(traps.clipping)
    assert np.allclose(log.series("gradient_norm", of="network").values, 0.5, rtol=1e-5)
    before = log.series("gradient_norm_before_clipping").values[:, 0]
    assert before[0] == pytest.approx(norm_of_all(traps.mlp(), scale=100.0), rel=1e-12)
    models = []
    traps.clipping(lambda model, _: models.append(model), steps=1)
    assert before[1] == pytest.approx(norm_of_all(models[0], scale=100.0), rel=1e-12)
    assert before[2] > 0.5


def test_of_accumulated_gradients_the_norm_before_clipping_is_that_of_their_sum(log_of):
    log = log_of(traps.accumulated_and_clipped)
    before = log.series("gradient_norm_before_clipping").values[0, 0]
    assert before == pytest.approx(norm_of_all(traps.mlp()), rel=1e-12)


def test_gradients_that_are_clipped_inside_of_a_closure_are_seen_before_too(log_of):
    log = log_of(traps.clipped_in_closure)
    assert np.allclose(log.series("gradient_norm", of="network").values, 0.05, rtol=1e-5)
    before = log.series("gradient_norm_before_clipping").values[:, 0]
    assert before[0] == pytest.approx(norm_of_all(traps.mlp()), rel=1e-12)
    assert (before > 0.05).all()


def test_who_clips_only_now_and_then_is_followed_from_the_first_time_on(log_of):
    log = log_of(traps.clipped_at_times)
    before, after = (
        log.series(name, of="network").values[:, 0]
        for name in ("gradient_norm_before_clipping", "gradient_norm")
    )
    assert np.isnan(before[:2]).all()
    # At the first time of all nobody was waiting for it any more.
    assert after[1] == pytest.approx(0.05, rel=1e-5)
    assert before[2] == pytest.approx(after[2], rel=1e-12)
    assert before[3] > after[3]


def test_where_nothing_is_clipped_there_is_no_norm_before(log_of):
    assert "gradient_norm_before_clipping" not in log_of(traps.accumulation)


@pytest.mark.parametrize(
    "train", [traps.scaled_and_clipped, traps.scaled_fused_and_clipped], ids=["unfused", "fused"]
)
def test_the_norm_before_clipping_of_a_scaled_loss_is_the_unscaled_one(log_of, train):
    log = log_of(train)
    before = log.series("gradient_norm_before_clipping").values[:, 0]
    assert before[0] == pytest.approx(norm_of_all(traps.mlp()), rel=1e-5)
    assert (before > 0.05).all()
    assert np.allclose(log.series("gradient_norm", of="network").values, 0.05, rtol=1e-4)
    assert told(log, "unseen") == []


def test_a_rank_that_does_not_know_when_gradients_are_averaged_leaves_the_norm_before_out(
    log_of, monkeypatch
):
    two = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_world_size=lambda: 2)
    monkeypatch.setattr("diag.capture.torch.clipping.distributed", two)
    log = log_of(traps.clipping)
    assert "gradient_norm_before_clipping" not in log
    ((step, subject, message),) = told(log, "unseen")
    assert (step, subject) == (0, "gradient_norm_before_clipping")
    assert "by being averaged over the ranks" in message
    assert "watch the model in its DistributedDataParallel" in message


def test_where_nobody_knows_when_all_gradients_are_there_the_norm_before_clipping_is_left_out(log_of):
    log = log_of(traps.checkpointed_reentrant_and_clipped)
    assert "gradient_norm_before_clipping" not in log
    ((step, subject, message),) = told(log, "unseen")
    assert (step, subject) == (0, "gradient_norm_before_clipping")
    assert "a reentrant checkpoint runs a backward pass of its own; pass use_reentrant=False" in message


@pytest.mark.parametrize("train", [traps.scaled, traps.scaled_fused], ids=["unfused", "fused"])
def test_gradients_are_unscaled_where_the_loss_was_scaled(log_of, train):
    log = log_of(train)
    norms = log.series("gradient_norm", of="parameters").values
    finite = norms[np.isfinite(norms).all(axis=1)]
    assert np.allclose(finite[0], gradient_of_all(traps.mlp()), rtol=1e-4)


def test_steps_that_the_scaler_skips_are_counted_and_are_no_steps(log_of):
    log = log_of(traps.scaled)
    assert log.steps.tolist() == [0, 1, 2]
    assert told(log, "skipped_step") == [
        (0, "", "GradScaler skipped a step, number 1 of this run"),
        (2, "", "GradScaler skipped a step, number 2 of this run"),
    ]
    assert told(log, "accumulation") == []


def test_a_skipped_step_is_counted_where_no_step_is_recorded_too(log_of):
    assert len(told(log_of(traps.scaled, every=100), "skipped_step")) == 2


def test_a_step_skipped_at_the_very_end_is_counted_when_the_recorder_closes(log_of):
    assert len(told(log_of(lambda watch: traps.scaled(watch, overflows=(4,))), "skipped_step")) == 1


def test_a_fused_optimizer_that_skips_shows_an_update_of_zero(log_of):
    log = log_of(traps.scaled_fused)
    still = (log.series("update_norm").values == 0).all(axis=1)
    assert still.tolist() == [True, False, False, True, False]
    assert told(log, "skipped_step") == []


@pytest.mark.parametrize("train", [traps.sgd_closure, traps.lbfgs], ids=["SGD", "LBFGS"])
def test_with_a_closure_weights_are_those_before_and_gradients_those_of_the_step(log_of, train):
    log = log_of(train)
    model = traps.mlp()
    weights = [p.norm().item() for p in model.parameters()]
    assert np.allclose(log.series("weight_norm").values[0], weights, rtol=1e-12)
    assert np.isfinite(log.series("gradient_norm", of="parameters").values).all()
    assert (log.series("update_norm").values > 0).all()
    if train is traps.sgd_closure:
        assert np.allclose(first_gradients(log), gradient_of_all(model), rtol=1e-12)


def test_the_several_evaluations_of_a_closure_are_told(log_of):
    ((_, _, message),) = told(log_of(traps.lbfgs), "accumulation")
    assert message.startswith("3 backward passes")


def test_two_networks_that_train_each_other_are_both_recorded(log_of):
    log = log_of(traps.gan)
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert {layer.name for layer in log.model.layers} == {
        *(f"generator.{index}" for index in range(3)),
        *(f"critic.{index}" for index in range(3)),
    }
    assert {"generator.learning_rate", "critic.learning_rate"} <= set(log.names["network"])
    assert told(log, "skipped_step") == []


@pytest.mark.parametrize(("every", "names"), [(1, {"first", "second"}), (2, {"first"})])
def test_a_pass_that_lies_in_a_step_that_is_not_recorded_is_told_to_be_unseen(log_of, every, names):
    log = log_of(traps.moved_together, every=every)
    assert {name for name in ("first", "second") if f"{name}.gradient_norm_before_clipping" in log} == names
    unseen = [subject for _, subject, _ in told(log, "unseen")]
    assert unseen == [f"{name}.gradient_norm_before_clipping" for name in {"second"} - names]


def test_a_last_layer_that_takes_no_part_does_not_hide_the_norm_before_clipping(log_of):
    norms = log_of(traps.unused_and_clipped).series("gradient_norm_before_clipping").values[:, 0]
    assert (norms[1:] > 0.5).all()


def test_layers_that_take_turns_do_not_hide_it_either(log_of):
    log = log_of(traps.heads_in_turn)
    norms = log.series("gradient_norm_before_clipping")
    assert (norms.values[norms.steps >= 3, 0] > 0.5).all()
    assert "gradient_norm_before_clipping" not in {subject for _, subject, _ in told(log, "unseen")}


def test_each_group_has_its_learning_rate_and_the_schedule_shows(log_of):
    log = log_of(traps.groups)
    assert np.allclose(log.series("learning_rate").values[:, 0], [0.1, 0.05, 0.025, 0.0125])
    assert np.allclose(log.series("learning_rate_1").values[:, 0], [0.01, 0.005, 0.0025, 0.00125])


def test_a_group_that_comes_later_is_recorded_from_then_on(log_of):
    updates = log_of(traps.late_group).series("update_norm").column("0.weight")
    assert np.isnan(updates[:2]).all()
    assert (updates[2:] > 0).all()


def test_frozen_parameters_do_not_move_and_unused_layers_are_told(log_of):
    log = log_of(traps.frozen_and_unused)
    assert (log.series("update_norm").column("0.weight") == 0).all()
    assert np.isnan(log.series("gradient_norm", of="parameters").column("0.weight")).all()
    ((step, layer, message),) = told(log, "unseen")
    assert (step, layer) == (0, "unused")
    assert "did not run" in message


def test_an_evaluation_between_steps_is_not_recorded(log_of):
    with_evaluation = log_of(traps.evaluation_between)
    x = traps.X
    model = traps.mlp()
    with torch.no_grad():
        mean = model[0](x).mean().item()
    assert with_evaluation.series("activation_mean").column("0")[0] == pytest.approx(mean, rel=1e-12)
    assert with_evaluation.steps.tolist() == [0, 1, 2]


def test_a_copy_that_averages_the_weights_is_not_heard_when_it_runs(log_of, tmp_path):
    log = log_of(traps.averaged)
    assert log.steps.tolist() == [0, 1, 2]
    plain = traps.mlp()
    with torch.no_grad():
        mean = plain[0](traps.X).mean().item()
    assert log.series("activation_mean").column("0")[0] == pytest.approx(mean, rel=1e-12)
    assert log.happenings == ()


def test_a_gradient_that_is_part_of_the_loss_is_part_of_the_recorded_one(log_of):
    models = []
    traps.penalized(lambda model, _: models.append((model, [p.detach().clone() for p in model.parameters()])))
    ((model, weights),) = models
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    x = traps.X.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(x), traps.Y)
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    gradients = torch.autograd.grad(loss + slope.square().sum(), list(model.parameters()))
    assert np.allclose(
        first_gradients(log_of(traps.penalized)), [g.norm().item() for g in gradients], rtol=1e-12
    )


def test_the_layer_in_which_numbers_cease_to_be_finite_is_named_first(log_of):
    log = log_of(traps.not_finite)
    first, *_ = told(log, "non_finite")
    assert first[:2] == (2, "2")
    counts = log.series("activation_non_finite_count")
    assert (counts.column("1")[:3] == 0).all()
    assert (counts.column("2") > 0).tolist() == [False, False, True, True]


def test_freezing_a_layer_while_it_is_watched_leaves_listening_and_looks_alive(log_of):
    def train(watch):
        model = traps.mlp()
        optimizer = traps.sgd(model)
        watch(model, optimizer)
        for step in range(6):
            if step == 3:
                list(model.parameters())[-1].requires_grad_(False)
            optimizer.zero_grad()
            for _ in range(2 if step == 4 else 1):
                nn.functional.cross_entropy(model(traps.X), traps.Y).backward()
            optimizer.step()

    log = log_of(train, every=2)
    assert log.steps.tolist() == [0, 2, 4]
    ((step, _, _),) = told(log, "accumulation")
    assert step == 4
