"""The study of FIRE on whole batches: that it comes out again, and that it shows what is said of it."""

import math
import re
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from enn_book.paper.claims import EVEN_RISE, largest_rise
from enn_book.studies.fire import study as fire
from enn_book.studies.fire.figures import plot_courses, plot_ends, plot_panels, times_apart
from enn_book.studies.fire.study import COLUMNS, METHODS, descend, grouped, method_config, record_name
from enn_book.studies.study import load
from enn_lib.argon import generate_data

SMALL = {"n_configurations": 100, "iterations": 12, "compile": False}


@pytest.fixture(scope="module")
def groups():
    return grouped(load("fire"))


def trials(ends):
    """Records of trials of one method, as `best_step` needs them: an end by step of the grid."""
    return {record_name("adam", k): {"end": end} for k, end in ends.items()}


# The records


@pytest.mark.parametrize(
    ("name", "iterations"),
    [
        ("printed.0.01.1", 25),
        ("fire2.0.01.1", 25),
        ("adam.0.01.1", 25),
        ("soft-ase.0.01.2", 25),
        ("soft-alpha-abc.0.01.1", 25),
        ("all-soft-ase.0.01.1", 3),
    ],
)
def test_the_first_rows_of_a_record_come_out_again(name, iterations):
    """As far as float32 goes: the records were compiled, these are not."""
    record = load("fire")[name]
    settings = {key: value for key, value in record.config.items() if key not in ("compile", "iterations")}
    rows = descend(fire.WholeBatch(**settings, compile=False, iterations=iterations)).tables[""][1]
    if iterations == 25:  # which is logged only because it is the last
        rows.pop()
    for column, again in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        tolerance = 0.03 if column == "smallest_norm" else 1e-3
        assert record.table()[column][: len(rows)] == pytest.approx(again, rel=tolerance), column


def test_the_records_are_those_that_the_plan_names():
    records = load("fire")
    assert set(fire.plan(records, None)) == set(records)


def test_the_losses_of_all_iterations_are_kept_but_for_rates_that_were_not_used():
    records = load("fire")
    few = {name: record for name, record in records.items() if not name.startswith("all-")}
    kept = {name for name in few if (records.folder / f"{name}.safetensors").exists()}
    assert kept == {name for name, record in few.items() if fire.keeps_losses(records, record)}


def values(groups, names, key):
    """One measure of all trainings of some groups."""
    return [record[key] for name in names for record in groups[name].values()]


def test_the_verdict_of_the_readme_on_the_literal_network_holds(groups):
    for name, low, high in (
        ("printed.0.01", 0.45, 0.60),
        ("velocity-first.0.01", 0.0067, 0.022),
        ("velocity-first.0.035", 7.0e-4, 0.0022),
        ("gradient-descent.0.1", 0.0099, 0.027),
        ("nesterov.0.1", 0.0014, 0.0023),
    ):
        ends = values(groups, [name], "end")
        assert (len(ends), min(ends), max(ends)) == (6, *map(partial(pytest.approx, rel=0.02), (low, high)))
    early = [f"{method}.0.01" for method in fire.EARLY]
    assert 0.585 < min(values(groups, early, "end")) < max(values(groups, early, "end")) < 0.865
    assert max(values(groups, early, "rise")) < EVEN_RISE
    assert EVEN_RISE < max(values(groups, ["velocity-first.0.01"], "rise")) + 1 < 3.1
    rivals = values(groups, ["gradient-descent.0.1", "nesterov.0.1", "adam.0.01"], "rise")
    assert (min(rivals), max(rivals)) == pytest.approx((12.4, 842), rel=0.01)


