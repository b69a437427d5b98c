"""What the book says to cite is what CITATION.cff says, and what it cites can be found."""

import pytest
import yaml
from citation import as_bibtex, as_text, read_citations, write_citations
from pages import ROOT
from pybtex.database import parse_file, parse_string

CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
REFERENCES = parse_file(ROOT / "book" / "references.bib").entries


def plain(text: str) -> str:
    """A title without BibTeX's braces, in lower case."""
    return text.replace("{", "").replace("}", "").lower()


@pytest.mark.parametrize("name", ["paper", "project"])
def test_bibtex_reads_back_what_the_citation_file_says(name):
    source = CFF["preferred-citation"] if name == "paper" else CFF
    entry = parse_string(as_bibtex("key", read_citations()[name]), "bibtex").entries["key"]
    assert plain(entry.fields["title"]) == source["title"].lower()
    for person, author in zip(entry.persons["author"], source["authors"], strict=True):
        if "name" in author:
            assert plain(str(person)) == author["name"].lower()
        else:
            assert " ".join(person.last_names) == author["family-names"]
            assert " ".join(person.first_names + person.middle_names) == author["given-names"]
    if name == "paper":
        assert entry.fields["doi"] == source["doi"]
        assert entry.fields["year"] == str(source["year"])
    else:
        assert entry.fields["note"].startswith(f"Version {source['version']}")
        assert ("not released" in entry.fields["note"]) == ("date-released" not in source)
        assert entry.fields["url"] == CONFIG["repository"]["url"]


@pytest.mark.parametrize("name", ["paper", "project"])
def test_the_citation_in_words_has_who_what_when_and_where(name):
    entry = read_citations()[name]
    text = as_text(entry)
    assert "{" not in text
    for person in entry.persons["author"]:
        assert plain(" ".join(person.last_names)) in text.lower()
    assert plain(entry.fields["title"]) in text.lower()
    assert entry.fields["year"] in text
    assert entry.fields.get("doi", entry.fields.get("url")) in text


def test_a_release_gives_its_date_and_its_doi_to_the_citation(tmp_path):
    (tmp_path / "_config.yml").write_text(
        (ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    released = {**CFF, "version": "2.0.0", "date-released": "2031-05-06", "doi": "10.5281/zenodo.1"}
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(released), encoding="utf-8")
    fields = read_citations(tmp_path)["project"].fields
    assert (fields["year"], fields["doi"]) == ("2031", "10.5281/zenodo.1")
    assert fields["note"] == "Version 2.0.0"


def test_the_bibliography_cites_the_paper_as_the_citation_file_does():
    cited, ours = REFERENCES["ma2023"], read_citations()["paper"]
    assert plain(cited.fields["title"]) == plain(ours.fields["title"])
    assert list(map(str, cited.persons["author"])) == list(map(str, ours.persons["author"]))
    for field in ("year", "doi", "journal"):
        assert cited.fields[field] == ours.fields[field]


def test_the_files_that_the_page_shows_are_those_that_are_written(tmp_path):
    write_citations(tmp_path / "citations")
    written = {f"citations/{path.name}" for path in (tmp_path / "citations").iterdir()}
    page = (ROOT / "book" / "cite.md").read_text(encoding="utf-8")
    assert {line.split()[1] for line in page.splitlines() if "include}" in line} == written


@pytest.mark.parametrize("key", REFERENCES)
def test_every_reference_says_where_it_can_be_found(key):
    fields = REFERENCES[key].fields
    assert fields.get("doi", "").startswith("10.") or fields.get("url", "").startswith("https://")
