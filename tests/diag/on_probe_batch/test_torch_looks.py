"""Looks at a PyTorch model leave no trace; their numbers equal those of its scratchnet twin (`test_torch_twins`)."""

import pytest

import diag

torch = pytest.importorskip("torch")
nn = torch.nn

X = torch.randn(32, 5, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3
CRITERION = nn.CrossEntropyLoss()


class Net(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -1] = True
        return self.head(self.norm(self.encoder(x, src_key_padding_mask=padding)[:, 0]))


def trained(folder=None, compiled=False):
    torch.manual_seed(0)
    model = Net()
    run = torch.compile(model, backend="eager") if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    recorder = diag.Recorder(folder, every=1) if folder else None
    if recorder:
        recorder.watch(run, optimizer, criterion=CRITERION)
        recorder.representation(lambda: CRITERION(run(X), Y), every=1)
        chunks = [lambda rows=rows: CRITERION(run(X[rows]), Y[rows]) for rows in (slice(16), slice(16, 32))]
        recorder.noise(chunks, examples=16, every=1)
        recorder.curvature(lambda: CRITERION(run(X), Y), every=1, k=1, samples=2)
    for _ in range(3):
        loss = CRITERION(run(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if recorder:
        recorder.close()
    return model.state_dict()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_training_is_bit_identical_and_every_look_succeeds(tmp_path, compiled):
    torch.compiler.reset()
    alone, watched = trained(compiled=compiled), trained(tmp_path / "run", compiled)
    assert all(torch.equal(tensor, watched[name]) for name, tensor in alone.items())
    log = diag.Log(tmp_path / "run")
    assert [h.message for h in log.happenings if h.kind == "failure"] == []
    attention = "encoder.layers.0.self_attn"
    assert log.series("attention_keys").column(attention).tolist() == [5, 5, 5]
    for name in (
        "probe_loss",
        "probe_loss_as_trained",
        "gradient_noise_variance",
        "within_class_variability",
    ):
        assert (log.series(name).values > 0).all(), name
