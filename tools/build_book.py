"""Build the book: execute the pages that are stale, then hand the results to Jupyter Book.

A page is a notebook kept as text. Its results live in ``_build/executed/<page>.ipynb`` together with a
key made of the page's code, of everything in `enn_lib` and `enn_book`, and of the pinned versions. While
the key stays the same the results are used again, so that an edit of the prose costs no computation;
otherwise papermill executes the page, two pages at a time, one thread each, so that the numbers do not
depend on the number of cores. What Jupyter Book reads is put together in ``_build/source``.

    python tools/build_book.py               the whole book, strict, into _build/html
    python tools/build_book.py book/forces   a preview of some pages, into _build/preview
"""

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import yaml
from accessible import accessible
from citation import write_citations
from filelock import FileLock
from pages import (
    ENVIRONMENT,
    ROOT,
    PageError,
    code_cells,
    execute,
    files_hash,
    library_hash,
    page_key,
    read_page,
    toc_pages,
)


def execute_page(page: str, notebook: nbformat.NotebookNode, key: str, executed: Path) -> str:
    """Execute one page and keep its results under its key; return what went wrong, or nothing."""
    started = time.monotonic()
    try:
        result = execute(notebook)
    except Exception as error:  # whatever it was, the other pages go on and the build fails at its end
        return f"{page}.md: {type(error).__name__}: {error}"
    result.metadata["enn_book"] = {"key": key}
    executed.parent.mkdir(parents=True, exist_ok=True)
    part = executed.with_suffix(".part")
    nbformat.write(result, part)
    part.replace(executed)
    print(f"executed {page}.md in {time.monotonic() - started:.0f} s", flush=True)
    return ""


def execute_stale(notebooks: dict[str, nbformat.NotebookNode], root: Path = ROOT) -> None:
    """Execute the pages whose results are missing or stale, and give every notebook its results.

    Raises:
        PageError: naming each page and cell that failed.
    """
    library, stale = library_hash(root), {}
    files = {page: root / "_build" / "executed" / f"{page}.ipynb" for page in notebooks}
    for page, notebook in notebooks.items():
        key = page_key(notebook, library)
        known = files[page].exists() and nbformat.read(files[page], 4).metadata.get("enn_book", {})
        if not known or known.get("key") != key:
            stale[page] = key
    print(f"{len(stale)} of {len(notebooks)} notebooks to execute", flush=True)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(execute_page, p, notebooks[p], stale[p], files[p]) for p in stale]
        failures = [message for task in tasks if (message := task.result())]
    if failures:
        raise PageError("\n\n".join(failures))
    for page, notebook in notebooks.items():
        done = code_cells(nbformat.read(files[page], 4))
        for cell, result in zip(code_cells(notebook), done, strict=True):
            cell.outputs, cell.execution_count = result.outputs, result.execution_count


def stage(pages: list[str], target: Path, toc: str, root: Path = ROOT) -> None:
    """Put together what Jupyter Book reads: settings, notebooks with results, pages of text, other files."""
    notebooks = {page: read_page(root / f"{page}.md") for page in pages}
    execute_stale({page: notebook for page, notebook in notebooks.items() if notebook}, root)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=shutil.ignore_patterns("*.md", "*.yml", ".*"))
    (target / "book" / "_static").replace(target / "_static")
    shutil.copy(root / "_config.yml", target)
    (target / "_toc.yml").write_text(toc, encoding="utf-8")
    write_citations(target / "book" / "citations", root)
    for page, notebook in notebooks.items():
        if notebook:
            nbformat.write(notebook, target / f"{page}.ipynb")
        else:
            shutil.copy(root / f"{page}.md", target / f"{page}.md")


def render(source: Path, output: Path, *options: str) -> int:
    """Run Jupyter Book from nothing on a staged source and return its exit status.

    Sphinx warns about a page only when it reads it. From an older environment it would skip a page with
    a warning and succeed, so there is never an older environment.
    """
    for name in ("html", ".doctrees"):
        shutil.rmtree(output / "_build" / name, ignore_errors=True)
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "-q"]
    command = [*start, str(source), "--path-output", str(output), *options]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    for page in (output / "_build" / "html").rglob("*.html"):
        html = without_font_preloads(page.read_text(encoding="utf-8"))
        page.write_text(accessible(with_our_equations(html)), encoding="utf-8")
    return done.returncode


def without_font_preloads(html: str) -> str:
    """Take out the theme's hints to load fonts early.

    A browser refuses them to a page that is opened from disk, with an error on its console; the style
    sheets load the same fonts without complaint.
    """
    return re.sub(r'<link rel="preload" as="font"[^>]*>\s*', "", html)


def with_our_equations(html: str) -> str:
    """Number the book's own equations (B1), (B2), so that (1) is always the paper's."""
    return re.sub(r'(<span class="eqno">\()(?=\d)', r"\1B", html)


def build_book(root: Path = ROOT) -> Path:
    """Build the whole book, strict; return its first page. Does nothing if nothing has changed."""
    source, html, stamp = (root / "_build" / name for name in ("source", "html", "html/.built"))
    stage(toc_pages(root), source, (root / "_toc.yml").read_text(encoding="utf-8"), root)
    key = files_hash(source.rglob("*"), source) + library_hash(root)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != key:
        if render(source, root, "-W", "-n", "--keep-going"):
            raise PageError("Jupyter Book met the errors and warnings above")
        stamp.write_text(key, encoding="utf-8")
    return html / "index.html"


def build_preview(pages: list[str], root: Path = ROOT) -> Path:
    """Build some pages and the bibliography; references to others stay open. Return the first page."""
    first = toc_pages(root)[0]
    wanted = [f"book/{page.removeprefix('book/').removesuffix('.md')}" for page in pages]
    others = [page for page in dict.fromkeys([*wanted, "book/references"]) if page != first]
    toc = yaml.safe_dump({"format": "jb-book", "root": first, "chapters": [{"file": p} for p in others]})
    folder = root / "_build" / "preview" / Path(wanted[0]).name
    stage([first, *others], folder / "source", toc, root)
    if render(folder / "source", folder):
        raise PageError("Jupyter Book met the errors above")
    return folder / "_build" / "html" / f"{wanted[0]}.html"


def main() -> None:
    """Run the command line; the exit status is 1 if it fails."""
    parser = argparse.ArgumentParser(description="Build the book, or a preview of some of its pages.")
    parser.add_argument("pages", nargs="*", help="pages to preview, such as book/forces.md")
    pages = parser.parse_args().pages
    os.environ.update(ENVIRONMENT)
    (ROOT / "_build").mkdir(exist_ok=True)
    what = Path(pages[0]).stem if pages else "book"
    with FileLock(ROOT / "_build" / f"{what}.lock"):  # one build of one thing at a time
        try:
            first = build_preview(pages) if pages else build_book()
        except (PageError, FileNotFoundError) as error:
            sys.exit(f"error: {error}")
    print(f"the book is at {first}")


if __name__ == "__main__":
    main()