def test_the_verdict_of_the_readme_on_the_softened_network_holds(groups):
    calm = ["soft-ase.0.01", "soft-fire2.0.01"]
    assert set(values(groups, calm, "rise")) == {0}
    assert 0.00219 < min(values(groups, calm, "end")) < max(values(groups, calm, "end")) < 0.00265
    assert {len(stops) for stops in values(groups, calm, "stops")} == {3, 5}
    assert min(values(groups, ["soft-abc.0.01"], "end")) > 0.3
    mixed = ["soft-alpha-ase.0.01", "soft-alpha-fire2.0.01"]
    assert 0.00195 < min(values(groups, mixed, "end")) < max(values(groups, mixed, "end")) < 0.00705
    assert 1e-4 < max(values(groups, mixed, "rise")) < 2.5e-4
    stops = sorted(len(found) for found in values(groups, mixed, "stops"))
    assert (stops[0], stops[-1]) == (2, 113)
    ends = values(groups, ["soft-alpha-abc.0.01"], "end")
    assert (min(ends), max(ends)) == pytest.approx((0.101, 0.273), abs=1e-3)
    overshoots = ["soft-abc.0.01", "soft-alpha-abc.0.01"]
    assert min(len(stops) for stops in values(groups, overshoots, "stops")) > 220
    assert min(values(groups, ["soft-velocity-first.0.01"], "end")) > 0.4
    assert min(values(groups, ["soft-nesterov.0.1", "soft-adam.0.01"], "rise")) > 12
    assert min(values(groups, ["soft-nesterov.0.029", "soft-adam.0.0029"], "rise")) > 9


@pytest.mark.parametrize(
    ("group", "suffix", "first", "last"),
    [
        ("velocity-first.0.035", ".again", 73, 91),
        ("velocity-first.0.035", ".same-stops", 73, 91),
        ("soft-velocity-first.0.035", ".again", 481, 682),
        ("soft-velocity-first.0.035", ".same-stops", 481, 682),
        ("soft-ase.0.01", ".again", None, None),
    ],
)
def test_two_roundings_part_when_the_readme_says(group, suffix, first, last):
    records = load("fire")
    for seed in range(3):
        both = [records[f"{group}.{seed}{end}"].weights()["losses"].tolist() for end in ("", suffix)]
        apart = times_apart(*both)
        if first is None:
            assert apart[-1] < 1.003
        else:
            assert first <= next(k for k, factor in enumerate(apart) if factor > 1.05) <= last


# The parts


def test_the_second_step_of_the_grid_is_the_sum_of_eq_43_in_place_of_the_mean():
    changes = SMALL | {"dtype": "float64"}
    summed = replace(method_config("velocity-first", **changes), loss="sum")
    one, other = (descend(c) for c in (method_config("velocity-first", 1, **changes), summed))
    losses, sums = one.weights["losses"], other.weights["losses"]
    torch.testing.assert_close(losses[:-1], sums[:-1] / 12, rtol=1e-5, atol=0)


def test_a_loss_is_kept_of_every_iteration_and_of_the_end():
    outcome = descend(method_config("nesterov", -1, **SMALL))
    losses, rows = outcome.weights["losses"], outcome.tables[""][1]
    assert len(losses) == SMALL["iterations"] + 1
    for row in rows:
        assert losses[int(row[0])].item() == pytest.approx(row[1], rel=1e-5)
    assert outcome.measured["rise"] == pytest.approx(largest_rise(losses.tolist()), rel=1e-5)


def test_every_method_is_another_training():
    configs = [method_config(method, 2 if method in fire.ORDERS else -1, **SMALL) for method in METHODS]
    ends = [descend(config).weights["losses"][-1].item() for config in configs]
    assert len(set(ends)) == len(METHODS)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method: got 'newton', wanted one of printed, velocity-first"):
        method_config("newton")


def test_alpha_is_that_of_the_start_and_after_a_stop_and_a_tenth_unless_given():
    data = generate_data(100, 2208)
    for changes, alpha in (({}, 0.1), ({"alpha": 0.25}, 0.25), ({"alpha": 0.25, "stops": (3,)}, 0.25)):
        (group,) = fire.start(method_config("abc", **SMALL, **changes), data).optimiser.param_groups
        assert (group["alpha"], group["alpha_start"]) == (alpha, alpha)


