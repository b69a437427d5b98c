"""The mechanism of the studies: it runs what is missing, records it, and reads every record that is there."""

import math
import re
from dataclasses import asdict, dataclass, replace

import pytest
import torch

from enn_book.studies.study import Outcome, Records, Study, best, find, listing, load, study_names


@dataclass(frozen=True)
class Toy:
    """The configuration of a run that takes no time."""

    x: float
    steps: int = 3


def run_toy(config: Toy) -> Outcome:
    rows = [(step, config.x * step) for step in range(config.steps)]
    return Outcome({"error": config.x}, {"": (("step", "y"), rows), "tail": (("step", "y"), rows[-1:])})


def plan_toy(records, length):
    trials = {f"trial-{x:g}": Toy(x, int(length)) for x in (0.5, 0.25)}
    if set(trials) - set(records):
        return trials
    chosen = best((records[name] for name in trials), "error").config["x"]
    return trials | {"long": Toy(chosen, 10 * int(length))}


TOY = Study("Is it a toy?", plan_toy, run_toy, length=3, unit="steps")


def test_what_is_planned_is_run_and_the_choice_follows_from_the_trials(tmp_path):
    records = TOY.repeat(tmp_path / "new")
    assert list(records) == ["long", "trial-0.25", "trial-0.5"]
    assert records["long"].config == {"x": 0.25, "steps": 30}
    assert records["long"].table()["y"][-1] == 0.25 * 29
    assert records["trial-0.25"].table("tail") == {"step": [2], "y": [0.5]}


def test_a_record_says_how_it_was_made(tmp_path):
    record = TOY.repeat(tmp_path)["long"]
    assert record["error"] == 0.25
    assert record["provenance"]["versions"]["torch"]
    assert record["provenance"]["hardware"]["cores"]
    assert record.seconds >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["provenance"]["date"])


def test_records_that_are_there_stay(tmp_path):
    TOY.repeat(tmp_path, names=["trial-0.5"])
    (tmp_path / "trial-0.5.csv").write_text("step,y\n0,7\n", encoding="utf-8")
    assert TOY.repeat(tmp_path)["trial-0.5"].table()["y"] == [7]


def test_a_run_that_was_killed_before_its_json_is_run_again(tmp_path):
    TOY.repeat(tmp_path, names=["trial-0.5"])
    (tmp_path / "trial-0.5.json").unlink()
    assert "trial-0.5" not in Records(tmp_path)
    assert "trial-0.5" in TOY.repeat(tmp_path, names=["trial-0.5"])


def test_a_budget_that_is_spent_begins_nothing(tmp_path):
    assert not TOY.repeat(tmp_path, budget=0)


def test_runs_have_the_length_they_are_told_and_the_changes(tmp_path):
    assert TOY.repeat(tmp_path, length=5)["long"].config["steps"] == 50
    assert TOY.repeat(tmp_path / "other", x=2.0)["trial-0.5"]["error"] == 2


@pytest.mark.parametrize(
    "values",
    [{"length": 0.0}, {"length": math.nan}, {"length": math.inf}, {"budget": -1}, {"budget": math.nan}],
)
def test_a_length_or_a_budget_out_of_its_range_is_refused(values, tmp_path):
    ((name, value),) = values.items()
    with pytest.raises(ValueError, match=f"^{name}: got {value:g}, wanted "):
        TOY.repeat(tmp_path / "records", **values)
    assert not (tmp_path / "records").exists()


def test_a_length_that_the_study_has_not_and_a_run_that_is_not_planned_are_refused(tmp_path):
    with pytest.raises(ValueError, match="length: got 4, wanted none"):
        replace(TOY, length=None).repeat(tmp_path, length=4)
    with pytest.raises(ValueError, match=r"name: got 'short', wanted one of trial-0\.5, trial-0\.25"):
        TOY.repeat(tmp_path, names=["short"])


def test_weights_that_are_not_kept_go_at_the_end(tmp_path):
    def run(config):
        return Outcome({"error": config.x}, weights={"w": torch.ones(2)})

    study = replace(TOY, run=run, keeps=lambda records, record: record.name == "long")
    records = study.repeat(tmp_path)
    assert records["long"].weights()["w"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["long.safetensors"]


def test_the_best_of_some_records_is_no_diverged_one(tmp_path):
    records = TOY.repeat(tmp_path)
    records["long"].values["error"] = None
    assert best(records.values(), "error").name == "trial-0.25"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="study: got 'luck', wanted one of augmentation"):
        find("luck")
    with pytest.raises(FileNotFoundError, match="got no records, wanted those of the study choices"):
        load("choices", tmp_path)
    with pytest.raises(KeyError, match="got no record luck, wanted one of"):
        load("choices")["luck"]


every_study = pytest.mark.parametrize("name", study_names())


def readme(name):
    """What a study says of itself."""
    return (load(name).folder.parent / "README.md").read_text(encoding="utf-8")


def test_the_listing_has_a_line_for_each_study_with_its_question():
    for line, name in zip(listing().splitlines()[1:], study_names(), strict=True):
        assert line.split()[:2] == [name, str(len(load(name)))]
        assert line.endswith(find(name).question)


# Every study that comes with the book


@every_study
def test_every_record_can_be_read_and_is_that_of_its_plan(name):
    records = load(name)
    planned = find(name).plan(records, find(name).length)
    assert set(planned) == set(records)
    for key, record in records.items():
        known = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(planned[key]).items()}
        assert known | record.config == known, key
        assert {"versions", "hardware", "git_commit"} <= set(record["provenance"]), key
        if (records.folder / f"{key}.csv").exists():
            assert all(record.table().values()), key


@every_study
def test_the_records_of_a_study_are_small(name):
    size = {"fire": 2.1, "minutes": 2.3, "nbody": 4, "peers": 3, "long_run": 1.3, "liquid": 2}.get(name, 1)
    assert sum(file.stat().st_size for file in load(name).folder.rglob("*")) < 1e6 * size


@every_study
def test_the_readme_of_a_study_says_what_a_stranger_asks(name):
    parts = re.findall(r"^\*\*(.+?)\.\*\*", readme(name), re.MULTILINE)
    wanted = ["Question", "Command", "How", "Seeds and spread", "Tuned on what", "Verdict"]
    assert parts == [*wanted, "What did not work", "Date and machine", "Numbers"]
    text = " ".join(readme(name).split())
    assert find(name).question in text
    assert f"`python -m enn_book study {name} --out DIR" in text
    assert f"{len(load(name))} records" in text


@every_study
def test_the_numbers_of_a_readme_are_those_of_its_records(name):
    assert readme(name).endswith(f"\n\n{find(name).summary(load(name))}\n")
