"""The call: what is chosen, how it is told, what it refuses, and that the model is left as it was."""

import copy
import json
from typing import Any

import numpy as np
import pytest

import diag
import scratchnet as sn
from diag.diagnosis import Evidence
from diag.verify import EXPERIMENTS

SHORT = 5


def diagnosis_of(*rules):
    evidence = Evidence("criterion_loss", 1.0, "below 1", 5, None, "It is 1.")
    findings = [diag.Finding(rule, "fault", None, 0, evidence, "", "", 0.9) for rule in rules]
    return diag.Diagnosis("fault", tuple(findings), {})


class TestWhatIsChosen:
    def test_everything_that_applies_without_a_diagnosis(self, framework):
        model = framework.mlp()
        optimizer = framework.optim.SGD(model.parameters(), lr=0.1)
        checks = diag.verify(
            model, framework.nn.CrossEntropyLoss(), *framework.batch, optimizer=optimizer, steps=SHORT
        )
        assert {check.experiment for check in checks} == set(EXPERIMENTS)
        assert all(check.rules and check.source for check in checks)

    def test_what_bears_on_the_findings_with_one(self, framework):
        model = framework.mlp()
        optimizer = framework.optim.SGD(model.parameters(), lr=0.1)
        checks = diag.verify(
            model,
            framework.nn.CrossEntropyLoss(),
            *framework.batch,
            optimizer=optimizer,
            diagnosis=diagnosis_of("learning_rate_too_high", "input_ignored"),
        )
        assert [(check.experiment, check.rules) for check in checks] == [
            ("zeroed_input", ("input_ignored",)),
            ("line_probe", ("learning_rate_too_high",)),
        ]

    def test_nothing_where_no_experiment_bears_on_them(self, framework):
        diagnosis = diagnosis_of("ranks_out_of_sync")
        checks = diag.verify(
            framework.mlp(), framework.nn.CrossEntropyLoss(), *framework.batch, diagnosis=diagnosis
        )
        assert checks == ()

    def test_what_is_asked_for_in_any_case(self, framework):
        checks = diag.verify(
            framework.mlp(),
            framework.nn.CrossEntropyLoss(),
            *framework.batch,
            diagnosis=diagnosis_of("input_ignored"),
            experiments=["gradient_check"],
        )
        assert [(check.experiment, check.rules) for check in checks] == [("gradient_check", ())]

    @pytest.mark.filterwarnings("ignore:backward needs a finite loss")
    def test_a_real_diagnosis_is_put_to_the_test(self, training, record):
        def raise_rate(subject):
            subject.optimizer.param_groups[0]["lr"] = 20.0

        subject = training(lr=0.05)
        log = record(subject, 120, {60: raise_rate}, every=1)
        diagnosis = diag.diagnose(log)
        assert "learning_rate_too_high" in {finding.rule for finding in diagnosis.findings}
        healthy = training(lr=20.0)
        rows = slice(64)
        checks = diag.verify(
            healthy.model,
            healthy.criterion,
            healthy.data.x_train[rows],
            healthy.data.y_train[rows],
            optimizer=healthy.optimizer,
            diagnosis=diagnosis,
            steps=SHORT,
        )
        verdicts = {rule: check.verdict for check in checks for rule in check.rules}
        assert verdicts["learning_rate_too_high"] == "confirmed"