def test_a_seed_changes_network_and_data():
    config = method_config("ase", seed=2)
    assert (config.seed, config.data_seed) == (2, 2210)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rival_with_momentum_is_torch_s(momentum):
    data = generate_data(100, 2208)
    config = replace(method_config("nesterov", **SMALL), momentum=momentum)
    (group,) = fire.start(config, data).optimiser.param_groups
    assert (group["momentum"], group["nesterov"], group["lr"]) == (momentum, momentum > 0, 0.1)


def test_as_many_stops_are_counted_as_the_time_step_was_halved():
    config = method_config("ase", n_configurations=50, iterations=60, compile=False, fire_dt_max=0.5)
    trainer = fire.start(config, generate_data(50, config.data_seed))
    steps = [config.fire_dt]
    for _ in range(60):
        trainer.step()
        steps.append(trainer.optimiser.param_groups[0]["dt"])
    halved = [k for k, (before, after) in enumerate(pairwise(steps), 1) if after == 0.5 * before]
    assert descend(config).measured["stops"] == halved
    assert halved


def test_the_stops_of_a_training_given_to_it_again_change_nothing():
    config = method_config(
        "velocity-first", n_configurations=50, iterations=60, compile=False, fire_dt_max=0.3
    )
    first = descend(config)
    again = descend(replace(config, stops=tuple(first.measured["stops"])))
    assert first.measured == again.measured
    assert first.measured["stops"]


def test_given_stops_are_taken_whatever_the_sign_of_the_power():
    config = method_config("velocity-first", **SMALL)
    assert descend(config).measured["stops"] == []
    assert descend(replace(config, stops=(4, 9))).measured["stops"] == [4, 9]


def test_a_training_that_diverges_ends_early_and_is_never_the_best():
    diverged = descend(method_config("gradient-descent", **SMALL | {"iterations": 300, "learning_rate": 1e6}))
    assert diverged.measured["end"] == math.inf
    assert len(diverged.weights["losses"]) < 300
    assert fire.best_step(trials({-1: 0.5, 0: 0.4, 1: math.inf}), "adam") == ([-1, 0, 1], 0)


@pytest.mark.parametrize(
    ("ends", "tried", "best"),
    [
        ({}, [-1, 0, 1], None),
        ({-1: 3, 0: 2}, [-1, 0, 1], None),
        ({-1: 3, 0: 2, 1: 1}, [-1, 0, 1, 2], None),
        ({-1: 3, 0: 2, 1: 1, 2: 4}, [-1, 0, 1, 2], 1),
        ({-1: 1, 0: 2, 1: 3}, [-2, -1, 0, 1], None),
    ],
)
def test_rates_are_tried_until_the_best_has_a_worse_one_on_either_side(ends, tried, best):
    assert fire.best_step(trials(ends), "adam") == (tried, best)


def test_only_the_losses_of_a_worse_rate_are_dropped_and_only_when_the_best_is_known():
    three = trials({-1: 3, 0: 1, 1: 2})
    two = {name: three[name] for name in list(three)[:2]}
    kept = {
        len(records): [fire.keeps_losses(records, SimpleNamespace(name=name)) for name in records]
        for records in (two, three)
    }
    assert kept == {2: [True, True], 3: [False, True, False]}


def test_records_are_grouped_by_what_is_trained():
    names = ("soft-ase.0.01.2", "soft-ase.0.01.0.again", "adam.0.0029.1", "ase.0.01.0.same-stops")
    found = grouped(dict.fromkeys(names))
    assert {name: [*group] for name, group in found.items()} == {
        "soft-ase.0.01": ["2", "0.again"],
        "adam.0.0029": ["1"],
        "ase.0.01.same-stops": ["0"],
    }


# The figure


def test_two_courses_are_apart_by_the_largest_factor_so_far():
    assert times_apart([1, 2, 8, 3], [1, 1, 2, 3]) == pytest.approx([1, 2, 4, 4])
    assert times_apart([1, 1], [1, 3]) == times_apart([1, 3], [1, 1])


