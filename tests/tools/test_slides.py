"""The slides of one class are what the plan on the page *Teaching* names, as the pages have it."""

import re

import nbformat
import pytest
from links import address
from pages import ROOT, PageError, lecture_pages, read_page
from slides import blackboard, deck, page_of, plan, shown, slide

LABELS = [label for _, _, labels in plan() for label in labels]

PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3, language: python}
---

(forces)=
# Forces are arrows

```{figure} drawings/layer.svg
:name: fig-springs
:alt: Two arrows

The *layer*.
```

```{glue:figure} later
:name: fig-argon-data
:alt: Clouds

The clouds, {glue:text}`share:.0%`.
```

```{glue:figure} alive
:name: fig-forces-space

Drag them.
```

## They cancel

```{code-cell} ipython3
---
mystnb:
  figure:
    name: fig-paper-3
    caption: |
      Points on a line.
  image:
    alt: A line
---
1
```

$$
0 = 1 - 1. \\tag{7}
$$

```{prf:theorem} Zero
:label: thm-zero

It is zero.
```

```{prf:proof}
By {ref}`sums <forces>`.
```

## What to remember

- They sum to {ref}`zero <forces>` (Eq. 7).

:::{admonition} Further reading
Books.
:::

## Exercises

```{exercise} Think and compute: Why?
:label: ex-symmetry-which

Say why.
```
"""


@pytest.fixture
def page(tmp_path):
    """The page above, with results that have its numbers and pictures."""
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    notebook = read_page(tmp_path / "page.md")
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code")
    kind = "application/papermill.record/"
    for name, data in (
        ("share", {f"{kind}text/plain": "0.24"}),
        ("later", {f"{kind}text/plain": "<Figure>", f"{kind}image/png": "bGF0ZXI="}),
        ("", {"image/png": "bGluZQ=="}),
        (
            "alive",
            {f"{kind}text/html": '<img class="enn-still" alt="Atoms" src="data:image/png;base64,c3RpbGw=">'},
        ),
    ):
        metadata = {"scrapbook": {"name": name}} if name else {}
        cell.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
    return notebook


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("fig-springs", "## Forces are arrows\n\n![Two arrows](attachment:layer.svg)\n\nThe *layer*."),
        ("fig-argon-data", "## Forces are arrows\n\n![Clouds](attachment:later.png)\n\nThe clouds, 24%."),
        ("fig-paper-3", "## They cancel\n\n![A line](attachment:fig-paper-3.png)\n\nPoints on a line."),
        (
            "fig-forces-space",
            "## Forces are arrows\n\n![Atoms](attachment:alive.png)\n\nA still of what [moves in the book]"
            f"({address()}/book/forces.html#fig-forces-space). Drag them.",
        ),
        ("ex-symmetry-which", "## Exercise: Think and compute: Why?\n\nSay why."),
    ],
)
def test_a_slide_is_the_thing_of_this_label_under_the_heading_where_it_stands(page, label, text):
    cell = slide(page, label)
    assert cell.source.startswith(f"{text}\n\n[In the book](https://")
    assert cell.source.endswith(f"#{label})")
    assert set(cell.get("attachments", {})) == set(re.findall(r"\(attachment:(\S+)\)", text))


def test_a_slide_of_a_page_is_what_to_remember_of_it(page):
    text = slide(page, "forces").source
    assert text.startswith("## Forces are arrows\n\n- They sum to [zero](https://")
    assert "tag" not in text
    assert "Books" not in text


@pytest.mark.parametrize("label", ["fig-argon-data", "fig-paper-3"])
def test_a_figure_that_the_page_has_not_made_is_no_slide(page, label):
    for cell in page.cells:
        cell.pop("outputs", None)
        cell.setdefault("outputs", [])
    with pytest.raises(PageError, match=f"{label}: the page has no picture of it"):
        slide(page, label)


def test_what_is_nowhere_or_nothing_to_show_is_refused(page):
    with pytest.raises(
        PageError, match="the plan of the class: got fig-nowhere, wanted a label of some page"
    ):
        page_of("fig-nowhere")
    page.cells[-1].source = page.cells[-1].source.replace("What to remember", "Summary")
    with pytest.raises(PageError, match="forces: wanted a figure, a theorem, an exercise, or a page that"):
        shown(page, "forces")


@pytest.mark.parametrize("label", LABELS)
def test_what_the_plan_names_can_be_shown(label):
    heading, text, _ = shown(read_page(ROOT / f"{page_of(label)}.md"), label)
    assert heading
    assert text.strip()


def test_every_step_of_the_plan_has_slides_and_each_thing_is_shown_once():
    assert all(labels for _, _, labels in plan())
    assert len(LABELS) == len(set(LABELS))
    assert {page_of(label) for label in LABELS} <= set(lecture_pages()) | {"book/claims"}


def test_the_class_of_ninety_minutes_leaves_some_of_them():
    assert 70 <= sum(minutes for minutes, _, _ in plan()) <= 80


def test_the_page_says_what_to_mark_of_every_exercise_of_the_class():
    text = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    marked = re.search(r"^## What to mark, and how\n([\s\S]*?)^## ", text, re.M)[1]
    exercises = [label for label in LABELS if label.startswith(("ex-", "forces-"))]
    assert re.findall(r"^\| \{ref\}`[^<]+<([\w-]+)>` \| \d \|", marked, re.M) == exercises != []


def test_the_speaker_sees_minutes_and_words_of_the_plan_at_the_first_slide_of_each_step(monkeypatch, page):
    monkeypatch.setattr("slides.plan", lambda: [(7, "Ask {ref}`them <forces>`.", ["fig-springs", "forces"])])
    cells = deck({page_of("fig-springs"): page, page_of("forces"): page}).cells
    kinds = [cell.metadata.slideshow.slide_type for cell in cells]
    assert kinds == ["slide", "slide", "notes", "slide"]
    assert cells[2].source.startswith("7 minutes. Ask [them](https://")
    assert cells[2].source.endswith("\n\n$$\n0 = 1 - 1. \\tag{7}\n$$")


def test_the_speaker_has_the_proof_of_a_theorem_and_the_equations_of_a_summary(page):
    assert blackboard(page, "thm-zero").startswith("**Proof**\n\nBy [sums](https://")
    assert blackboard(page, "fig-springs") == ""
    layer = read_page(ROOT / "book" / "the-layer.md")
    assert re.findall(r"tag{(\d+)}", blackboard(layer, "the-layer")) == ["6", "9"]
