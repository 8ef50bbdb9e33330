"""Every operator really does to a program what it says."""

import math

import numpy as np
import pytest

from benchmarks.faults.datasets import split
from benchmarks.faults.families import HALVES, programs
from benchmarks.faults.networks import array_of, build, weight_layers
from benchmarks.faults.operators import OPERATORS
from benchmarks.faults.schedules import factor
from benchmarks.faults.training import train

BY_NAME = {operator.name: operator for operator in OPERATORS}
CANDIDATES = [program for program in programs("tuning") if program.framework == "scratchnet"]


def of(operator):
    """The first program that an operator fits."""
    return next(program for program in CANDIDATES if operator.fits(program))


# What a fault does is warned of by everybody concerned.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_every_dose_changes_the_program_and_can_be_trained(operator):
    program = of(operator)
    doses = [operator.inject(program, dose) for dose in operator.doses]
    # The least dose may be what the program has already, and in a shallow network the next, too.
    assert len({repr(each) for each in doses}) >= 2
    assert repr(doses[2]) not in {repr(doses[0]), repr(doses[1])}
    assert repr(program) not in {repr(each) for each in doses[1:]}
    for each in doses:
        assert -1 <= train(each.but("loop", steps=min(each.loop.steps, 3)), 0).skill <= 1


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_every_operator_fits_some_program_of_either_half(operator, half):
    assert any(operator.fits(program) for program in programs(half))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_the_layers_that_are_named_are_there(operator):
    program = of(operator)
    for dose in operator.doses:
        mutant = operator.inject(program, dose)
        layers = operator.layers(program, dose)
        examples = split(mutant.data, 0)
        model = build(mutant, examples.train.x.shape[1:], examples.outputs, 0)
        names = {name for name, _ in model.named_modules()}
        assert not layers or set(layers) & names


# ------------------------------------------------------------------------------------------ data


def data(name, dose, program=None):
    """The sets before and after."""
    operator = BY_NAME[name]
    program = program or of(operator)
    return split(program.data, 1), split(operator.inject(program, operator.doses[dose]).data, 1)


CLASSES = next(program for program in CANDIDATES if program.family == "mlp on clouds")
NUMBERS = next(program for program in CANDIDATES if program.family == "mlp on diabetes")