def test_a_course_is_drawn_without_iteration_zero_and_named_once():
    axes = plot_courses(
        {"one": [([0, 10, 30], [1.0, 0.5, 0.2])] * 2, "two": [([1, 2], [3, 4])]}, ylabel="loss"
    ).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[10, 0.5], [30, 0.2]]
    assert axes.lines[2].get_xydata().tolist() == [[1, 3], [2, 4]]
    assert axes.get_legend_handles_labels()[1] == ["one", "two"]


def test_each_of_four_methods_has_a_panel_on_the_same_axes():
    course = (range(30), [1 / (k + 1) for k in range(30)])
    colors = ["red", "red", "green", "blue"]
    panels = plot_panels({name: [course] * 3 for name in "abcd"}, colors=colors, ylabel="ratio").axes
    assert [panel.get_ylabel() for panel in panels] == ["ratio", "", "ratio", ""]
    assert [panel.get_title() for panel in panels] == [*"abcd"]
    assert {panel.get_ylim() for panel in panels} == {panels[0].get_ylim()}
    assert all(list(line.get_xdata()) == list(range(30)) for panel in panels for line in panel.lines)
    assert [{line.get_color() for line in panel.lines} for panel in panels] == [{c} for c in colors]


def test_ends_and_rises_are_dots_in_the_row_of_their_method_and_the_pale_ones_come_first():
    left, right = plot_ends({"one": [(0.1, 2), (0.2, 3)], "two": [(0.3, 4)]}, {"two": [(0.5, 6)]}).axes
    assert [line.get_xydata().tolist() for line in left.lines] == [
        [[0.1, 0], [0.2, 0]],
        [[0.5, 1]],
        [[0.3, 1]],
    ]
    assert [line.get_xdata().tolist() for line in right.lines] == [[2, 3], [6], [4]]
    assert [line.get_fillstyle() for line in left.lines] == ["full", "none", "full"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["one", "two"]
    assert left.get_ylim() == (1.5, -0.5)


def test_more_methods_than_can_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="methods: got 7 courses, wanted 1 to 6"):
        plot_courses({name: [([1], [1.0])] for name in "abcdefg"}, ylabel="loss")


def test_with_brake_and_mixing_early_the_parts_train_as_the_order_of_ase_does():
    whole = method_config("ase", 1, **SMALL)
    parts = method_config("velocity-first", 1, early=("brake", "mixing"), **SMALL)
    late = method_config("velocity-first", 1, early=(), **SMALL)
    for one, other in ((parts, whole), (late, replace(late, early=None))):
        assert descend(one).weights["losses"].equal(descend(other).weights["losses"])


def test_early_mixing_carries_the_descent_and_an_early_brake_freezes_the_literal_network():
    ends, rises, stops = (
        {
            name: [record[key] for record in group.values()]
            for name, group in grouped(load("fire")).items()
            if re.fullmatch("(soft-)?(brake-early|mixing-early|velocity-first|ase).0.01", name)
        }
        for key in ("end", "rise", "stops")
    )
    assert min(ends["brake-early.0.01"]) > 0.8
    assert max(ends["mixing-early.0.01"]) < 7e-4 < min(ends["velocity-first.0.01"]) / 5
    assert 0.2 < min(rises["mixing-early.0.01"]) < max(rises["mixing-early.0.01"]) < 1.4
    assert min(ends["soft-brake-early.0.01"]) > 0.4 < min(ends["soft-velocity-first.0.01"])
    assert max(ends["soft-mixing-early.0.01"]) < 0.003
    assert max(ends["soft-ase.0.01"]) < 0.003
    assert max(rises["soft-mixing-early.0.01"] + rises["soft-brake-early.0.01"]) < 0.005
    assert max(len(found) for found in stops["soft-mixing-early.0.01"]) == 3
