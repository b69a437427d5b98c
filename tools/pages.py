"""The pages of the book: which there are, what their results depend on, and how they are executed."""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jupytext
import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # the same sums in the same order, however many cores there are
    "TQDM_DISABLE": "1",  # a progress bar is different each time
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not one of the reader's
    "IPYTHONDIR": str(ROOT / "_build" / "ipython"),  # nor the reader's settings of IPython
}
"""The surroundings in which a page is executed, here and in the tests."""

NOT_OURS = (
    *(".git", ".venv", "_build", "mutants"),
    *("__pycache__", "checkpoint", ".ipynb_checkpoints", ".hypothesis"),
)
"""Folders that using the project makes, beside those whose names end in ``cache`` or ``egg-info``."""


def project_files(root: Path = ROOT) -> list[str]:
    """The project's own files, relative to `root`: those that git has, or without git those of an archive."""
    if (root / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, encoding="utf-8")
        if not listed.returncode:  # git does not look into the clone of another user
            return [name for name in listed.stdout.split("\0") if (root / name).is_file()]
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in files if not any(map(_is_made, path.parts)))


def book_settings(root: Path = ROOT) -> dict:
    """What ``_config.yml`` says: the title of the book, its authors, and its one public address."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; if all goes well it takes the place of `folder` and what was there."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def pinned(*names: str) -> list[str]:
    """The lines of ``constraints.txt`` for some packages."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.split("==")[0] in names]


def venv_python(folder: Path) -> Path:
    """The Python of a virtual environment."""
    scripts = sysconfig.get_path("scripts", "venv", {"base": str(folder)})
    return Path(scripts, "python.exe" if sys.platform == "win32" else "python")


def installed_in(folder: Path) -> Path:
    """Where the packages of a virtual environment are, if this Python has made it."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def _is_made(name: str) -> bool:
    """Whether a folder of this name comes from using the project."""
    return name in NOT_OURS or name.endswith(("cache", ".egg-info"))


CELL_TIMEOUT = 600
"""Seconds after which a cell counts as hung."""

NOT_TAUGHT = ("At a glance", "Appendix")
"""Captions of the parts of the book that are looked up, not taught, and so have no exercises."""

KERNEL_LOST = "Kernel died before replying to kernel_info"
"""What Jupyter says of a kernel that did not come up.

A kernel is told on which ports to listen before it listens. One that starts at the same moment, or any other
program, may take one of them in between; then the kernel dies, through no fault of the page.
"""

KERNEL_ATTEMPTS = 4
"""How often a kernel is started before that counts as a failure."""

Result = TypeVar("Result")


class PageError(Exception):
    """A page cannot be read, or one of its cells failed."""


def toc_pages(root: Path = ROOT) -> list[str]:
    """The pages of ``_toc.yml`` in reading order, as paths without suffix relative to `root`."""
    return list(_pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))


def _pages(node: dict) -> Iterator[str]:
    """The pages below a node of the table of contents."""
    for key, value in node.items():
        if key in ("root", "file"):
            yield value
        elif isinstance(value, list):
            for item in value:
                yield from _pages(item)


def notebook_pages(root: Path = ROOT) -> dict[str, nbformat.NotebookNode]:
    """The pages that are notebooks, without results, in reading order."""
    return {page: notebook for page in toc_pages(root) if (notebook := read_page(root / f"{page}.md"))}


def lecture_pages(root: Path = ROOT) -> list[str]:
    """The pages that teach, in reading order: all notebooks but those of the parts `NOT_TAUGHT`."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"] = [part for part in toc.get("parts", []) if part.get("caption") not in NOT_TAUGHT]
    return [page for page in _pages(toc) if read_page(root / f"{page}.md")]


def front_matter(text: str) -> dict:
    """The YAML block between two lines of dashes at the head of a page; empty if there is none."""
    if not text.startswith("---\n"):
        return {}
    return yaml.safe_load(text.split("\n---\n", 1)[0]) or {}


def read_page(path: Path) -> nbformat.NotebookNode | None:
    """A page as a notebook without results, or None if it is text only.

    Raises:
        PageError: if it has code cells and no front matter that makes it a notebook. Jupyter Book would
            show such cells without ever running them.
    """
    text = path.read_text(encoding="utf-8")
    header = front_matter(text)
    form = header.get("jupytext", {}).get("text_representation", {}).get("format_name")
    if form == "myst" and "kernelspec" in header:
        notebook = jupytext.reads(text, fmt="md:myst")
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"  # jupytext draws new ones each time
        return notebook
    if re.search(r"^[`:]{3,}\{code-cell\}", text, re.MULTILINE):
        raise PageError(f"{path}: has code cells, wanted the jupytext and kernelspec front matter too")
    return None


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Its code cells, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def library_hash(root: Path = ROOT) -> str:
    """A hash of what every page depends on: the library, its shipped runs and the pinned versions."""
    files = [*(root / "enn_lib").rglob("*"), *(root / "enn_book").rglob("*"), root / "constraints.txt"]
    kept = [path for path in files if not {"__pycache__", "checkpoint"} & set(path.relative_to(root).parts)]
    return files_hash(kept, root, platform.python_version())


def files_hash(paths: Iterable[Path], root: Path, start: str = "") -> str:
    """A hash of files, of their places below `root`, and of what it is to `start` with."""
    digest = hashlib.sha256(start.encode())
    for path in sorted(filter(Path.is_file, paths)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def page_key(notebook: nbformat.NotebookNode, library: str) -> str:
    """A hash of everything the results of a page depend on; its prose and captions are not among it."""
    cells = [[cell.source, cell.metadata.get("tags", [])] for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps([library, cells]).encode()).hexdigest()


def with_a_kernel(run: Callable[[], Result]) -> Result:
    """Run what starts a kernel, and again if the kernel did not come up, at most `KERNEL_ATTEMPTS` times."""
    for _ in range(KERNEL_ATTEMPTS - 1):
        try:
            return run()
        except Exception as error:
            if KERNEL_LOST not in str(error):
                raise
    return run()


def execute(notebook: nbformat.NotebookNode, parameters: dict | None = None) -> nbformat.NotebookNode:
    """Run a notebook through papermill in an empty folder, and return it with its results.

    Raises:
        PageError: naming the cell that failed.
    """
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    Path(ENVIRONMENT["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)  # or IPython warns, in the page

    def once() -> nbformat.NotebookNode:
        with tempfile.TemporaryDirectory() as folder:
            return execute_notebook(
                notebook,
                None,
                parameters,
                cwd=folder,
                progress_bar=False,
                execution_timeout=CELL_TIMEOUT,
                extra_arguments=["--log-level=CRITICAL"],
            )

    try:
        return with_a_kernel(once)
    except PapermillExecutionError as error:
        raise PageError(f"code cell {error.exec_count} failed:\n{error}") from None
