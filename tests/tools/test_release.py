"""What is released says the same everywhere: version, title, authors, licence, and the works it rests on."""

import json
import re
import tomllib

import pytest
import yaml
from pages import ROOT, project_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASES = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", CHANGELOG, re.MULTILINE)


def test_the_version_is_the_same_in_all_files():
    assert PROJECT["version"] == str(CITATION["version"]) == ZENODO["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+" if RELEASES[1:] else r"\d+\.\d+\.\d+\.dev0", PROJECT["version"])


def test_title_and_summary_are_those_of_the_citation():
    assert ZENODO["title"] == CITATION["title"]
    assert ZENODO["description"] == CITATION["abstract"]
    assert ZENODO["keywords"] == CITATION["keywords"]
    assert ZENODO["upload_type"] == CITATION["type"] == "software"


def test_the_authors_are_those_of_the_citation():
    names = [
        author.get("name") or f"{author['family-names']}, {author['given-names']}"
        for author in CITATION["authors"]
    ]
    assert [creator["name"] for creator in ZENODO["creators"]] == names
    orcids = [author.get("orcid", "").removeprefix("https://orcid.org/") for author in CITATION["authors"]]
    assert [creator.get("orcid", "") for creator in ZENODO["creators"]] == orcids


def test_what_is_released_names_people():
    """Until then the authors are those of the history, which GitHub shows."""
    assert "date-released" not in CITATION or all("family-names" in one for one in CITATION["authors"])


def test_the_licence_is_the_same_in_all_files():
    assert PROJECT["license"] == CITATION["license"] == ZENODO["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "Attribution 4.0" in (ROOT / "LICENSE-text").read_text(encoding="utf-8")
    assert "CC BY 4.0" in ZENODO["notes"]


def test_the_archive_names_the_works_that_the_citation_names():
    named = {item["identifier"]: item["relation"] for item in ZENODO["related_identifiers"]}
    assert named == {
        CITATION["preferred-citation"]["doi"]: "isSupplementTo",
        **{work["doi"]: "references" for work in CITATION["references"]},
    }


def test_the_changelog_begins_with_what_is_not_released_and_then_has_this_version():
    (first, date), *released = RELEASES
    assert (first, date) == ("Unreleased", "")
    if released:
        assert released[0][0] == PROJECT["version"]
        assert str(CITATION["date-released"]) == released[0][1]
    else:
        assert f"this will be {PROJECT['version'].removesuffix('.dev0')}." in CHANGELOG
        assert "date-released" not in CITATION


def test_releases_are_dated_and_the_newest_stands_first():
    dates = [date for _, date in RELEASES[1:]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)
    assert dates == sorted(dates, reverse=True)


def test_a_section_of_the_changelog_has_a_heading_of_the_form():
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known limits"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= known


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "RELEASING.md", "CODE_OF_CONDUCT.md"])
def test_a_guide_names_only_what_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:[\w.]+/)*[\w.*-]+\.(?:md|py|toml|yml|json|cff|txt))`", text):
        assert [*ROOT.glob(path), *ROOT.glob(f"*/{path}"), *ROOT.glob(f"*/*/{path}")], path


def test_the_tour_names_every_folder_of_the_repository():
    folders = {name.split("/")[0] for name in project_files() if "/" in name}
    tour = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {folder for folder in folders if f"`{folder}/" not in tour} == set()
