"""Each experiment on a network of which the answer is known, in scratchnet and in PyTorch."""

import json

import numpy as np
import pytest

import diag


def check(name, model, framework, *, criterion=None, batch=None, **more):
    """The checks of one experiment, by claim."""
    x, y = batch or framework.batch
    criterion = criterion or framework.nn.CrossEntropyLoss()
    found = diag.verify(model, criterion, x, y, experiments=[name], **({"steps": 150} | more))
    return {each.claim: each for each in found}


def the_only(checks):
    (only,) = checks.values()
    return only


def trained(model, framework, steps=150, lr=0.5):
    optimizer = framework.optim.SGD(model.parameters(), lr=lr)
    x, y = framework.batch
    for _ in range(steps):
        loss = framework.nn.CrossEntropyLoss()(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


class TestZeroedInput:
    def test_a_network_that_multiplies_its_input_by_zero_ignores_it(self, framework):
        found = the_only(check("zeroed_input", framework.mlp(framework.layer(lambda x: 0 * x)), framework))
        assert found.verdict == "confirmed"
        assert found.numbers["output_change"] == 0
        assert found.numbers["loss"] == found.numbers["loss_with_zeroed_input"]

    def test_a_trained_network_gains_by_its_input(self, framework):
        found = the_only(check("zeroed_input", trained(framework.mlp(), framework), framework))
        assert found.verdict == "refuted"
        assert found.numbers["loss"] < 0.5 * found.numbers["loss_with_zeroed_input"]

    def test_a_network_that_uses_its_input_to_no_good_is_neither(self, framework):
        x, y = framework.batch
        wrong = framework.array(np.asarray(y)[::-1].copy())
        model = trained(framework.mlp(), framework)
        assert the_only(check("zeroed_input", model, framework, batch=(x, wrong))).verdict == "undecided"

    def test_several_inputs_are_zeroed_together(self, framework):
        x, y = framework.batch
        inner = framework.mlp()

        class Sum(framework.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, first, second):
                return self.inner(first + second)

        model = Sum()
        by_name = check("zeroed_input", model, framework, batch=({"first": x, "second": x}, y))
        in_order = check("zeroed_input", model, framework, batch=((x, x), y))
        assert the_only(by_name).numbers == the_only(in_order).numbers
        assert the_only(in_order).numbers["output_change"] > 0.1


class TestOverfitOneBatch:
    def test_a_sound_network_learns_sixteen_examples(self, framework):
        found = the_only(check("overfit_one_batch", framework.mlp(), framework))
        assert found.verdict == "refuted"
        assert found.numbers["examples"] == 16
        assert found.numbers["least_loss"] < 0.1 * found.numbers["least_loss_with_zeroed_input"]

    def test_a_network_whose_units_are_all_dead_cannot(self, framework):
        model = framework.nn.Sequential(framework.mlp()[0], framework.nn.ReLU(), framework.mlp()[2])
        framework.fill(model[0].bias, -1e4)
        found = the_only(check("overfit_one_batch", model, framework, steps=100))
        assert found.verdict == "confirmed"

    def test_dropout_is_no_hindrance(self, framework):
        model = framework.nn.Sequential(*framework.mlp(), framework.nn.Dropout(0.9))
        assert the_only(check("overfit_one_batch", model, framework)).verdict == "refuted"

    def test_frozen_parameters_stay_frozen(self, framework):
        model = framework.mlp()
        model[0].weight.requires_grad = model[2].weight.requires_grad = False
        found = the_only(check("overfit_one_batch", model, framework, steps=50))
        assert found.verdict != "refuted"

    def test_targets_that_are_all_alike_decide_nothing(self, framework):
        x, y = framework.batch
        found = the_only(check("overfit_one_batch", framework.mlp(), framework, batch=(x, 0 * y)))
        assert found.verdict == "undecided"


class TestLineProbe:
    """A loss of λ/2 ‖w‖², on which gradient descent holds up to a rate of 2/λ and is best at 1/λ."""

    steepness = 4.0

    def probe(self, framework, lr, **settings):
        model = framework.nn.Linear(3, 1)
        optimizer = framework.optim.SGD(model.parameters(), lr=lr, **settings)
        steepness = self.steepness

        def criterion(_output, _y):
            return steepness / 2 * ((model.weight**2).sum() + (model.bias**2).sum())

        x = framework.array(np.ones((2, 3), np.float32))
        return list(
            check(
                "line_probe", model, framework, criterion=criterion, batch=(x, x), optimizer=optimizer
            ).values()
        )

    @pytest.mark.parametrize("too_high", [2.5, 8.0, 64.0])
    def test_says_by_what_factor_a_rate_is_too_high(self, framework, too_high):
        direction, high, low = self.probe(framework, lr=too_high * 2 / self.steepness)
        assert (direction.verdict, high.verdict, low.verdict) == ("refuted", "confirmed", "refuted")
        # Multiples are looked at in powers of two.
        assert 1 / (2 * too_high) < high.numbers["largest_multiple_that_holds"] <= 1 / too_high

    @pytest.mark.parametrize("share", [1.0, 0.25])
    def test_lets_a_rate_that_holds_pass(self, framework, share):
        _, high, low = self.probe(framework, lr=share / self.steepness)
        assert (high.verdict, low.verdict) == ("refuted", "refuted")
        assert high.numbers["best_multiple"] == 1 / share

    def test_at_the_edge_of_stability_nothing_is_decided(self, framework):
        _, high, _ = self.probe(framework, lr=1.05 * 2 / self.steepness)
        assert high.verdict == "undecided"

    def test_finds_a_rate_that_is_too_low(self, framework):
        _, high, low = self.probe(framework, lr=1e-3 / self.steepness)
        assert (high.verdict, low.verdict) == ("refuted", "confirmed")
        assert low.numbers["best_multiple"] == 1024

    def test_an_optimiser_that_maximises_goes_uphill(self, framework):
        direction, high, low = self.probe(framework, lr=0.01, maximize=True)
        assert (direction.verdict, high.verdict, low.verdict) == ("confirmed", "undecided", "undecided")
        assert direction.numbers["cosine_to_gradient"] == pytest.approx(1)

    def test_takes_the_optimisers_momentum_into_account(self, framework):
        model = framework.mlp()
        optimizer = framework.optim.Adam(model.parameters(), lr=0.01)
        x, y = framework.batch
        criterion = framework.nn.CrossEntropyLoss()
        for _ in range(5):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        told = the_first(check("line_probe", model, framework, optimizer=optimizer)).numbers
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        assert told["loss_after_step"] == pytest.approx(criterion(model(x), y).item(), rel=1e-5)

    def test_a_step_beyond_all_numbers_is_no_trouble(self, framework):
        direction, high, _ = self.probe(framework, lr=1e30)
        assert (direction.verdict, high.verdict) == ("refuted", "confirmed")
        assert high.numbers["loss_after_step"] == np.inf
        assert "more than 256" in high.meaning

    def test_is_left_out_without_an_optimiser(self, framework):
        assert check("line_probe", framework.mlp(), framework) == {}

    def test_is_left_out_where_the_optimiser_computes_gradients_itself(self, framework):
        model = framework.mlp()
        optimizer = framework.optim.LBFGS(model.parameters())
        assert check("line_probe", model, framework, optimizer=optimizer) == {}


def the_first(checks):
    return next(iter(checks.values()))


class TestModeFlip:
    def normalised(self, framework):
        nn = framework.nn
        model = framework.mlp()
        return nn.Sequential(model[0], nn.BatchNorm1d(24), model[1], model[2])

    def test_running_statistics_that_never_saw_the_data_are_found(self, framework):
        model = trained(self.normalised(framework), framework)
        framework.fill(model[1].running_mean, 30.0)
        found = the_only(check("mode_flip", model, framework))
        assert found.verdict == "confirmed"
        assert found.numbers["evaluation_loss"] > 2 * found.numbers["training_loss"]

    def test_running_statistics_that_saw_it_are_fine(self, framework):
        model = trained(self.normalised(framework), framework)
        assert the_only(check("mode_flip", model, framework)).verdict == "refuted"

    def test_dropout_makes_training_the_worse_mode(self, framework):
        model = trained(framework.mlp(), framework)
        rng = {} if framework.nn.__name__.startswith("torch") else {"rng": 0}
        with_dropout = framework.nn.Sequential(*model, framework.nn.Dropout(0.5, **rng))
        found = the_only(check("mode_flip", with_dropout, framework))
        assert found.verdict == "refuted"
        assert found.numbers["training_loss_spread"] > 0
        assert found.numbers["training_loss"] > found.numbers["training_loss_without_dropout"]
        assert found.numbers["training_loss_without_dropout"] == found.numbers["evaluation_loss"]

    def test_without_either_all_losses_are_one(self, framework):
        numbers = dict(the_only(check("mode_flip", framework.mlp(), framework)).numbers)
        assert numbers.pop("training_loss_spread") == 0
        assert len(set(numbers.values())) == 1


class TestGradientCheck:
    def test_finds_no_fault_with_the_real_one(self, framework):
        found = the_only(check("gradient_check", framework.mlp(), framework))
        assert found.verdict == "refuted"
        assert found.numbers["parameters"] == found.numbers["measurable"] == 4
        assert found.numbers["largest_error"] < 0.01

    @pytest.mark.parametrize(
        "gradient", [2.0, -1.0, 0.8, 0.0], ids=["doubled", "turned", "a fifth short", "none"]
    )
    def test_finds_the_parameters_behind_a_layer_whose_backward_pass_is_wrong(self, framework, gradient):
        def wrong(x):
            held = framework.detached(x)
            return gradient * (x - held) + held

        first, tanh, last = framework.mlp()
        model = framework.nn.Sequential(first, framework.layer(wrong), tanh, last)
        found = the_only(check("gradient_check", model, framework))
        assert found.verdict == "confirmed"
        # What lies behind the layer is wrong, what comes after it is right.
        assert found.numbers["wrong"] == 2
        assert "0.weight, 0.bias" in found.meaning
        assert found.numbers["largest_error"] == pytest.approx(
            abs(1 - gradient) / max(1, abs(gradient)), abs=0.02
        )

    def test_a_loss_that_nothing_leads_to_decides_nothing(self, framework):
        x, _ = framework.batch
        found = the_only(
            check("gradient_check", framework.mlp(), framework, criterion=lambda _output, _y: (x * x).mean())
        )
        assert found.verdict == "undecided"
        assert found.numbers["measurable"] == 0

    def test_holds_in_both_precisions(self, framework):
        x, y = framework.batch
        model = framework.mlp().double()
        exact = framework.array(np.asarray(x, np.float64))
        found = the_only(check("gradient_check", model, framework, batch=(exact, y)))
        assert found.verdict == "refuted"
        assert found.numbers["largest_error"] < 1e-4

    def test_draws_the_same_dropout_for_every_loss(self, framework):
        model = framework.nn.Sequential(*framework.mlp(), framework.nn.Dropout(0.5))
        assert the_only(check("gradient_check", model, framework)).verdict == "refuted"


def test_rounding_of_half_precision_is_not_taken_for_a_wrong_gradient():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2).to(torch.bfloat16)
    x, y = torch.randn(8, 4, dtype=torch.bfloat16), torch.randn(8, 2, dtype=torch.bfloat16)
    (found,) = diag.verify(model, torch.nn.MSELoss(), x, y, experiments=["gradient_check"])
    assert found.verdict == "undecided"
    assert json.dumps(found.to_json())