class TestHowItIsTold:
    @pytest.fixture
    def checks(self):
        model = sn.nn.Linear(6, 3, rng=0)
        x, y = np.ones((4, 6), np.float32), np.arange(4) % 3
        return diag.verify(model, sn.nn.CrossEntropyLoss(), x, y, experiments=["mode_flip", "zeroed_input"])

    def test_one_paragraph_a_check(self, checks):
        text = str(checks)
        assert text.startswith("[zeroed_input] ")
        assert "\n[mode_flip] refuted: The network is worse in evaluation mode" in text
        assert "It bears on: train_eval_mode, overfitting" in text

    def test_as_data(self, checks):
        plain = json.loads(json.dumps(checks.to_json(), allow_nan=False))
        assert [check["experiment"] for check in plain] == ["zeroed_input", "mode_flip"]
        assert plain[1]["numbers"]["training_loss_spread"] == 0
        assert plain[0].keys() == {
            "experiment", "claim", "verdict", "numbers", "text", "meaning", "rules", "source",
        }  # fmt: skip

    def test_a_number_that_is_none_is_null(self):
        check = diag.Check("zeroed_input", "", "undecided", {"loss": float("nan")}, "", "", (), "")
        assert check.to_json()["numbers"] == {"loss": None}


class TestTheModelAfterwards:
    """Bit for bit as before: all of it, in the middle of a training, and after an experiment that failed."""

    def in_training(self, framework):
        nn = framework.nn
        rng = {"rng": 5} if nn is sn.nn else {}
        first, tanh, last = framework.mlp()
        model = nn.Sequential(first, nn.BatchNorm1d(24), tanh, nn.Dropout(0.3, **rng), last)
        model[3].eval()
        optimizer = framework.optim.Adam(model.parameters(), lr=0.01)
        x, y = framework.batch
        for _ in range(3):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            optimizer.step()
        nn.CrossEntropyLoss()(model(x), y).backward()
        return model, optimizer

    def state(self, model, optimizer):
        tensors = {name: np.asarray(value).copy() for name, value in model.state_dict().items()}
        gradients = {f"{name}.grad": p.grad.numpy().copy() for name, p in model.named_parameters()}
        moments = {
            f"{key}.{name}": np.asarray(value).copy()
            for key, entry in optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }
        return tensors | gradients | moments | {"random": random_state(model)}

    @pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
    def test_nothing_has_changed(self, framework, fails):
        model, optimizer = self.in_training(framework)
        model.register_forward_hook(lambda *_: None)
        before = self.state(model, optimizer)
        identities = [id(p) for p in model.parameters()], [id(p.grad) for p in model.parameters()]
        modes = [module.training for module in model.modules()]
        hooks = [len(module._forward_hooks) for module in model.modules()]
        calls = iter(range(10**6))

        def criterion(output, y):
            if fails and next(calls) == 30:
                raise RuntimeError("out of memory")
            return framework.nn.CrossEntropyLoss()(output, y)

        if fails:
            with pytest.raises(RuntimeError, match="out of memory"):
                diag.verify(model, criterion, *framework.batch, optimizer=optimizer, steps=SHORT)
        else:
            diag.verify(model, criterion, *framework.batch, optimizer=optimizer, steps=SHORT)
        after = self.state(model, optimizer)
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert np.asarray(value).tobytes() == np.asarray(after[name]).tobytes(), name
        assert identities == ([id(p) for p in model.parameters()], [id(p.grad) for p in model.parameters()])
        assert modes == [module.training for module in model.modules()]
        assert hooks == [len(module._forward_hooks) for module in model.modules()]

    def test_training_goes_on_as_if_nothing_had_been(self, framework):
        def losses(is_verified):
            if framework.nn is not sn.nn:
                pytest.importorskip("torch").manual_seed(3)
            model, optimizer = self.in_training(framework)
            model.train()
            criterion = framework.nn.CrossEntropyLoss()
            x, y = framework.batch
            if is_verified:
                diag.verify(model, criterion, x, y, optimizer=optimizer, steps=SHORT)
            found = []
            for _ in range(4):
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
            return found

        assert losses(is_verified=True) == losses(is_verified=False)

    def test_a_recorder_that_watches_hears_nothing(self, framework, tmp_path):
        def recorded(folder, is_verified):
            model = copy.deepcopy(subject)
            optimizer = framework.optim.SGD(model.parameters(), lr=0.1)
            criterion = framework.nn.CrossEntropyLoss()
            x, y = framework.batch
            with diag.Recorder(folder, every=1) as recorder:
                recorder.watch(model, optimizer, criterion=criterion)
                for _ in range(4):
                    if is_verified:
                        diag.verify(model, criterion, x, y, optimizer=optimizer, steps=SHORT)
                    loss = criterion(model(x), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            return diag.Log(folder)

        subject = framework.mlp()
        alone, beside = recorded(tmp_path / "alone", False), recorded(tmp_path / "beside", True)
        assert alone.steps.tolist() == beside.steps.tolist()
        for axis, names in alone.names.items():
            for name in names:
                if name not in ("wall_time", "recording_seconds"):
                    wanted, found = (log.series(name, of=axis).values for log in (alone, beside))
                    np.testing.assert_array_equal(found, wanted, err_msg=name)


def random_state(model):
    if isinstance(model, sn.nn.Sequential):
        dropout: Any = model[3]
        return json.dumps(dropout._generator.bit_generator.state, default=str)
    return pytest.importorskip("torch").get_rng_state().numpy()


class TestWhatItRefuses:
    def test_a_model_of_another_kind(self):
        with pytest.raises(
            TypeError, match=r"verify needs a model of scratchnet or torch, got builtins\.dict"
        ):
            diag.verify({}, max, [1, 2], [1, 2])

    def test_a_criterion_that_cannot_be_called(self):
        with pytest.raises(TypeError, match="verify needs a criterion that computes the loss"):
            diag.verify(sn.nn.Linear(2, 2), 3, np.ones((2, 2)), np.ones(2))

    def test_an_optimiser_of_another_framework(self):
        torch = pytest.importorskip("torch")
        optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)
        with pytest.raises(
            TypeError, match="verify needs an optimizer of scratchnet, as the model is, got torch"
        ):
            diag.verify(
                sn.nn.Linear(2, 2), sn.nn.MSELoss(), np.ones((2, 2)), np.ones((2, 2)), optimizer=optimizer
            )

    def test_a_model_of_which_nothing_is_trained(self, framework):
        model = framework.mlp()
        other = framework.optim.SGD(framework.mlp().parameters(), lr=0.1)
        with pytest.raises(
            ValueError, match="got none that requires a gradient and is among the optimizer's"
        ):
            diag.verify(model, framework.nn.CrossEntropyLoss(), *framework.batch, optimizer=other)
        for parameter in model.parameters():
            parameter.requires_grad = False
        with pytest.raises(ValueError, match="verify needs a parameter that is trained"):
            diag.verify(model, framework.nn.CrossEntropyLoss(), *framework.batch)

    def test_a_single_example(self, framework):
        x, y = framework.batch
        with pytest.raises(
            ValueError, match="verify needs 2 examples or more and steps >= 1, got 1 examples"
        ):
            diag.verify(framework.mlp(), framework.nn.CrossEntropyLoss(), x[:1], y[:1])

    def test_a_loss_of_several_numbers(self, framework):
        criterion = framework.nn.CrossEntropyLoss(reduction="none")
        with pytest.raises(ValueError, match=r"a criterion that returns one number, got shape \(48,\)"):
            diag.verify(framework.mlp(), criterion, *framework.batch)

    def test_a_loss_that_is_lost_already(self, framework):
        model = framework.mlp()
        framework.fill(model[2].bias, float("nan"))
        with pytest.raises(ValueError, match="verify needs a finite loss to start from, got nan"):
            diag.verify(model, framework.nn.CrossEntropyLoss(), *framework.batch)

    @pytest.mark.parametrize("experiments", [["overfit"], "mode_flip"])
    def test_an_experiment_that_there_is_not(self, framework, experiments):
        with pytest.raises(
            ValueError, match="verify needs a list of experiments among zeroed_input, mode_flip"
        ):
            diag.verify(
                framework.mlp(), framework.nn.CrossEntropyLoss(), *framework.batch, experiments=experiments
            )
