"""The executor of the pages: what it runs again, what it does not, and what it says when a cell fails."""

import inspect
import json
import shutil
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import jupyter_client.client
import nbformat
import pages
import papermill
import pytest
import yaml
from build_book import build_book, execute_stale, stage, with_our_equations, without_font_preloads

PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# A page

Some prose.

```{code-cell} ipython3
:tags: [parameters]

n = 2
```

```{code-cell} ipython3
print(n * 21)
```
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of one notebook and one page of text, beside two packages of one module each and one run."""
    for name, value in pages.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for folder in ("book/_static", "enn_lib/runs/small/checkpoint", "enn_book"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book/forces.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "book/intro.md").write_text("# A book\n", encoding="utf-8")
    (tmp_path / "enn_lib/layers.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "enn_book/style.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "enn_lib/runs/small/config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "enn_lib/runs/small/checkpoint/state.json").write_text("{}", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("numpy==1\n", encoding="utf-8")
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(pages.ROOT / name, tmp_path)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: A\n  chapters:\n  - file: book/forces\n",
        encoding="utf-8",
    )
    return tmp_path


def key(book) -> str:
    return pages.page_key(pages.read_page(book / "book/forces.md"), pages.library_hash(book))


def edit(path: Path, old: str, new: str) -> None:
    """Replace some text of a file that has it."""
    assert old in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_pages_come_in_the_order_of_the_table_of_contents(book):
    assert pages.toc_pages(book) == ["book/intro", "book/forces"]
    parts = [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}]}, {"chapters": [{"file": "d"}]}]
    (book / "_toc.yml").write_text(json.dumps({"root": "a", "parts": parts}), encoding="utf-8")
    assert pages.toc_pages(book) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("caption", pages.NOT_TAUGHT)
def test_a_lecture_is_a_notebook_outside_what_is_looked_up(book, caption):
    assert pages.lecture_pages(book) == ["book/forces"]
    edit(book / "_toc.yml", "caption: A", f"caption: {caption}")
    assert pages.lecture_pages(book) == []


def test_the_parts_that_are_looked_up_are_parts_of_the_book():
    parts = yaml.safe_load((pages.ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    assert set(pages.NOT_TAUGHT) <= {part["caption"] for part in parts}


def test_a_page_of_text_is_no_notebook(book):
    assert pages.read_page(book / "book/intro.md") is None


@pytest.mark.parametrize("lost", ["format_name", "kernelspec"])
def test_code_cells_that_would_silently_not_run_are_refused(book, lost):
    edit(book / "book/forces.md", f"{lost}:", "other:")
    with pytest.raises(pages.PageError, match=r"forces\.md: has code cells"):
        pages.read_page(book / "book/forces.md")


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("book/forces.md", "n * 21", "n * 22", True),
        ("book/forces.md", "[parameters]", "[parameters, raises-exception]", True),
        ("enn_lib/layers.py", "1", "2", True),
        ("enn_book/style.py", "1", "2", True),
        ("enn_lib/runs/small/config.json", "{}", "[]", True),
        ("constraints.txt", "1", "2", True),
        ("book/forces.md", "Some prose", "Other prose", False),
        ("book/intro.md", "A book", "Another book", False),
        ("enn_lib/runs/small/checkpoint/state.json", "{}", "[]", False),
    ],
)
def test_code_library_runs_and_versions_make_a_page_stale_but_not_prose_and_checkpoints(
    book, file, old, new, stale
):
    before = key(book)
    edit(book / file, old, new)
    assert (key(book) != before) == stale


def test_a_new_or_renamed_module_makes_every_page_stale(book):
    before = key(book)
    shutil.move(book / "enn_lib/layers.py", book / "enn_lib/network.py")
    assert key(book) != before


def test_results_are_used_again_under_new_prose_and_replaced_under_new_code(book):
    """The results on disk are marked, so that one sees which of them reach the staged notebook."""
    page, kept = book / "book/forces.md", book / "_build/executed/book/forces.ipynb"

    def staged_text() -> str:
        stage(pages.toc_pages(book), book / "_build/source", "", book)
        notebook = nbformat.read(book / "_build/source/book/forces.ipynb", 4)
        assert notebook.cells[0].source in page.read_text(encoding="utf-8")
        return pages.code_cells(notebook)[1].outputs[0].text

    assert staged_text() == "42\n"
    edit(kept, r'"42\n"', r'"kept\n"')
    edit(page, "Some prose", "Other prose")
    assert staged_text() == "kept\n"
    edit(page, "n * 21", "n * 22")
    assert staged_text() == "44\n"


def test_a_failing_cell_names_its_page_and_itself_and_leaves_no_results(book):
    edit(book / "book/forces.md", "n * 21", "n / 0")
    with pytest.raises(pages.PageError, match=r"(?s)book/forces\.md.*code cell 2 failed.*ZeroDivisionError"):
        execute_stale(pages.notebook_pages(book), book)
    assert not (book / "_build/executed").exists()


def test_a_page_whose_kernel_did_not_come_up_is_executed_again(book, monkeypatch):
    lost = RuntimeError(pages.KERNEL_LOST)
    start = Mock(wraps=papermill.execute_notebook, side_effect=[lost, lost, DEFAULT])
    monkeypatch.setattr(papermill, "execute_notebook", start)
    result = pages.execute(pages.read_page(book / "book/forces.md"))
    assert start.call_count == 3
    assert pages.code_cells(result)[-1].outputs[0].text == "42\n"


@pytest.mark.parametrize(
    ("message", "times"),
    [(pages.KERNEL_LOST, pages.KERNEL_ATTEMPTS), ("Kernel died", 1), ("out of memory", 1)],
)
def test_only_a_kernel_that_did_not_come_up_is_started_again_and_not_for_ever(message, times):
    run = Mock(side_effect=RuntimeError(message))
    with pytest.raises(RuntimeError, match=message):
        pages.with_a_kernel(run)
    assert run.call_count == times


def test_jupyter_says_of_a_kernel_that_did_not_come_up_what_we_look_for():
    assert pages.KERNEL_LOST in inspect.getsource(jupyter_client.client)


def test_the_same_pages_are_staged_as_the_same_bytes(book):
    results = pages.read_page(book / "book/forces.md")
    results.metadata["enn_book"] = {"key": key(book)}
    (book / "_build/executed/book").mkdir(parents=True)
    nbformat.write(results, book / "_build/executed/book/forces.ipynb")
    hashes = []
    for _ in range(2):
        stage(pages.toc_pages(book), book / "_build/source", "", book)
        hashes.append(pages.files_hash((book / "_build/source").rglob("*"), book))
    assert hashes[0] == hashes[1]


def test_a_build_that_failed_is_not_taken_for_done(book, monkeypatch):
    (book / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n", encoding="utf-8")
    (book / "_build/html").mkdir(parents=True)
    render = Mock(side_effect=[1, 0])
    monkeypatch.setattr("build_book.render", render)
    with pytest.raises(pages.PageError, match="Jupyter Book"):
        build_book(book)
    build_book(book)
    build_book(book)
    assert render.call_count == 2, "once failed, once built, once nothing to do"
    _, _, *options = render.call_args.args
    assert {"-W", "-n", "--keep-going"} == set(options)


def test_a_page_opened_from_disk_is_not_asked_to_load_fonts_early():
    font = '<link rel="preload" as="font" type="font/woff2" crossorigin href="a.woff2" />\n'
    script = '<link rel="preload" as="script" href="a.js" />\n'
    assert without_font_preloads(font + script + "<p>") == script + "<p>"


def test_the_equations_of_the_book_are_not_taken_for_the_paper_s():
    assert with_our_equations('<span class="eqno">(12)<a>') == '<span class="eqno">(B12)<a>'
