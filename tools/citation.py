"""How to cite the paper and this project, in BibTeX and in words, made of ``CITATION.cff``.

The page *How to cite* shows the files that `write_citations` puts beside it, so that it cannot disagree
with what GitHub and Zenodo read.
"""

from pathlib import Path

import yaml
from pages import ROOT, book_settings
from pybtex.backends.markdown import Backend
from pybtex.database import BibliographyData, Entry, Person
from pybtex.style.formatting.unsrt import Style


def read_citations(root: Path = ROOT) -> dict[str, Entry]:
    """The entries "paper" and "project" of a bibliography, from ``CITATION.cff``.

    The project's address and, until it has been released, its year are those of ``_config.yml``.
    """
    cff = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    config = book_settings(root)
    paper = cff["preferred-citation"]
    (number,) = [item["value"] for item in paper["identifiers"] if item["value"].startswith("arXiv:")]
    return {
        "paper": Entry(
            "article",
            {
                "title": f"{{{paper['title']}}}",
                "journal": f"arXiv preprint {number}",
                "year": str(paper["year"]),
                "doi": paper["doi"],
            },
            {"author": _people(paper["authors"])},
        ),
        "project": Entry(
            "misc",
            {
                "title": f"{{{cff['title']}}}",
                "year": str(cff.get("date-released", config["copyright"]))[:4],
                "note": f"Version {cff['version']}{'' if 'date-released' in cff else ', not released yet'}",
                **({"doi": cff["doi"]} if "doi" in cff else {}),
                "url": config["repository"]["url"],
            },
            {"author": _people(cff["authors"])},
        ),
    }


def _people(authors: list[dict]) -> list[Person]:
    """Authors of a citation file; one with a "name" is no person and stays whole."""
    return [
        Person(f"{{{author['name']}}}")
        if "name" in author
        else Person(first=author["given-names"], last=author["family-names"])
        for author in authors
    ]


def as_bibtex(key: str, entry: Entry) -> str:
    """An entry for a file of BibTeX."""
    return BibliographyData({key: entry}).to_string("bibtex").strip() + "\n"


def as_text(entry: Entry) -> str:
    """An entry as one paragraph of Markdown, with its address as a link."""
    (formatted,) = Style().format_entries([entry])
    return formatted.text.render(Backend()) + "\n"


def write_citations(folder: Path, root: Path = ROOT) -> None:
    """Write ``paper.bib``, ``paper.txt``, ``project.bib`` and ``project.txt`` into a new folder."""
    folder.mkdir(parents=True)
    keys = {"paper": "ma2022unitary", "project": "ennbook"}
    for name, entry in read_citations(root).items():
        (folder / f"{name}.bib").write_text(as_bibtex(keys[name], entry), encoding="utf-8")
        (folder / f"{name}.txt").write_text(as_text(entry), encoding="utf-8")
