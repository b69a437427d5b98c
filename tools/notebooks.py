"""Notebooks to run anywhere: every page with its results, its prose as plain Markdown, and an install cell.

    python tools/notebooks.py                    write them into _build/notebooks
    python tools/notebooks.py --check            and run each in an environment that was empty
    python tools/notebooks.py --check the-layer  only some

The workflow *publish* puts the folder on the branch that ``repository.branch`` of ``_config.yml`` names,
where the buttons of the pages lead: Colab opens no text. What a notebook needs it installs itself, in its
first cell (see `student`): the library with its extra ``notebook``, which brings what the pages import, from
``repository.url``, or from the place in the environment variable ENN_LIB_SOURCE, as a check does that asks
what is here and not what was published.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import nbformat
import yaml
from build_book import execute_stale
from pages import CELL_TIMEOUT, ENVIRONMENT, ROOT, PageError, notebook_pages, project_files, with_a_kernel
from student import instructor_notebook, source

FOLDER = ROOT / "_build" / "notebooks"

README = """\
# The notebooks of a book

Made from the pages of {url} and put here by a workflow, with their results; they are edited there. The first
cell of each installs what it needs.
"""


def publish(notebooks: dict[str, nbformat.NotebookNode], folder: Path, place: str) -> None:
    """Write the folder that is published: the notebooks, and what Binder reads. An older one is replaced."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for page, notebook in notebooks.items():
        path = part / f"{page}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(instructor_notebook(notebook, page), path)
    (part / "requirements.txt").write_text(f"enn-lib[notebook] @ {place}\n")
    (part / "runtime.txt").write_text("python-3.11\n")
    (part / "README.md").write_text(README.format(url=place.removeprefix("git+")))
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def tracked_copy(target: Path, root: Path = ROOT) -> Path:
    """Copy the project's own files, with the changes of the moment, so that building leaves no trace."""
    for name in project_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, target / name)
    return target


def check(pages: list[str], folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Run published notebooks at small size in a virtual environment that held nothing.

    Only their own install cell puts something into it, with the library from this checkout. All have the
    same install cell, so that one environment serves all.

    Raises:
        PageError: naming the notebook that is missing or failed, or the install cell that did.
    """
    from papermill.parameterize import parameterize_notebook

    sizes = yaml.safe_load((root / "book" / "quick.yml").read_text())
    files = {page: folder / "book" / f"{page}.ipynb" for page in pages}
    for page, file in files.items():
        if not file.exists():
            raise PageError(f"{page}: no such notebook in {folder}; say 'make notebooks' first")
    with tempfile.TemporaryDirectory() as name:
        empty, work = Path(name) / "empty", Path(name) / "work"
        work.mkdir()
        subprocess.run([sys.executable, "-m", "venv", empty], check=True)
        # Nothing of this environment: a path to a module, a kernel or a setting of Jupyter would hide a gap.
        foreign = ("PYTHON", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "MPLBACKEND")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "IPYTHONDIR": str(Path(name) / "ipython"),
            "ENN_LIB_SOURCE": tracked_copy(Path(name) / "checkout", root).as_uri(),
        }

        def run(what: str, *command) -> None:
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise PageError(f"{what} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")

        for page, file in files.items():
            notebook = nbformat.read(file, 4)
            run(f"{page}: the install cell", empty / "bin" / "python", "-c", notebook.cells[0].source)
            for cell in notebook.cells:
                cell.metadata.setdefault("tags", [])  # papermill asks each cell for them
            notebook.metadata |= {"papermill": {}}
            notebook.metadata.kernelspec["language"] = "python"
            nbformat.write(parameterize_notebook(notebook, sizes[page]), work / f"{page}.ipynb")
            command = (empty / "bin" / "jupyter-execute", f"--timeout={CELL_TIMEOUT}", f"{page}.ipynb")
            with_a_kernel(partial(run, page, *command))
            print(f"{page}: runs where nothing was installed", flush=True)


def main() -> None:
    """Run the command line; the exit status is 1 if it fails."""
    parser = argparse.ArgumentParser(description="Write the notebooks that are published, or check them.")
    parser.add_argument(
        "--check", nargs="*", metavar="PAGE", help="run these, or all, in an empty environment"
    )
    wanted = parser.parse_args().check
    os.environ.update(ENVIRONMENT)
    notebooks = notebook_pages()
    try:
        if wanted is None:
            execute_stale(notebooks)
            publish(notebooks, FOLDER, source())
            print(f"{len(notebooks)} notebooks in {FOLDER.relative_to(ROOT)}")
        else:
            check([Path(page).stem for page in wanted or notebooks])
    except PageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