@pytest.mark.parametrize("which", ["train", "validation"])
def test_preprocessing_reaches_both_sets(which):
    for name, change in (
        ("inputs far too large", lambda x: 300 * x),
        ("inputs far too small", lambda x: 1e-4 * x),
        ("inputs far from zero", lambda x: x + 300),
        ("inputs blank", lambda x: 0 * x),
    ):
        before, after = (getattr(each, which) for each in data(name, 2))
        np.testing.assert_allclose(after.x, change(before.x), rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(after.y, before.y)


def test_some_features_are_blank():
    before, after = data("inputs blank", 0, CLASSES)
    is_blank = (after.train.x == 0).all(axis=0)
    assert is_blank.sum() == round(0.25 * 20)
    np.testing.assert_array_equal(after.train.x[:, ~is_blank], before.train.x[:, ~is_blank])


def test_targets_are_scaled_and_moved():
    before, after = data("targets not scaled", 1)
    np.testing.assert_allclose(after.validation.y, 30 * before.validation.y + 60, rtol=1e-4)


def test_so_many_examples_hold_a_nan():
    _, after = data("inputs with a NaN", 1)
    assert np.isnan(after.train.x).reshape(len(after.train.x), -1).any(axis=1).sum() == 5
    assert np.isfinite(after.validation.x).all()


def test_noise_is_added_to_the_training_set_alone():
    before, after = data("noise on inputs", 1)
    assert np.std(after.train.x - before.train.x) == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(after.validation.x, before.validation.x)


@pytest.mark.parametrize(
    ("name", "share"), [("labels changed", 0.5 * 5 / 6), ("labels dealt among others", 0.5 * 5 / 6)]
)
def test_so_many_labels_are_wrong(name, share):
    before, after = data(name, 1, CLASSES)
    # One in six is right by chance.
    assert np.mean(before.train.y != after.train.y) == pytest.approx(share, abs=0.06)
    np.testing.assert_array_equal(before.validation.y, after.validation.y)


def test_dealing_labels_keeps_how_many_there_are_of_each():
    before, after = data("labels dealt among others", 2, CLASSES)
    np.testing.assert_array_equal(np.bincount(before.train.y), np.bincount(after.train.y))


def test_wrong_numbers_are_noise():
    before, after = data("labels changed", 1, NUMBERS)
    assert np.std(after.train.y - before.train.y) == pytest.approx(1, rel=0.1)


def test_the_first_class_bears_the_label_of_the_second():
    before, after = data("classes overlap", 2, CLASSES)
    first, second = np.sort(np.bincount(before.train.y))[::-1][:2]
    counts = np.bincount(after.train.y, minlength=6)
    assert counts.max() == first + second
    assert counts.min() == 0


def test_all_classes_but_the_first_become_rare():
    before, after = data("classes unbalanced", 1, CLASSES)
    counts = np.bincount(before.train.y), np.bincount(after.train.y)
    assert counts[1][0] == counts[0][0]
    assert np.all(counts[1][1:] < 0.25 * counts[0][1:])
    assert np.all(counts[1] > 0)


def test_training_examples_are_missing():
    before, after = data("training data deleted", 1, NUMBERS)
    assert len(after.train.x) == pytest.approx(0.2 * len(before.train.x), rel=0.25)


def test_what_is_not_shuffled_comes_class_by_class():
    _, after = data("not shuffled", 2, CLASSES)
    assert np.all(np.diff(after.train.y) >= 0)


# ----------------------------------------------------------------------------- start and network


def model(name, dose, program=None):
    """The mutant's model."""
    operator = BY_NAME[name]
    mutant = operator.inject(program or of(operator), operator.doses[dose])
    examples = split(mutant.data, 0)
    return build(mutant, examples.train.x.shape[1:], examples.outputs, 0)


def weights(name, dose, program=CLASSES):
    return {
        key: array_of(p)
        for key, p in model(name, dose, program).named_parameters()
        if "weight" in key and p.ndim >= 2
    }


WHOLE = weights("learning rate too high", 0)


@pytest.mark.parametrize(
    ("dose", "where"), [(0, ("head.weight",)), (1, ("hidden1.weight",)), (2, tuple(WHOLE))]
)
@pytest.mark.parametrize(("name", "value"), [("weights start at zero", 0.0), ("weights start alike", 0.05)])
def test_weights_start_as_one_number(name, value, dose, where):
    for key, weight in weights(name, dose).items():
        assert bool(np.all(weight == np.float32(value))) == (key in where)


@pytest.mark.parametrize(
    ("name", "gain"), [("weights start too large", 40), ("weights start too small", 3e-3)]
)
def test_weights_start_at_another_scale(name, gain):
    for key, weight in weights(name, 2).items():
        np.testing.assert_allclose(weight, gain * WHOLE[key], rtol=1e-5)


def test_only_the_head_starts_large():
    large = weights("head starts too large", 1)
    np.testing.assert_allclose(large["head.weight"], 30 * WHOLE["head.weight"], rtol=1e-5)
    np.testing.assert_array_equal(large["hidden1.weight"], WHOLE["hidden1.weight"])


def test_only_attention_starts_large():
    program = next(program for program in CANDIDATES if program.family == "transformer on sums")
    before, after = (
        weights("learning rate too high", 0, program),
        weights("attention starts too sharp", 1, program),
    )
    for key, weight in after.items():
        factor_of = 12 if key.endswith("in_proj_weight") else 1
        np.testing.assert_allclose(weight, factor_of * before[key], rtol=1e-5)


def test_the_biases_of_the_first_block_start_below_zero():
    biases = {
        key: array_of(p) for key, p in model("biases start below zero", 1).named_parameters() if "bias" in key
    }
    assert np.all(biases.pop("hidden1.bias") == -3)
    assert all(np.all(bias == 0) for bias in biases.values())


def kinds(name, dose, program=CLASSES):
    return [type(module).__name__ for module in model(name, dose, program).children()]


def test_networks_become_deep_and_saturating():
    assert kinds("sigmoids in depth", 2).count("Sigmoid") == CLASSES.network.depth + 5
    deep = kinds("too deep for its start", 2)
    assert deep.count("Linear") == CLASSES.network.depth + 12 + 1


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("softmax inside", {"Softmax": (1, 2, 3)}),
        ("no nonlinearity", {"ReLU": (0, 0, 0), "LeakyReLU": (3, 0, 0), "Hardtanh": (0, 3, 0)}),
        (
            "softmax before cross-entropy",
            {"LogSoftmax": (1, 0, 0), "Sigmoid": (0, 1, 0), "Softmax": (0, 0, 1)},
        ),
        ("no logarithm before NLLLoss", {"LogSoftmax": (1, 0, 0), "Softmax": (0, 1, 0)}),
        ("too much dropout", {"Dropout": (3, 3, 3)}),
    ],
)
def test_layers_come_and_go(name, counts):
    for kind, expected in counts.items():
        assert tuple(kinds(name, dose).count(kind) for dose in range(3)) == expected


