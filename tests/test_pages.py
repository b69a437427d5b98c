"""The executor of the pages: what it runs again, what it does not, and what it says when a cell fails."""

import inspect
import json
import shutil

import jupyter_client.client
import nbformat
import papermill
import pytest
from build_book import build_book, execute_stale, stage, tree_hash, without_font_preloads
from pages import (
    ENVIRONMENT,
    KERNEL_ATTEMPTS,
    KERNEL_LOST,
    ROOT,
    PageError,
    code_cells,
    execute,
    lecture_pages,
    library_hash,
    page_key,
    read_page,
    toc_pages,
    with_a_kernel,
)

PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
  language: python
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
    """A book of one notebook and one page of text, beside a library of one module and one run."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for folder in ("book/_static", "enn_lib/runs/small/checkpoint"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book/forces.md").write_text(PAGE)
    (tmp_path / "book/intro.md").write_text("# A book\n")
    (tmp_path / "enn_lib/layers.py").write_text("x = 1\n")
    (tmp_path / "enn_lib/runs/small/config.json").write_text("{}")
    (tmp_path / "enn_lib/runs/small/checkpoint/state.json").write_text("{}")
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: A\n  chapters:\n  - file: book/forces\n"
    )
    return tmp_path


def key(book) -> str:
    return page_key(read_page(book / "book/forces.md"), library_hash(book))


def test_pages_come_in_the_order_of_the_table_of_contents(book):
    assert toc_pages(book) == ["book/intro", "book/forces"]
    nested = {
        "root": "a",
        "parts": [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}]}, {"chapters": [{"file": "d"}]}],
    }
    (book / "_toc.yml").write_text(json.dumps(nested))
    assert toc_pages(book) == ["a", "b", "c", "d"]


def test_a_lecture_is_a_notebook_outside_the_appendix(book):
    assert lecture_pages(book) == ["book/forces"]
    toc = book / "_toc.yml"
    toc.write_text(toc.read_text().replace("caption: A", "caption: Appendix"))
    assert lecture_pages(book) == []


def test_a_page_of_text_is_no_notebook(book):
    assert read_page(book / "book/intro.md") is None


@pytest.mark.parametrize("lost", ["format_name: myst", "kernelspec:\n  name: python3\n"])
def test_code_cells_that_would_silently_not_run_are_refused(book, lost):
    page = book / "book/forces.md"
    page.write_text(page.read_text().replace(lost, "").replace("  display_name", "other:\n  display_name"))
    with pytest.raises(PageError, match=r"forces\.md: has code cells"):
        read_page(page)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("book/forces.md", "n * 21", "n * 22"),
        ("book/forces.md", "[parameters]", "[parameters, raises-exception]"),
        ("enn_lib/layers.py", "1", "2"),
        ("enn_lib/runs/small/config.json", "{}", "[]"),
        ("constraints.txt", "1", "2"),
    ],
)
def test_a_page_is_stale_when_its_code_the_library_a_run_or_a_version_changes(book, file, old, new):
    before = key(book)
    text = (book / file).read_text()
    assert old in text
    (book / file).write_text(text.replace(old, new))
    assert key(book) != before


def test_a_new_or_renamed_module_makes_every_page_stale(book):
    before = key(book)
    shutil.move(book / "enn_lib/layers.py", book / "enn_lib/network.py")
    assert key(book) != before


@pytest.mark.parametrize(
    ("file", "new"),
    [
        ("book/forces.md", PAGE.replace("Some prose", "Other prose")),
        ("book/intro.md", "# Another book\n"),
        ("enn_lib/runs/small/checkpoint/state.json", "[]"),
    ],
)
def test_prose_and_checkpoints_make_no_page_stale(book, file, new):
    before = key(book)
    (book / file).write_text(new)
    assert key(book) == before


def test_results_are_used_again_under_new_prose_and_replaced_under_new_code(book):
    """The results on disk are marked, so that one sees which of them reach the staged notebook."""
    page, kept = book / "book/forces.md", book / "_build/executed/book/forces.ipynb"

    def staged_text() -> str:
        stage(toc_pages(book), book / "_build/source", "", book)
        notebook = nbformat.read(book / "_build/source/book/forces.ipynb", 4)
        assert notebook.cells[0].source in page.read_text()
        return code_cells(notebook)[1].outputs[0].text

    assert staged_text() == "42\n"
    kept.write_text(kept.read_text().replace(r'"42\n"', r'"kept\n"'))
    page.write_text(page.read_text().replace("Some prose", "Other prose"))
    assert staged_text() == "kept\n"
    page.write_text(page.read_text().replace("n * 21", "n * 22"))
    assert staged_text() == "44\n"


def test_a_failing_cell_names_its_page_and_itself_and_leaves_no_results(book):
    page = book / "book/forces.md"
    page.write_text(page.read_text().replace("n * 21", "n / 0"))
    with pytest.raises(PageError, match=r"(?s)book/forces\.md.*code cell 2 failed.*ZeroDivisionError"):
        execute_stale({"book/forces": read_page(page)}, book)
    assert not (book / "_build/executed").exists()


def test_a_page_whose_kernel_did_not_come_up_is_executed_again(book, monkeypatch):
    started, start = [], papermill.execute_notebook

    def at_the_third_attempt(*arguments, **settings):
        started.append(1)
        if len(started) < 3:
            raise RuntimeError(KERNEL_LOST)
        return start(*arguments, **settings)

    monkeypatch.setattr(papermill, "execute_notebook", at_the_third_attempt)
    result = execute(read_page(book / "book/forces.md"))
    assert len(started) == 3
    assert code_cells(result)[-1].outputs[0].text == "42\n"


@pytest.mark.parametrize(
    ("message", "times"), [(KERNEL_LOST, KERNEL_ATTEMPTS), ("Kernel died", 1), ("out of memory", 1)]
)
def test_only_a_kernel_that_did_not_come_up_is_started_again_and_not_for_ever(message, times):
    started = []

    def run():
        started.append(1)
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match=message):
        with_a_kernel(run)
    assert len(started) == times


def test_jupyter_says_of_a_kernel_that_did_not_come_up_what_we_look_for():
    assert KERNEL_LOST in inspect.getsource(jupyter_client.client)


def test_the_same_pages_are_staged_as_the_same_bytes(book):
    results = read_page(book / "book/forces.md")
    results.metadata["enn_book"] = {"key": key(book)}
    (book / "_build/executed/book").mkdir(parents=True)
    nbformat.write(results, book / "_build/executed/book/forces.ipynb")
    hashes = []
    for _ in range(2):
        stage(toc_pages(book), book / "_build/source", "", book)
        hashes.append(tree_hash(book / "_build/source"))
    assert hashes[0] == hashes[1]


def test_a_build_that_failed_is_not_taken_for_done(book, monkeypatch):
    (book / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    calls = []

    def render(source, output, *options):
        (output / "_build/html").mkdir(exist_ok=True)
        calls.append(options)
        return len(calls) == 1

    monkeypatch.setattr("build_book.render", render)
    with pytest.raises(PageError, match="Jupyter Book"):
        build_book(book)
    build_book(book)
    build_book(book)
    assert len(calls) == 2, "once failed, once built, once nothing to do"
    assert {"-W", "-n", "--keep-going"} == set(calls[0])


def test_a_page_opened_from_disk_is_not_asked_to_load_fonts_early():
    font = '<link rel="preload" as="font" type="font/woff2" crossorigin href="a.woff2" />\n'
    script = '<link rel="preload" as="script" href="a.js" />\n'
    assert without_font_preloads(font + script + "<p>") == script + "<p>"
