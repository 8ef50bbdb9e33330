"""Runs to report on, written by the real log writer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from diag.diagnosis.findings import Diagnosis, Evidence, Finding
from diag.events import Happening, Layer, Model, Optimizer, Parameter, Reading
from diag.log import Log, LogWriter, write_run


def _jitter(rng: np.random.Generator) -> float:
    return float(np.exp(0.25 * rng.standard_normal()))


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron that never was, and what a recorder would have read from it."""

    depth: int = 12
    rate_raised_at: int = 2_500

    @property
    def linear(self) -> list[str]:
        return [f"features.{2 * index}" for index in range(self.depth // 2)]

    @property
    def model(self) -> Model:
        layers, parameters = [], []
        for index, name in enumerate(self.linear):
            owned = [Parameter(f"{name}.weight", name, (128, 128)), Parameter(f"{name}.bias", name, (128,))]
            parameters += owned
            layers.append(Layer(name, "Linear", (128,), tuple(parameter.name for parameter in owned)))
            layers.append(Layer(f"features.{2 * index + 1}", "ReLU", (128,)))
        optimizer = Optimizer("", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0})
        return Model(tuple(layers), tuple(parameters), (optimizer,))

    def readings(self, step: int, rng: np.random.Generator) -> Iterator[Reading]:
        """Healthy until the learning rate is raised; then units die and the first layers hear nothing."""
        harm = float(np.clip((step - self.rate_raised_at) / 1_000, 0.0, 1.0))
        progress = 1 - np.exp(-step / 900)
        model = self.model
        for depth, layer in enumerate(model.layers):
            height = (len(model.layers) - depth) / len(model.layers)
            norm = 0.8 * (1 - 0.7 * progress) * 10 ** (-0.5 * height - 6 * harm * height) * _jitter(rng)
            yield Reading("gradient_norm", layer.name, norm, "layers")
            yield Reading(
                "activation_rms", layer.name, (1 - 0.9 * harm * (1 - height)) * _jitter(rng), "layers"
            )
            if layer.kind == "ReLU":
                rate = np.clip(0.03 + 0.9 * harm * (0.4 + 0.6 * height) + 0.02 * rng.standard_normal(), 0, 1)
                yield Reading("dead_unit_rate", layer.name, float(rate), "layers")
        for parameter in model.parameters:
            spike = 60.0 if self.rate_raised_at <= step < self.rate_raised_at + 150 else 1.0
            ratio = 1.5e-3 * (1 - 0.6 * progress) * spike * 10 ** (-3 * harm) * _jitter(rng)
            yield Reading("update_ratio", parameter.name, ratio, "parameters")
        loss = 2.3 * np.exp(-2.6 * progress) + 1.7 * harm
        yield Reading("criterion_loss", "", float(loss * _jitter(rng) ** 0.4), "network")
        yield Reading("gradient_norm_ratio", "", float(0.5 * 10 ** (-5 * harm) * _jitter(rng)), "network")
        yield Reading("gradient_norm", "", float(3 * (1 - 0.7 * progress) * _jitter(rng)), "network")
        yield Reading("learning_rate", "", 0.1 if step < self.rate_raised_at else 1.0, "network")
        yield Reading("recording_seconds", "", 0.004, "network")
        yield Reading("wall_time", "", 0.5 + 0.012 * step, "network")
        if step % 100 == 0:
            top = (8 + 11 * progress) * _jitter(rng) ** 0.3
            yield Reading("top_eigenvalues", "", np.array([top, 0.6 * top, 0.4 * top]), "curvature")
            yield Reading("stability_threshold", "", 20.0 if step < self.rate_raised_at else 2.0, "curvature")
            grid = np.linspace(-0.2 * top, 1.1 * top, 128)
            density = 0.9 * np.exp(-((8 * grid / top) ** 2)) + 0.01 * np.exp(-((8 * grid / top - 8) ** 2))
            yield Reading("spectral_density", "", density, "curvature")
            yield Reading("spectral_density_grid", "", grid, "curvature")
            yield Reading(
                "gradient_noise_scale", "", float(200 * (1 + 9 * progress) * _jitter(rng)), "network"
            )
        yield Reading("batch_size", "", 64.0, "network")

    def scalars(self, step: int) -> dict[str, float]:
        progress = 1 - np.exp(-step / 900)
        harm = float(np.clip((step - self.rate_raised_at) / 1_000, 0.0, 1.0))
        return {
            "val_loss": float(2.3 * np.exp(-2.2 * progress) + 1.8 * harm),
            "val_accuracy": float(0.1 + 0.8 * progress - 0.75 * harm),
        }


def write_log(
    folder: Path, steps: int = 30, network: Network | None = None, should_close: bool = True
) -> Log:
    """A run of so many recorded steps."""
    network, rng = network or Network(rate_raised_at=150), np.random.default_rng(0)
    write_run(folder, {"optimizer": {"name": "SGD", "lr": 0.1}, "seed": 0, "dropout": None})
    writer = LogWriter(folder, describe=lambda: network.model)
    for step in range(0, 10 * steps, 10):
        writer.write(step, list(network.readings(step, rng)))
        if step % 250 == 0:
            writer.write_scalars(step, network.scalars(step))
    writer.write_happening(
        Happening(160, "non_finite", "features.3", "3 of 16,384 activations were infinite")
    )
    if should_close:
        writer.close()
    else:
        writer.flush()
    return Log(folder)


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A closed run called "mlp" of thirty recorded steps; a test must not change it."""
    return write_log(tmp_path_factory.mktemp("runs") / "mlp")


@pytest.fixture
def unclosed(tmp_path: Path) -> Log:
    """A run whose process has not closed its log yet."""
    return write_log(tmp_path / "mlp", steps=3, should_close=False)


def finding(
    rule: str = "dead_units",
    severity: str = "fault",
    layer: str | None = "features.1",
    onset_step: int | None = 160,
    **changed: object,
) -> Finding:
    evidence = Evidence(
        series="dead_unit_rate_pooled",
        value=0.71,
        band="at most 0.5",
        readings=14,
        last_healthy_step=150,
        text="71 % of the units of `features.1` are zero on all of 1,024 examples, for 14 recorded steps.",
    )
    told = {
        "evidence": evidence,
        "why": "A unit that is zero on every example passes no gradient back and no longer learns.",
        "fix": "Lower the learning rate, or use `LeakyReLU` so that a unit can recover.",
        "confidence": 0.85,
        "references": ('Lu et al., "Dying ReLU and Initialization", 2019, arXiv:1903.06733',),
    }
    return Finding(rule, severity, layer, onset_step, **(told | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def diagnosis() -> Diagnosis:
    """A learning rate that was raised too far, and the units that died of it."""
    cause = finding(
        "learning_rate_too_high",
        layer=None,
        onset_step=150,
        evidence=Evidence(
            "update_ratio",
            0.09,
            "between 10⁻⁵ and 10⁻²",
            15,
            140,
            "The median update ratio rises to 0.09 at step 150 and stays above 10⁻² for 15 recorded steps.",
        ),
        why="Each step overwrites a tenth of the weights, so what was learnt before is lost.",
        fix="Divide the learning rate by ten, or warm it up.",
        confidence=0.7,
        references=('CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/',),
    )
    ratio = Evidence(
        "gradient_norm",
        3e-6,
        "at least 10⁻³",
        9,
        170,
        "The first layer's gradient is 3×10⁻⁶ of the last one's.",
    )
    consequence = finding(
        "vanishing_gradients",
        "warning",
        "features.0",
        180,
        evidence=ratio,
        why="Behind dead units there is nothing to pass on.",
        fix="Mend the finding above first.",
        confidence=0.6,
        references=(),
    )
    lacked = {"gradient_noise_scale": "the series `gradient_noise_scale`", "sharpness": "a curvature closure"}
    return Diagnosis("fault", (cause, finding(), consequence), lacked)