def test_a_regression_ends_in_a_bounded_layer():
    assert [kinds("bounded head for a regression", dose, NUMBERS)[-1] for dose in range(3)] == [
        "Hardtanh",
        "Sigmoid",
        "ReLU",
    ]


def test_a_block_becomes_narrow():
    assert [weights("bottleneck", dose)["hidden2.weight"].shape[0] for dose in range(3)] == [8, 2, 1]


# -------------------------------------------------------------------------- loop and optimiser


def changed(name, dose, part, program=None):
    """The part of the mutant that an operator changes."""
    operator = BY_NAME[name]
    return getattr(operator.inject(program or of(operator), operator.doses[dose]), part)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("no zero_grad", "zero_every", 0),
        ("evaluation mode left on", "evaluating_from", 0.0),
        ("validated in training mode", "validates_in", "train"),
        ("sign flipped", "flipped", 1.0),
        ("sum instead of mean", "reduction", "sum"),
        ("the same batches again", "batches", 1),
        ("batch too small", "batch", 1),
        ("batching disabled", "batch", 0),
        ("too few steps", "steps", 8),
        ("another loss", "criterion", "one-hot L1Loss"),
    ],
)
def test_the_loop_is_another(name, field, value):
    assert getattr(changed(name, 2, "loop"), field) == value


@pytest.mark.parametrize("name", ["optimiser misses layers", "layers frozen"])
@pytest.mark.parametrize("program", CANDIDATES, ids=lambda program: program.family)
def test_leading_layers_take_no_part_and_the_head_does(name, program):
    examples = split(program.data, 0)
    every = weight_layers(build(program, examples.train.x.shape[1:], examples.outputs, 0))
    counts = [
        max(loop.frozen, loop.left_out)
        for loop in (changed(name, dose, "loop", program) for dose in range(3))
    ]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert every[counts[2] :] == ["head"]


@pytest.mark.parametrize(("dose", "block"), [(0, 1), (1, 2), (2, 3)])
def test_the_graph_is_cut_behind_a_block(dose, block):
    network = model("graph cut", dose, CLASSES)
    network(np.ones((4, 20), np.float32)).sum().backward()
    grads = {key: p.grad for key, p in network.named_parameters()}
    assert [grads[f"hidden{each}.weight"] is None for each in (1, 2, 3)] == [
        each <= block for each in (1, 2, 3)
    ]
    assert grads["head.weight"] is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("learning rate too high", 300.0),
        ("learning rate too low", 1e-4),
        ("learning rate leaps", 1.0),
        ("another optimiser", 1.0),
    ],
)
def test_the_learning_rate_is_another(name, expected):
    program = of(BY_NAME[name])
    assert changed(name, 2, "descent").lr == pytest.approx(expected * program.descent.lr)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("momentum too high", "momentum", 0.999),
        ("epsilon too large", "eps", 30.0),
        ("weight decay too strong", "weight_decay", 1.0),
    ],
)
def test_the_optimiser_takes_other_arguments(name, option, value):
    assert dict(changed(name, 2, "descent").options)[option] == value


def test_decoupled_decay_is_stronger_as_it_pulls_by_the_rate_alone():
    assert dict(changed("weight decay too strong", 2, "descent", CLASSES).options)["weight_decay"] == 30.0


def test_the_optimiser_and_the_clip_are_others():
    assert changed("another optimiser", 2, "descent").kind == "SGD"
    assert changed("clipped too short", 2, "descent").clip == 1e-4


@pytest.mark.parametrize(
    ("schedule", "strength", "step", "expected"),
    [
        ("constant", 0.0, 70, 1.0),
        ("cosine", 0.0, 50, 0.5),
        ("steps", 0.0, 70, 0.09),
        ("warm-up", 0.0, 5, 0.51),
        ("one cycle", 0.0, 30, 1.0),
        ("decay a step", 0.97, 10, 0.97**10),
        ("decay a pass", 0.3, 25, 0.09),
        ("leap", 30.0, 49, 1.0),
        ("leap", 30.0, 50, 30.0),
    ],
)
def test_schedules_have_the_multiples_that_they_should(schedule, strength, step, expected):
    assert math.isclose(factor(schedule, strength, step, 100, 10), expected, rel_tol=1e-9)
