"""Rules about what is seen on a probe batch and about modes, on logs whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

import diag
from diag.diagnosis import RULES
from diag.events import Criterion, Happening, Layer, Optimizer
from diag.log import LogWriter
from tests.diag.diagnosis.conftest import NETWORK, STEPS, falling, of_classes

STUCK = {"criterion_loss": np.full(STEPS, 2.3)}
LEARNS = {"criterion_loss": falling()}
SAME = np.ones(STEPS)
# A look every ten steps, at 0, 10, …, 50; between them there is no number.
LOOKS = range(0, STEPS, 10)


def looked(values):
    """A series of looks, one value for each or the same for all."""
    series = np.full(STEPS, np.nan)
    series[list(LOOKS)] = values
    return series


def severity(finding):
    return finding.severity if finding else None


@pytest.mark.parametrize(
    "name",
    [
        "noisy_gradients",
        "wasteful_batch",
        "redundant_depth",
        "dormant_units",
        "rank_collapse",
        "neural_collapse",
        "attention_collapse",
        "train_eval_mode",
        "sum_reduction",
        "skipped_steps",
    ],
)
def test_a_rule_without_its_telemetry_says_what_is_missing(log_of, name):
    (rule,) = (rule for rule in RULES if rule.id == name)
    reason = diag.diagnose(log_of({"wall_time": SAME})).not_assessed[name]
    assert reason == f"the log has no {', no '.join(' or '.join(need) for need in rule.needs)}"


class TestRank:
    @pytest.mark.parametrize(
        ("ranks", "loss", "expected"),
        [
            ([8, 8, 8, 2, 2, 2], STUCK, "fault"),
            ([8, 8, 8, 2, 2, 2], LEARNS, "note"),
            ([8, 8, 8, 2, 2, 8], STUCK, None),
            ([8, 8, 7, 6, 5, 4], STUCK, None),
            ([30, 30, 30, 9, 9, 9], STUCK, None),
            ([8, 8, 8, np.nan, np.nan, np.nan], STUCK, "fault"),
        ],
        ids=["fails", "learns", "comes_back", "declines", "has_all_it_needs", "all_alike"],
    )
    def test_a_layer_whose_rank_falls_below_what_the_classes_need(self, found, ranks, loss, expected):
        layers = {"0": looked([30] * 6), "1": looked(ranks), "2": looked(9)}
        finding = found("rank_collapse", {**loss, **of_classes(10), "activation_effective_rank": layers})
        assert severity(finding) == expected
        if finding:
            assert (finding.layer, finding.onset_step, finding.evidence.last_healthy_step) == ("1", 30, 20)

    def test_a_layer_that_begins_with_one_direction_behind_one_with_many(self, found):
        layers = {"0": looked(20), "1": looked(1.1), "2": looked(1.1)}
        finding = found("rank_collapse", {**STUCK, **of_classes(10), "activation_effective_rank": layers})
        assert (finding.severity, finding.layer, finding.onset_step) == ("fault", "1", 0)

    def test_the_head_has_as_few_directions_as_it_has_classes(self, found):
        layers = {"0": looked(20), "1": looked(20), "2": looked([9, 9, 1, 1, 1, 1])}
        assert (
            found("rank_collapse", {**STUCK, **of_classes(10), "activation_effective_rank": layers}) is None
        )

    @pytest.mark.parametrize(("within", "is_found"), [(0.05, True), (0.9, False)])
    def test_neural_collapse_is_a_state_and_explains_a_low_rank(self, log_of, within, is_found):
        series = {
            **LEARNS,
            **of_classes(10),
            "activation_effective_rank": {"0": looked(30), "1": looked([30, 20, 8, 8, 8, 8])},
            "within_class_variability": looked([3, 1, within, within, within, within]),
            "class_mean_simplex_deviation": looked(0.05),
            "nearest_centre_agreement": looked(1),
        }
        findings = {f.rule: f for f in diag.diagnose(log_of(series)).findings}
        assert ("neural_collapse" in findings) == is_found
        assert ("rank_collapse" in findings) != is_found
        if is_found:
            state = findings["neural_collapse"]
            assert (state.severity, state.onset_step) == ("note", 20)


DEEP = replace(NETWORK, layers=tuple(Layer(str(place), "Linear", (8,)) for place in range(5)), parameters=())


@pytest.mark.parametrize(
    ("alike", "layer"),
    [([1, 2], "1"), ([1], None), ([2, 4], None)],
    ids=["two_in_a_row", "one", "the_other_is_the_head"],
)
def test_layers_that_represent_the_same_as_those_before_them(found, alike, layer):
    similarity = {str(place): looked(0.99 if place in alike else 0.7) for place in range(1, 5)}
    finding = found("redundant_depth", {**LEARNS, "debiased_linear_cka": similarity}, model=DEEP)
    assert (finding.layer if finding else None) == layer
    if finding:
        assert (finding.severity, finding.evidence.value) == ("note", 0.99)


def attention_model():
    layers = (Layer("attention", "MultiheadAttention", (16, 8)), Layer("head", "Linear", (10,)))
    return replace(NETWORK, layers=layers, parameters=())


@pytest.mark.parametrize(
    ("entropy", "loss", "expected"),
    [(0.02, STUCK, "fault"), (0.02, LEARNS, "note"), (1.0, STUCK, None)],
    ids=["sharp_and_stuck", "sharp", "wide"],
)
def test_attention_that_looks_at_one_key_only(found, entropy, loss, expected):
    series = {
        **loss,
        "attention_entropy": {"attention": looked([2.5, 2.0, entropy, entropy, entropy, entropy])},
        "attention_keys": {"attention": looked(16)},
        "largest_attention_logit": {"attention": looked(400)},
    }
    finding = found("attention_collapse", series, model=attention_model())
    assert severity(finding) == expected
    if finding:
        assert (finding.layer, finding.onset_step, finding.evidence.last_healthy_step) == (
            "attention",
            20,
            10,
        )
        assert "a logit of up to 400" in finding.evidence.text


def test_attention_to_a_single_key_has_no_choice(found):
    series = {
        **STUCK,
        "attention_entropy": {"attention": looked(0)},
        "attention_keys": {"attention": looked(1)},
    }
    assert found("attention_collapse", series, model=attention_model()) is None


RELU = replace(NETWORK, layers=(NETWORK.layers[0], Layer("1", "ReLU", (8,)), NETWORK.layers[2]))


@pytest.mark.parametrize(
    ("rates", "dead", "loss", "expected"),
    [
        ([0.1, 0.1, 0.7, 0.8, 0.8, 0.9], 0.1, STUCK, "warning"),
        ([0.1, 0.1, 0.7, 0.8, 0.8, 0.9], 0.1, LEARNS, "note"),
        ([0.1, 0.1, 0.7, 0.8, 0.8, 0.9], 0.9, STUCK, None),
        ([0.8, 0.8, 0.8, 0.8, 0.8, 0.8], 0.1, STUCK, None),
        ([0.1, 0.2, 0.3, 0.3, 0.3, 0.4], 0.1, STUCK, None),
    ],
    ids=["grow_and_stuck", "grow", "dead", "sparse_from_the_start", "few"],
)
def test_units_that_hardly_speak(found, rates, dead, loss, expected):
    series = {**loss, "dormant_unit_rate": {"1": looked(rates)}, "dead_unit_rate": {"1": SAME * dead}}
    finding = found("dormant_units", series, model=RELU)
    assert severity(finding) == expected
    if finding:
        assert (finding.layer, finding.onset_step) == ("1", 20)


def test_looks_without_a_number_say_nothing_of_dormant_units(log_of):
    never = {"1": np.full(STEPS, np.nan)}
    log = log_of({**STUCK, "dormant_unit_rate": never, "dead_unit_rate": {"1": SAME}}, model=RELU)
    assert "no look" in diag.diagnose(log).not_assessed["dormant_units"]


class TestNoise:
    def series(self, scale, batch, loss=STUCK, seen=10_000):
        return {
            **loss,
            "batch_size": SAME * batch,
            "gradient_noise_squared_norm": looked(2.0),
            "gradient_noise_variance": looked(2.0 * np.asarray(scale)),
            "gradient_noise_examples": looked(seen),
        }

    @pytest.mark.parametrize(
        ("scale", "loss", "expected"),
        [(1000, STUCK, "warning"), (1000, LEARNS, "note"), (100, STUCK, None)],
        ids=["noisy_and_stuck", "noisy", "enough"],
    )
    def test_a_batch_far_below_the_noise_scale(self, found, scale, loss, expected):
        finding = found("noisy_gradients", self.series(scale, 16, loss))
        assert severity(finding) == expected
        if finding:
            assert finding.evidence.value == pytest.approx(1000 / 16)

    @pytest.mark.parametrize(("batch", "expected"), [(4, "warning"), (16, "note")])
    def test_few_examples_at_a_time_hold_up_a_training_that_falls_short(self, found, batch, expected):
        short = {"criterion_loss": falling(end=0.5)}
        assert severity(found("noisy_gradients", self.series(1000, batch, short))) == expected

    def test_noise_grows_as_a_training_goes_on_and_is_told_from_where_it_is_too_much(self, found):
        finding = found("noisy_gradients", self.series([10, 10, 10, 2000, 2000, 2000], 16))
        assert (finding.onset_step, finding.evidence.last_healthy_step) == (30, 20)

    def test_a_signal_that_cannot_be_told_from_none_is_no_more_than_was_measured(self, found):
        series = self.series(1, 16, seen=400)
        series["gradient_noise_squared_norm"] = looked(-1.0)
        assert found("noisy_gradients", series).evidence.value == pytest.approx(400 / 16)

    def test_too_few_examples_cannot_tell(self, log_of):
        reason = diag.diagnose(log_of(self.series(1000, 16, seen=100))).not_assessed["noisy_gradients"]
        assert reason == (
            "the noise was measured on 100 examples, too few to tell 10 batches of 16; give noise() more"
        )

    def test_two_looks_are_too_few(self, log_of):
        series = self.series([10, 10, *[np.nan] * 4], 16)
        series["gradient_noise_squared_norm"][20:] = np.nan
        for rule in ("noisy_gradients", "wasteful_batch"):
            assert "measured 2 times" in diag.diagnose(log_of(series)).not_assessed[rule]

    @pytest.mark.parametrize(
        ("scale", "is_found"),
        [(20, True), (200, False), ([20, 20, 20, 20, 200, 200], False), (0, True)],
        ids=["wasted", "used", "wasted_at_first", "no_noise_at_all"],
    )
    def test_a_batch_far_above_the_noise_scale_is_worth_knowing(self, found, scale, is_found):
        finding = found("wasteful_batch", self.series(scale, 512, LEARNS))
        assert severity(finding) == ("note" if is_found else None)

    def test_where_passes_are_accumulated_the_batch_is_not_known(self, tmp_path):
        series = self.series(1000, 16)
        writer = LogWriter(tmp_path / "run", describe=lambda: NETWORK)
        for step in range(STEPS):
            writer.write(
                step, [diag.events.Reading(n, "", float(v[step]), "network") for n, v in series.items()]
            )
        writer.write_happening(Happening(0, "accumulation", "", "4 backward passes went into this step"))
        writer.close()
        not_assessed = diag.diagnose(diag.Log(tmp_path / "run")).not_assessed
        assert "several backward passes" in not_assessed["noisy_gradients"]


NORMED = replace(
    NETWORK,
    layers=(
        NETWORK.layers[0],
        Layer("1", "BatchNorm1d", (8,)),
        Layer("act", "ReLU", (8,)),
        NETWORK.layers[2],
    ),
)
FROM_20 = (np.arange(STEPS) >= 20).astype(float)


class TestModes:
    @pytest.mark.parametrize(
        ("rate", "model", "expected"),
        [(FROM_20, NORMED, "warning"), (SAME * 0.5, NORMED, None), (FROM_20, NETWORK, None)],
        ids=["network", "some_layers", "one_mode_alone"],
    )
    def test_a_network_that_trains_in_evaluation_mode(self, found, rate, model, expected):
        unheard = {"criterion_loss": np.where(rate == 1, np.nan, falling())}
        finding = found("train_eval_mode", {**unheard, "evaluation_mode_rate": rate}, model=model)
        assert severity(finding) == expected
        if finding:
            told = finding.layer, finding.onset_step, finding.evidence.last_healthy_step
            assert told == ("1", 20, 19)

    @pytest.mark.parametrize(
        ("passes_at", "expected"),
        [(range(10, 60, 10), "warning"), (range(60), None), (range(0), None), ([0, 10, 20], None)],
        ids=["at_validations", "at_every_step", "never", "at_some"],
    )
    def test_a_network_that_is_evaluated_in_training_mode(self, found, passes_at, expected):
        passes = np.isin(np.arange(STEPS), list(passes_at)).astype(float)
        series = {**LEARNS, "evaluation_mode_rate": SAME * 0, "training_mode_evaluations": passes}
        scalars = {step: {"val_loss": 1.0} for step in range(9, STEPS, 10)}
        finding = found("train_eval_mode", series, model=NORMED, scalars=scalars)
        assert severity(finding) == expected
        if finding:
            assert (finding.layer, finding.onset_step, finding.evidence.readings) == ("1", 0, 5)

    def test_what_is_not_heard_is_no_loss_beyond_all_numbers(self, log_of):
        unheard = {
            "criterion_loss": np.where(FROM_20 == 1, np.nan, falling()),
            "evaluation_mode_rate": FROM_20,
        }
        findings = diag.diagnose(log_of(unheard, model=NORMED)).findings
        assert [f.rule for f in findings] == ["train_eval_mode"]

    def test_with_frozen_parts_or_a_loss_that_falls_it_may_be_meant(self, found):
        frozen = (replace(NETWORK.parameters[0], requires_grad=False), *NETWORK.parameters[1:])
        rate = {"evaluation_mode_rate": SAME}
        assert found("train_eval_mode", rate, model=replace(NORMED, parameters=frozen)).severity == "note"
        assert found("train_eval_mode", {**rate, "loss": falling()}, model=NORMED).severity == "note"

    @pytest.mark.parametrize(
        ("used", "as_trained", "expected"),
        [
            (2.4, 0.3, "fault"),
            (1.2, 0.3, "warning"),
            (0.3, 0.5, None),
            (2e-3, 1e-4, None),
            ([2.4, 2.4, 2.4, 2.4, 0.3, 0.3], 0.3, None),
        ],
        ids=["useless", "worse", "dropout", "practically_zero", "catches_up"],
    )
    def test_a_network_that_is_worse_once_it_is_evaluated(self, found, used, as_trained, expected):
        series = {
            **LEARNS,
            **of_classes(10),
            "evaluation_mode_rate": SAME * 0,
            "probe_loss": looked(used),
            "probe_loss_as_trained": looked(as_trained),
        }
        finding = found("train_eval_mode", series, model=NORMED)
        assert severity(finding) == expected
        if finding:
            assert finding.layer == "1"


class TestDesign:
    @pytest.mark.parametrize(
        ("reduction", "loss", "expected"),
        [
            ("sum", np.full(STEPS, 73.6), "warning"),
            ("sum", falling(start=73.6, end=1), "note"),
            ("mean", np.full(STEPS, 2.3), None),
        ],
        ids=["sum_and_stuck", "sum", "mean"],
    )
    def test_a_criterion_that_adds_up(self, found, reduction, loss, expected):
        model = replace(NETWORK, criteria=(Criterion("", "CrossEntropyLoss", reduction),))
        series = {"criterion_loss": loss, "batch_size": SAME * 32, **of_classes(10)}
        assert severity(found("sum_reduction", series, model=model)) == expected
        # 32 times the loss of a guess is what a sum over a batch of 32 begins with.
        assert found("wrong_initial_loss", series, model=model) is None

    def test_a_criterion_that_is_not_known_is_not_judged(self, log_of):
        log = log_of({**STUCK, "batch_size": SAME})
        assert "which criterion" in diag.diagnose(log).not_assessed["sum_reduction"]


@pytest.mark.parametrize(
    ("skipped", "loss", "expected"),
    [(range(20, 60), STUCK, "warning"), (range(20, 60), LEARNS, "note"), (range(10), STUCK, None)],
    ids=["all_along_and_stuck", "all_along", "at_the_start"],
)
def test_steps_that_mixed_precision_skips(tmp_path, skipped, loss, expected):
    writer = LogWriter(tmp_path / "run", describe=lambda: NETWORK)
    for step in range(STEPS):
        for name, value in (("criterion_loss", loss["criterion_loss"][step]), ("learning_rate", 0.1)):
            writer.write(step, [diag.events.Reading(name, "", float(value), "network")])
    for number, step in enumerate(skipped, 1):
        writer.write_happening(
            Happening(step, "skipped_step", "", f"GradScaler skipped a step, number {number}")
        )
    writer.close()
    findings = {f.rule: f for f in diag.diagnose(diag.Log(tmp_path / "run")).findings}
    finding = findings.get("skipped_steps")
    assert severity(finding) == expected
    if finding:
        assert finding.onset_step == 20


@pytest.mark.parametrize(
    ("ratio", "missed", "expected"),
    [(30, 0.9, "warning"), (30, [1, 1, 0.5, 0.2, 0.1, 0.1], "note"), (4, 0.9, None)],
    ids=["rare_and_missed", "rare", "even"],
)
def test_the_rarest_of_many_classes(found, ratio, missed, expected):
    series = {
        **LEARNS,
        **of_classes(10),
        "class_count_ratio": looked(ratio),
        "rarest_class_error_rate": looked(missed),
    }
    assert severity(found("class_imbalance", series)) == expected


class TestParametersThatAskForNothing:
    def frozen(self, count):
        asked = [replace(p, requires_grad=place >= count) for place, p in enumerate(NETWORK.parameters)]
        series = {
            name: {p.name: SAME * (p.requires_grad and size) for p in asked}
            for name, size in (("update_norm", 0.01), ("gradient_norm", 1.0))
        }
        return replace(NETWORK, parameters=tuple(asked)), series

    @pytest.mark.parametrize(("loss", "expected"), [(STUCK, "warning"), (LEARNS, "note")])
    def test_they_are_frozen_and_not_cut_off(self, log_of, loss, expected):
        model, series = self.frozen(2)
        findings = {f.rule: f for f in diag.diagnose(log_of({**loss, **series}, model=model)).findings}
        assert findings["frozen_parameters"].severity == expected
        assert "requires_grad is False" in findings["frozen_parameters"].evidence.text
        assert "disconnected_parameters" not in findings

    @pytest.mark.parametrize(
        ("uniform", "end", "expected"),
        [(True, 0.5, "warning"), (False, 0.5, "note"), (True, 0.01, "note")],
        ids=["never_trained", "trained_before", "never_trained_but_learned"],
    )
    def test_what_is_frozen_without_ever_having_been_trained(self, found, uniform, end, expected):
        model, series = self.frozen(2)
        parameters = tuple(replace(p, is_uniform=uniform and p.name == "0.bias") for p in model.parameters)
        series |= {"criterion_loss": falling(end=end)}
        finding = found("frozen_parameters", series, model=replace(model, parameters=parameters))
        assert finding.severity == expected
        assert ("as they were built" in finding.evidence.text) == uniform


class TestStability:
    ADAM = replace(NETWORK, optimizers=(Optimizer("", "Adam", {"lr": 0.1}),))

    def test_adams_edge_is_that_of_the_preconditioned_hessian(self, found):
        series = {
            **LEARNS,
            "top_eigenvalues": SAME * 3,
            "preconditioned_top_eigenvalue": np.r_[np.nan, np.full(STEPS - 1, 390.0)],
            "stability_threshold": SAME * 380,
        }
        finding = found("edge_of_stability", series, model=self.ADAM)
        assert (finding.severity, finding.evidence.series) == ("note", "preconditioned_top_eigenvalue")
        assert finding.evidence.value == pytest.approx(390 / 380)

    @pytest.mark.parametrize(
        ("sharpness", "loss", "expected"),
        [
            (90, np.r_[falling(30, end=0.5), np.full(30, 6.0)], "top_eigenvalues"),
            (90, falling(), None),
            # The loss alone convicts it, later.
            (25, np.r_[falling(30, end=0.5), np.full(30, 6.0)], "criterion_loss"),
        ],
        ids=["beyond_and_hurt", "beyond", "at_the_edge"],
    )
    def test_a_curvature_far_beyond_the_threshold_convicts_the_learning_rate(
        self, found, sharpness, loss, expected
    ):
        series = {
            "criterion_loss": loss,
            "update_ratio": {"0.weight": SAME * 1e-3},
            "top_eigenvalues": np.where(np.arange(STEPS) < 29, 5.0, sharpness),
            "stability_threshold": SAME * 20,
        }
        finding = found("learning_rate_too_high", series)
        assert (finding.evidence.series if finding else None) == expected
        if expected == "top_eigenvalues":
            assert (finding.severity, finding.onset_step) == ("fault", 29)
            assert finding.evidence.value == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("from_step", "loss", "onset"),
    [(20, STUCK, 20), (20, LEARNS, None), (55, STUCK, None)],
    ids=["early_and_stuck", "learned_before", "at_the_end"],
)
def test_a_schedule_that_ends_long_before_the_training(found, from_step, loss, onset):
    rate = np.where(np.arange(STEPS) < from_step, 0.1, 0.0)
    ratio = {"update_ratio": {"0.weight": 1e-2 * rate}, "gradient_norm": SAME}
    finding = found("learning_rate_too_low", {**loss, **ratio, "learning_rate": rate})
    assert (finding.onset_step if finding else None) == onset

    @pytest.mark.parametrize(("sharpness", "is_found"), [(10.0, True), (1e3, False)])
    def test_a_preconditioned_curvature_beyond_all_belief_convicts_nobody(self, found, sharpness, is_found):
        series = {
            "criterion_loss": np.r_[falling(30, end=0.5), np.full(30, 1.0)],
            "update_ratio": {"0.weight": SAME * 1e-3},
            "preconditioned_top_eigenvalue": np.where(np.arange(STEPS) < 29, 0.5, sharpness),
            "top_eigenvalues": SAME,
            "stability_threshold": SAME,
        }
        assert (found("learning_rate_too_high", series, model=self.ADAM) is not None) == is_found
