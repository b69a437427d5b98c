"""Where the references of the prose lead: to places of the published book, and to the works that it cites.

Sphinx resolves references when it builds the book. A notebook leaves the book, so here they are resolved
from the sources alone, and become links to ``repository.url`` of ``_config.yml`` as GitHub Pages shows it.
"""

import re
from functools import cache
from pathlib import Path

from citation import as_text
from pages import ROOT, book_settings, toc_pages
from pybtex.database import Entry, parse_file
from pybtex.richtext import Text

ROLE = re.compile(r"\{([\w:]+)\}`([^`<]+?)(?:\s*<([^`>]+)>)?`")
"""A reference: its role, then its target, or words and the target in angle brackets."""

CITED = re.compile(r"\{cite(?::t)?\}`([^`]+)`")
HEADING = re.compile(r"^\(([\w-]+)\)=\n#+ (.+)$", re.MULTILINE)
LABELLED = re.compile(r"^[`:]{3,}\{([\w:-]+)\}(.*)\n(?::.*\n)*?:label: (\S+)$", re.MULTILINE)
FIGURE = re.compile(r"^\s*:?name: ((?:fig|tab)-\S+)$", re.MULTILINE)
EQUATION = re.compile(r"\s*\$\$ \(([\w-]+)\)$", re.MULTILINE)
TERM = re.compile(r"^(?!\s|:|`{3}\{)(.+)\n(?=  \S)", re.MULTILINE)


def address(root: Path = ROOT) -> str:
    """Where the book is published: the GitHub Pages of the one public address."""
    owner, name = book_settings(root)["repository"]["url"].split("/")[-2:]
    return f"https://{owner}.github.io/{name}"


@cache
def targets(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """All that a reference can name, with its address and the words for it if the reference has none.

    Headings, exercises, theorems, figures and tables by their label, equations too, with the number that
    they have in the book, and the terms of the glossary in lower case, after ``term:``.
    """
    found, n_equations = {}, 0
    for page in toc_pages(root):
        text = (root / f"{page}.md").read_text(encoding="utf-8")
        here = f"{address(root)}/{page}.html"
        for label, title in HEADING.findall(text):
            found[label] = (f"{here}#{label}", ROLE.sub(r"\2", title))
        for kind, title, label in LABELLED.findall(text):
            name = title.strip() if kind == "exercise" else f"{kind[4:].capitalize()} “{title.strip()}”"
            found[label] = (f"{here}#{label}", name)
        for label in FIGURE.findall(text):
            found[label] = (f"{here}#{label}", "this figure" if label[0] == "f" else "this table")
        for n_equations, label in enumerate(EQUATION.findall(text), n_equations + 1):  # noqa: B020
            found[label] = (f"{here}#equation-{label}", f"(B{n_equations})")
        for block in re.findall(r"^```\{glossary\}\n([\s\S]*?)^```$", text, re.MULTILINE):
            for term in TERM.findall(block):
                anchor = re.sub(r"[^A-Za-z0-9]+", "-", term).strip("-")
                found[f"term:{term.lower()}"] = (f"{here}#term-{anchor}", term)
    return found


@cache
def works(root: Path = ROOT) -> dict[str, Entry]:
    """The bibliography of the book."""
    return dict(parse_file(root / "book" / "references.bib").entries)


def source_of(work: Entry) -> str:
    """The address of a work."""
    return f"https://doi.org/{work.fields['doi']}" if "doi" in work.fields else work.fields["url"]


def cited(keys: str, *, in_text: bool) -> str:
    """Works of the bibliography as authors and years with links, in parentheses or as part of a sentence."""
    links = []
    for key in keys.split(","):
        work = works()[key.strip()]
        people = [" ".join(one.prelast_names + one.last_names) for one in work.persons["author"]]
        if len(people) > 2 or "others" in people:
            people[1:] = []
            people[0] += " et al."
        names = str(Text.from_latex(" and ".join(people)))
        year = f" ({work.fields['year']})" if in_text else f", {work.fields['year']}"
        links.append(f"[{names}{year}]({source_of(work)})")
    return " and ".join(links) if in_text else f"({'; '.join(links)})"


def linked(text: str) -> str:
    """Prose in which every reference is a link; what leads nowhere is its words."""

    def link(match: re.Match) -> str:
        role, words, target = match.groups()
        if role.startswith("cite"):
            return cited(words, in_text=role == "cite:t")
        name = " ".join((target or words).split())
        place, own_words = targets().get(f"term:{name.lower()}" if role == "term" else name, ("", words))
        words = words if target or role == "term" else own_words
        return f"[{words}]({place})" if place else words

    return ROLE.sub(link, text)


def numbered(text: str) -> str:
    """Prose whose labelled equations have the numbers that they have in the book."""
    return EQUATION.sub(lambda m: rf" \tag{{{targets().get(m[1], ('', '(B)'))[1][1:-1]}}}" + "\n$$", text)


def references(text: str) -> str:
    """The works that some prose cites, in full, in the order in which it does; empty if there is none."""
    keys = dict.fromkeys(key.strip() for found in CITED.findall(text) for key in found.split(","))
    return "\n".join("- " + " ".join(as_text(works()[key]).split()) for key in keys)
