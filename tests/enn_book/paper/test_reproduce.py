"""``python -m enn_book reproduce``: the paper's figures as files, and beside each the numbers it shows."""

import csv
import re

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from enn_book.__main__ import main
from enn_book.paper.reproduce import FIGURES, Experiment, figure_3, figure_6, reproduce
from enn_lib import ARGON, load_run, simulate
from enn_lib.argon import generate_data
from enn_lib.dynamics import paper_initial_conditions, rmsd_energy, rmsd_positions
from enn_lib.evaluation import force_fields

KINDS = ("png", "pdf", "csv")


@pytest.fixture(scope="module")
def experiment():
    """The shipped runs on a handful of configurations and steps."""
    return Experiment(load_run("reference"), load_run("paper"), n_test=20, n_samples=2, n_steps=12)


@pytest.fixture(scope="module")
def folder(experiment, tmp_path_factory):
    """All figures of that experiment."""
    folder = tmp_path_factory.mktemp("figures") / "new" / "one"
    list(reproduce(experiment, folder))
    return folder


def read(path):
    """A CSV file as one list of strings a column."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return {name: [row[k] for row in rows] for k, name in enumerate(header)}


def numbers(column):
    return torch.tensor([float(entry) for entry in column], dtype=torch.float64)


def test_every_figure_of_the_paper_is_written_as_picture_print_and_numbers(folder):
    wanted = {f"figure-{number}.{kind}" for number in range(1, 8) for kind in KINDS}
    assert {path.name for path in folder.iterdir()} == wanted


@pytest.mark.parametrize("number", FIGURES)
def test_a_picture_is_a_whole_png_and_not_blank(folder, number):
    with Image.open(folder / f"figure-{number}.png") as image:
        assert image.format == "PNG"
        image.load()
        assert min(image.size) >= 400
        assert len(image.convert("L").getcolors()) > 20


@pytest.mark.parametrize("number", FIGURES)
def test_a_print_is_a_whole_pdf_of_one_page(folder, number):
    content = (folder / f"figure-{number}.pdf").read_bytes()
    assert content.startswith(b"%PDF-1.")
    (start,) = re.findall(rb"startxref\n(\d+)\n%%EOF\n$", content)
    assert content[int(start) :].startswith(b"xref")
    assert re.findall(rb"/Count (\d+)", content) == [b"1"]


def test_figure_1_is_the_energy_of_a_pair(folder):
    table = read(folder / "figure-1.csv")
    distance, energy = numbers(table["distance_A"]), numbers(table["energy_eV"])
    assert torch.equal(energy, ARGON.pair_energy(distance))
    assert distance[0] < 2.8 < 2 ** (1 / 6) * ARGON.r0 < distance[-1]


def test_figure_2_is_the_history_of_both_runs(folder, experiment):
    table = read(folder / "figure-2.csv")
    assert dict.fromkeys(table["run"]) == dict.fromkeys(["paper", "reference"])
    for run in (experiment.protocol, experiment.reference):
        rows = [k for k, name in enumerate(table["run"]) if name == run.name]
        for column in table.keys() - {"run"}:
            assert [float(table[column][k]) for k in rows] == run.history[column]
    assert "seconds" not in table, "they are of one machine, and not drawn"


def test_figure_3_is_every_force_component_of_the_test_configurations(folder, experiment):
    table = read(folder / "figure-3.csv")
    config = experiment.reference.config
    test = generate_data(config.n_configurations, config.data_seed).test
    assert torch.equal(numbers(table["analytic_eV_per_A"]), test.forces[:20].flatten())
    for name, field in force_fields(experiment.reference).items():
        column = numbers(table[f"{name.replace(' ', '_')}_eV_per_A"])
        assert torch.equal(column, field.forces(test.positions[:20]).flatten())


@pytest.mark.parametrize(
    ("number", "unit", "deviation"), [(4, "A", rmsd_positions), (6, "eV", rmsd_energy)], ids=["4", "6"]
)
def test_figures_4_and_6_are_the_deviations_of_the_dynamics(folder, experiment, number, unit, deviation):
    table = read(folder / f"figure-{number}.csv")
    start = paper_initial_conditions(2)
    analytic = simulate(ARGON, *start, 12)
    assert table["step"] == [str(step) for step in range(13)]
    for name, field in force_fields(experiment.reference).items():
        column = numbers(table[f"{name.replace(' ', '_')}_{unit}"])
        assert torch.equal(column, deviation(analytic, simulate(field, *start, 12)))
        assert column[0] == 0 < column[-1]


@pytest.mark.parametrize(
    ("number", "unit", "series"),
    [(5, "A", lambda t: t.positions[:, 0, 0, 0]), (7, "eV", lambda t: t.total_energy()[:, 0])],
    ids=["5", "7"],
)
def test_figures_5_and_7_are_the_first_sample_analytic_and_predicted(
    folder, experiment, number, unit, series
):
    table = read(folder / f"figure-{number}.csv")
    start = paper_initial_conditions(2)
    for name, field in {"analytic": ARGON, **force_fields(experiment.reference)}.items():
        column = numbers(table[f"{name.replace(' ', '_')}_{unit}"])
        assert torch.equal(column, series(simulate(field, *start, 12)))


def test_a_repeated_run_gives_the_same_bytes(folder, experiment, tmp_path):
    again = Experiment(load_run("reference"), load_run("paper"), n_test=20, n_samples=2, n_steps=12)
    list(reproduce(again, tmp_path))
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_size_is_the_paper_s_if_nothing_is_said_and_small_on_request(experiment):
    full = Experiment(experiment.reference, experiment.protocol)
    assert (len(full.test), full.n_samples, full.n_steps) == (20_000, 10, 10_000)
    small = full.small()
    assert (len(small.test), small.n_samples, small.n_steps) == (500, 3, 300)
    assert torch.equal(small.test.forces, full.test.forces[:500]), "of the test part, not of another"


def test_the_numbers_of_figure_3_give_the_error_that_was_measured(experiment, monkeypatch):
    """At full size, for the network alone, which takes seconds: the RMSD of metrics.json."""
    monkeypatch.setattr("enn_book.paper.reproduce.force_fields", lambda run: {"network": run.force_field})
    _, table = figure_3(Experiment(experiment.reference, experiment.protocol))
    error = table["network_eV_per_A"] - table["analytic_eV_per_A"]
    stored = experiment.reference.metrics["test"]["network"]["rmsd_component"]
    assert error.square().mean().sqrt().item() == pytest.approx(stored, rel=1e-6)


def test_what_is_drawn_is_what_is_written(experiment):
    figure, table = figure_6(experiment)
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert torch.equal(torch.as_tensor(drawn["network"]), table["network_eV"])
    assert torch.equal(torch.as_tensor(drawn["S4 average"]), table["S4_average_eV"])
    assert not plt.get_fignums()


# The command


def test_one_figure_by_command_is_its_three_files(tmp_path, capsys):
    assert main(["reproduce", "--figure", "1", "--quick", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / f"figure-1.{k}") for k in KINDS]
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_command_draws_a_run_of_one_s_own(small_run, tmp_path):
    command = ["reproduce", "--quick", "--figure", "2", "3", "--run", str(small_run), "--out", str(tmp_path)]
    assert main(command) == 0
    assert set(read(tmp_path / "figure-2.csv")["run"]) == {"paper", "small"}
    assert len(read(tmp_path / "figure-3.csv")["network_eV_per_A"]) == 40 * 12, "all it has, which is less"


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one_whole(experiment, tmp_path, monkeypatch):
    list(reproduce(experiment, tmp_path, [1]))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(self, part, **kwargs):
        part.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="the disk is full"):
        list(reproduce(experiment, tmp_path, [1]))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
