"""Faults of a PyTorch loop: modes that are forgotten, and mixed precision that goes on skipping steps."""

import pytest

import diag

torch = pytest.importorskip("torch")
nn = torch.nn

X = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def diagnosed(folder, *, before_step=lambda step, model: None, validates_in=None, scaler=None, overflows=()):
    model, criterion = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    with diag.Recorder(folder, every=1) as recorder:
        recorder.watch(model, optimizer, criterion=criterion)
        for step in range(80):
            before_step(step, model)
            rows = torch.arange(32 * step, 32 * step + 32) % 256
            loss = criterion(model(X[rows]), Y[rows])
            optimizer.zero_grad()
            scaler.scale(loss * (float("inf") if step in overflows else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
            if validates_in and step % 10 == 9:
                model.train(validates_in == "training")
                with torch.no_grad():
                    recorder.log(val_loss=criterion(model(X), Y).item())
                model.train()
    return {finding.rule: finding for finding in diag.diagnose(diag.Log(folder)).findings}


def stays_in_evaluation(step, model):
    if step == 40:
        model.eval()


def test_a_train_that_is_forgotten_after_an_evaluation_is_told_from_its_step_on(tmp_path):
    with pytest.warns(diag.DiagWarning, match=r"evaluation mode; call model.train\(\)"):
        finding = diagnosed(tmp_path / "run", before_step=stays_in_evaluation)["train_eval_mode"]
    assert (finding.severity, finding.layer, finding.onset_step) == ("warning", "1", 40)


@pytest.mark.parametrize(("mode", "is_found"), [("training", True), ("evaluation", False)])
def test_an_eval_that_is_forgotten_before_a_validation_is_told(tmp_path, mode, is_found):
    findings = diagnosed(tmp_path / "run", validates_in=mode)
    assert ("train_eval_mode" in findings) == is_found
    if is_found:
        finding = findings["train_eval_mode"]
        assert (finding.severity, finding.layer, finding.onset_step) == ("warning", "1", 0)


@pytest.mark.parametrize(
    ("overflows", "is_found"), [(range(0, 80, 2), True), (range(6), False)], ids=["all_along", "at_first"]
)
def test_a_scaler_that_goes_on_skipping_steps_is_told(tmp_path, overflows, is_found):
    findings = diagnosed(tmp_path / "run", scaler=torch.amp.GradScaler("cpu"), overflows=overflows)
    assert ("skipped_steps" in findings) == is_found
    if is_found:
        assert findings["skipped_steps"].evidence.value == pytest.approx(0.5, abs=0.03)
        assert findings["skipped_steps"].onset_step <= 1
