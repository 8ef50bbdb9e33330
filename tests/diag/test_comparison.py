"""Runs side by side: which are one experiment, what differs, where they part, and how it is shown."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

import diag
from diag.comparison import Comparison, side_by_side, write_comparison
from diag.comparison.forms import summary, to_html, to_markdown
from diag.comparison.parting import part
from diag.curves import Curve, Measure
from diag.events import Layer, Model, Optimizer, Parameter, Reading
from diag.log import Log, LogWriter, write_run
from tests.diag.page import Page

HOSTILE = "<script>alert(1)</script>"
LOSS, ACCURACY = Measure("loss", "Loss"), Measure("val_accuracy", "val_accuracy", is_share=True)
MODEL = Model(
    (Layer("0", "Linear", (4,), ("0.weight",)), Layer("1", "ReLU", (4,))),
    (Parameter("0.weight", "0", (4, 4)),),
    (Optimizer("", "SGD", {"lr": 0.1}),),
)


@pytest.fixture
def run(tmp_path):
    """Writes a run with these losses."""

    def write(name, losses=(2.0, 1.0, 0.5), config=None, model=MODEL, every=1):
        write_run(tmp_path / name, config)
        writer = LogWriter(tmp_path / name, describe=lambda: model)
        for step, loss in enumerate(losses):
            readings = [
                Reading("criterion_loss", "", loss, "network"),
                Reading("gradient_norm_ratio", "", 0.5 + loss, "network"),
                Reading("dead_unit_rate_pooled", "1", 0.25, "layers"),
                Reading("update_ratio", "0.weight", 1e-3 * (1 + step), "parameters"),
                Reading("top_eigenvalues", "", np.array([10.0, 1.0]), "curvature"),
                Reading("stability_threshold", "", 20.0, "curvature"),
            ]
            writer.write(every * step, readings)
        writer.write_scalars(every * (len(losses) - 1), {"val_accuracy": 1 - losses[-1] / 4})
        writer.close()
        return Log(tmp_path / name)

    return write


def curve(*values, every=1):
    return Curve(every * np.arange(len(values)), np.array(values, float))


class TestParting:
    @pytest.mark.parametrize(
        ("mine", "theirs", "first", "apart"),
        [
            pytest.param([3, 2, 1, 1], [3, 2, 1, 1], None, None, id="the same"),
            pytest.param([3, 2, 1, 1], [3, 2.1, 1, 1], 1, None, id="once, a little"),
            pytest.param([3, 9, 1, 1, 1], [3, 2, 1, 1, 1], 1, None, id="once, much"),
            pytest.param([3, 2, 9, 9, 9], [3, 2, 1, 1, 1], 2, 2, id="for good"),
            pytest.param([3, 2.1, 9, 9, 9], [3, 2, 1, 1, 1], 1, 2, id="a little before for good"),
            pytest.param([3, 2, 1, 9, 9], [3, 2, 1, 1, 1], 3, None, id="too late to tell"),
            pytest.param([3, *3 * [math.nan]], [3, 1, 1, 1], 1, 1, id="no number"),
            pytest.param([3, *3 * [math.inf]], [3, 1, 1, 1], 1, 1, id="infinite"),
            pytest.param([3, *3 * [math.nan]], [3, *3 * [math.nan]], None, None, id="neither a number"),
            pytest.param([3, *3 * [-math.inf]], [3, *3 * [math.inf]], 1, 1, id="infinities of two signs"),
        ],
    )
    def test_a_known_answer(self, mine, theirs, first, apart):
        parting = part("b", "a", LOSS, curve(*mine), curve(*theirs))
        assert (parting.first_difference, parting.apart_from) == (first, apart)

    def test_shares_are_held_against_each_other_as_they_are(self):
        mine, theirs = curve(0.01, 0.01, 0.01, 0.2, 0.2, 0.2), curve(0.02, 0.02, 0.02, 0.1, 0.1, 0.1)
        assert part("b", "a", ACCURACY, mine, theirs).apart_from == 3
        assert part("b", "a", LOSS, mine, theirs).apart_from == 0

    def test_only_steps_that_both_recorded_count(self):
        parting = part("b", "a", LOSS, curve(5, 0, 4, 0, 3, every=1), curve(5, 4, 3, every=2))
        assert (parting.common_steps, parting.first_difference) == (3, None)

    def test_runs_without_a_common_step_are_not_apart(self):
        other = Curve(np.array([7, 8, 9]), np.ones(3))
        parting = part("b", "a", LOSS, curve(5, 4, 3), other)
        assert (parting.common_steps, parting.first_difference, parting.apart_from) == (0, None, None)

    def test_one_outlier_of_many_readings_moves_nothing(self):
        mine = np.ones(200)
        theirs = mine.copy()
        theirs[::40] = 9
        assert part("b", "a", LOSS, curve(*mine), curve(*theirs)).apart_from is None

    @given(arrays.arrays(float, (2, 30), elements=st.floats(-1e300, 1e300) | st.just(math.nan)))
    def test_it_does_not_matter_which_is_held_against_which(self, values):
        mine, theirs = curve(*values[0]), curve(*values[1])
        there, back = part("b", "a", LOSS, mine, theirs), part("b", "a", LOSS, theirs, mine)
        assert there == back
        if there.apart_from is not None:
            assert there.first_difference is not None
        assert part("b", "a", LOSS, mine, mine).first_difference is None


def only_curve(comparison):
    """Of the only entry, in the loss."""
    (entry,) = comparison.entries
    return entry.curve(comparison.measures[0])


class TestSeeds:
    def test_runs_of_one_recipe_and_several_seeds_are_one_entry(self, run):
        logs = [run(f"s{seed}", (2, 1, seed + 1.0), {"lr": 0.1, "seed": seed}) for seed in range(3)]
        comparison = side_by_side([*logs, run("other", config={"lr": 0.2, "seed": 0})])
        assert [entry.label for entry in comparison.entries] == ["s0 and 2 more (n = 3)", "other"]
        assert [len(group.runs) for group in comparison.groups] == [3]

    def test_their_mean_has_students_interval(self, run):
        last = np.array([1.0, 2.0, 4.0])
        logs = [run(f"s{seed}", (2, 1, loss), {"seed": seed}) for seed, loss in enumerate(last)]
        comparison = side_by_side(logs)
        outcome = next(outcome for outcome in comparison.outcomes if outcome.measure == "loss")
        expected = stats.t.interval(0.95, 2, loc=last.mean(), scale=stats.sem(last))
        assert outcome.n == 3
        assert outcome.mean == pytest.approx(last.mean())
        np.testing.assert_allclose((outcome.low, outcome.high), expected, rtol=1e-12)
        mean, half = only_curve(comparison)
        np.testing.assert_allclose(mean.values, [2, 1, last.mean()])
        assert half is not None
        np.testing.assert_allclose(half, [0, 0, (expected[1] - expected[0]) / 2], rtol=1e-12, atol=0)

    def test_a_mean_stands_at_the_steps_that_all_recorded(self, run):
        logs = [run(f"s{seed}", range(6), {"seed": seed}, every=seed + 1) for seed in range(2)]
        mean, _ = only_curve(side_by_side(logs))
        assert mean.steps.tolist() == [0, 2, 4]
        assert mean.values.tolist() == [0, 1.5, 3]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param({}, {}, id="no configuration"),
            pytest.param({"lr": 0.1}, {"lr": 0.1}, id="no seed"),
            pytest.param({"seed": 1}, {"seed": 1}, id="the same seed"),
            pytest.param({"seed": 1, "lr": 0.1}, {"seed": 2, "lr": 0.2}, id="another setting too"),
            pytest.param({"seed": 1}, {"seed": 2, "width": 9}, id="one setting more"),
        ],
    )
    def test_what_may_be_another_experiment_stands_by_itself(self, run, first, second):
        assert side_by_side([run("a", config=first), run("b", config=second)]).groups == ()

    def test_another_optimizer_is_another_experiment_whatever_the_configuration_says(self, run):
        adam = replace(MODEL, optimizers=(Optimizer("", "Adam", {"lr": 0.1}),))
        assert (
            side_by_side([run("a", config={"seed": 1}), run("b", config={"seed": 2}, model=adam)]).groups
            == ()
        )

    def test_a_seed_may_stand_anywhere_in_the_configuration(self, run):
        logs = [run(f"s{seed}", config={"data": {"seed": seed}}) for seed in range(2)]
        assert len(side_by_side(logs).groups) == 1


class TestDifferences:
    def test_only_what_differs_is_told(self, run):
        logs = [run("a", config={"lr": 0.1, "width": 4}), run("b", config={"lr": 0.2, "width": 4, "clip": 1})]
        differences = {difference.key: difference.values for difference in side_by_side(logs).differences}
        assert differences == {"lr": ("0.1", "0.2"), "clip": (None, "1")}

    def test_what_was_watched_counts_too(self, run):
        adam = replace(MODEL, optimizers=(Optimizer("", "Adam", {"lr": 0.1}),), layers=MODEL.layers[:1])
        differences = {of.key: of.values for of in side_by_side([run("a"), run("b", model=adam)]).differences}
        assert differences == {
            "watched optimizer.kind": ("SGD", "Adam"),
            "watched layers": ("Linear 4, ReLU 4", "Linear 4"),
        }


class TestNames:
    def test_as_much_of_a_path_as_tells_runs_apart(self, run):
        logs = [run("x/a"), run("y/a"), run("y/b")]
        assert [one.name for one in side_by_side(logs).runs] == ["x/a", "y/a", "y/b"]

    def test_a_file_is_called_like_its_run(self, run):
        log = Log(run("b").path / "log.h5")
        assert [one.name for one in side_by_side([run("a"), log]).runs] == ["a", "b"]

    def test_one_run_twice_is_refused(self, run):
        log = run("a")
        with pytest.raises(ValueError, match=r"needs different runs; .*/a came more than once; name each"):
            side_by_side([log, Log(log.path / "log.h5")])

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_are_refused(self, run, count):
        with pytest.raises(ValueError, match=rf"at least two runs, got {count}; diag\.report"):
            side_by_side([run("a")][:count])


@pytest.fixture
def logs(run):
    """Two seeds, a run that stays behind, and one of hostile words."""
    losses = np.geomspace(2, 0.01, 40)
    stuck = np.where(np.arange(40) < 20, losses, losses[20])
    hostile = Model(
        (Layer(HOSTILE, HOSTILE, (2,)),),
        (Parameter("0.weight", HOSTILE, (2, 2)),),
        (Optimizer("", HOSTILE, {HOSTILE: HOSTILE}),),
    )
    return [
        run("seed-0", losses, {"lr": 0.1, "seed": 0}),
        run("seed-1", losses * 1.01, {"lr": 0.1, "seed": 1}),
        run("stuck", stuck, {"lr": 0.2, "seed": 0}),
        run(f"b|{HOSTILE.replace('/', '')}", [math.nan] * 3, {HOSTILE: f"{HOSTILE} | [x](y)"}, hostile),
    ]


class TestForms:
    def test_the_page_is_well_formed_and_ids_are_unique(self, logs):
        page = Page(to_html(side_by_side(logs)))
        assert page.open == []
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))

    def test_every_figure_describes_itself_and_has_its_numbers(self, logs):
        page = Page(to_html(side_by_side(logs)))
        tags = [element.tag for element in page.elements]
        assert tags.count("figure") == tags.count("svg") == tags.count("details") == tags.count("desc") == 7

    def test_hostile_text_stays_text(self, logs):
        html = to_html(side_by_side(logs))
        assert "<script" not in html.lower()
        page = Page(html)
        assert HOSTILE in page.text
        assert not any(name.startswith("on") for element in page.elements for name in element.attributes)
        outside_code = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", to_markdown(side_by_side(logs)))
        assert "<script" not in outside_code
        assert "[x](" not in outside_code

    def test_it_loads_nothing_and_runs_nothing(self, logs):
        html = to_html(side_by_side(logs))
        assert not re.search(r"@import|url\((?!#)|<(link|iframe|object|embed|base)\b", html)
        assert "default-src 'none'" in html

    def test_seeds_are_one_line_with_a_band_and_keep_their_colour(self, logs):
        html = to_html(side_by_side(logs))
        assert "95 % interval of the mean over seeds" in html
        assert "seed-0 and 1 more (n = 2)" in Page(html).text

    def test_its_first_sentence_tells_where_losses_part(self, logs):
        said = summary(side_by_side(logs[:3]))
        assert said.endswith("In the loss they part for good from seed-0: stuck at step 22.")

    def test_markdown_tables_are_tables(self, logs):
        for table in re.findall(r"(?:^\|.*\n)+", to_markdown(side_by_side(logs)), re.MULTILINE):
            rows = table.strip().splitlines()
            assert len(rows) > 2
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1

    def test_keys_of_the_json_are_the_documented_ones(self, logs, tmp_path):
        path = write_comparison(side_by_side(logs), tmp_path / "deep" / "compare.json")
        told = json.loads(path.read_text(), parse_constant=pytest.fail)
        documented = re.search(
            r"Keys of the object::\n\n(.*?)\n\n", Comparison.to_json.__doc__ or "", re.DOTALL
        )
        assert documented is not None
        assert list(told) == re.findall(r"^ {12}(\w+)", documented[1], re.MULTILINE)
        assert told["groups"] == [{"label": "seed-0 and 1 more (n = 2)", "runs": ["seed-0", "seed-1"]}]

    def test_compare_writes_what_the_suffix_says(self, logs, tmp_path):
        for suffix in (".html", ".md", ".json"):
            assert diag.compare(logs[:2], str(tmp_path / f"c{suffix}")).stat().st_size > 500

    def test_another_suffix_is_refused(self, logs, tmp_path):
        with pytest.raises(ValueError, match=r"ends in \.html, \.md, \.json; it got 'c\.pdf'"):
            diag.compare(logs, tmp_path / "c.pdf")

    def test_runs_without_anything_recorded_have_a_page_too(self, tmp_path):
        for name in ("a", "b"):
            LogWriter(tmp_path / name, describe=Model).close()
        html = to_html(side_by_side([Log(tmp_path / "a"), Log(tmp_path / "b")]))
        assert "no series that a figure is made of" in html
        assert "No measure is in two logs" in html
