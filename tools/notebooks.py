"""Notebooks to run anywhere: every page with its results, its prose as plain Markdown, and an install cell.

    python tools/notebooks.py                    write them into _build/notebooks
    python tools/notebooks.py --check            and run each in the three environments of `PLACES`
    python tools/notebooks.py --check the-layer  only some

The workflow *publish* puts the folder on the branch that ``repository.branch`` of ``_config.yml`` names,
where the buttons of the pages lead: Colab opens no text. What a notebook needs it installs itself, in its
first cell (see `student`): the library with its extra ``notebook``, which brings what the pages import, from
``repository.url``, or from the place in the environment variable ENN_LIB_SOURCE, as a check does that asks
what is here and not what was published.
"""

import argparse
import json
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
from nbformat.v4 import new_code_cell
from pages import (
    CELL_TIMEOUT,
    ENVIRONMENT,
    ROOT,
    PageError,
    installed_in,
    new_folder,
    notebook_pages,
    pinned,
    project_files,
    venv_python,
    with_a_kernel,
)
from student import instructor_notebook, source

FOLDER = ROOT / "_build" / "notebooks"

README = """\
# The notebooks of a book

Made from the pages of {url} and put here by a workflow, with their results; they are edited there. The first
cell of each installs what it needs.
"""


def publish(notebooks: dict[str, nbformat.NotebookNode], folder: Path, place: str) -> None:
    """Write the folder that is published: the notebooks, and what Binder reads. An older one is replaced."""
    with new_folder(folder) as part:
        for page, notebook in notebooks.items():
            path = part / f"{page}.ipynb"
            path.parent.mkdir(exist_ok=True)
            nbformat.write(instructor_notebook(notebook, page), path)
        (part / "requirements.txt").write_text(f"enn-lib[notebook] @ {place}\n", encoding="utf-8")
        (part / "runtime.txt").write_text("python-3.11\n", encoding="utf-8")
        readme = README.format(url=place.removeprefix("git+"))
        (part / "README.md").write_text(readme, encoding="utf-8")


def tracked_copy(target: Path, root: Path = ROOT) -> Path:
    """Copy the project's own files, with the changes of the moment, so that building leaves no trace."""
    for name in project_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, target / name)
    return target


OLDER = ("numpy==2.0.*", "matplotlib==3.10.*")
"""What a notebook server may have: versions of two years ago."""

PLACES = {
    "empty": "nothing is installed",
    "older": "older versions are installed and imported",
    "library": "the library is installed without its extras",
}
"""Where a notebook is tried, each with what is there beside a kernel."""

IMPORT = "import matplotlib.pyplot, numpy, torch"
"""What the kernel with older versions has imported before the notebook begins, as one of Colab has."""

SAME = """\
import importlib.metadata
for module in (matplotlib, numpy, torch):
    got, wanted = importlib.metadata.version(module.__name__), module.__version__
    assert got == wanted, f"{module.__name__}: got {got}, wanted {wanted}, which was there"
"""
"""What it runs at the end: nothing of it was changed."""


def new_environment(folder: Path, base: Path | None = None) -> None:
    """Make a virtual environment, with all that another has, as hard links, or with pip alone."""
    subprocess.run([sys.executable, "-m", "venv", folder, *["--without-pip"] * bool(base)], check=True)
    if base:
        ours, theirs = installed_in(folder), installed_in(base)
        shutil.copytree(theirs, ours, copy_function=os.link, dirs_exist_ok=True)


def prepare(folder: Path, env: dict[str, str], library: Path) -> None:
    """Make the environments of `PLACES`, as folders of these names.

    The two with torch share one, that of ``constraints.txt``: as of any other pip may take a build for GPUs,
    of several GB.
    """

    def install(where: str, *packages) -> None:
        command = [venv_python(folder / where), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(command, env=env, check=True)

    new_environment(folder / "empty")
    install("empty", "ipykernel")
    new_environment(folder / "older", folder / "empty")
    install("older", *pinned("torch"))
    new_environment(folder / "library", folder / "older")
    install("library", library)
    install("older", *OLDER)


def check(pages: list[str], folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Run published notebooks at small size in each of `PLACES`.

    A notebook is run as a reader runs it: all cells, from the one that installs on, in one kernel, of a
    Jupyter that lives elsewhere. The library comes from this checkout. All notebooks have the same first
    cell, so that an environment serves all.

    Raises:
        PageError: naming the notebook that is missing or failed, and where it did.
    """
    sizes = yaml.safe_load((root / "book" / "quick.yml").read_text(encoding="utf-8"))
    files = {page: folder / "book" / f"{page}.ipynb" for page in pages}
    for page, file in files.items():
        if not file.exists():
            raise PageError(f"{page}: no such notebook in {folder}; say 'make notebooks' first")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        library = tracked_copy(place / "checkout", root)
        (place / "torch.txt").write_text("\n".join(pinned("torch")), encoding="utf-8")
        # Nothing of this environment: a path to a module, a kernel or a setting of Jupyter would hide a gap.
        foreign = ("PYTHON", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "MPLBACKEND")
        env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "IPYTHONDIR": str(place / "ipython"),
            "JUPYTER_PATH": name,
            "ENN_LIB_SOURCE": library.as_uri(),
            "PIP_CONSTRAINT": str(place / "torch.txt"),
        }
        prepare(place, env, library)
        for where, what in PLACES.items():
            command = [venv_python(place / where), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            kernel = {"argv": list(map(str, command)), "display_name": where, "language": "python"}
            (place / "kernels" / where).mkdir(parents=True)
            (place / "kernels" / where / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
            for page, file in files.items():
                notebook = nbformat.read(file, 4)
                if where == "older":
                    notebook.cells = [new_code_cell(IMPORT), *notebook.cells, new_code_cell(SAME)]
                with_a_kernel(partial(run, notebook, sizes[page], where, place, env))
                print(f"{page}: runs where {what}", flush=True)


def run(notebook: nbformat.NotebookNode, parameters: dict, where: str, place: Path, env: dict) -> None:
    """Run a notebook with parameters in a kernel by its name.

    Raises:
        PageError: with the end of what it said.
    """
    from papermill.parameterize import parameterize_notebook

    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])  # papermill asks each cell for them
    notebook.metadata |= {"papermill": {}}
    notebook.metadata.kernelspec["language"] = "python"
    nbformat.write(parameterize_notebook(notebook, parameters), place / "notebook.ipynb")
    jupyter = [sys.executable, "-c", "from nbclient.cli import main; main()", f"--kernel_name={where}"]
    command = [*jupyter, f"--timeout={CELL_TIMEOUT}", "notebook.ipynb"]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, encoding="utf-8")
    if done.returncode:
        said = done.stdout[-4000:] + done.stderr[-4000:]
        raise PageError(f"{notebook.metadata.enn_book.page} failed where {PLACES[where]}:\n{said}")


def main() -> None:
    """Run the command line; the exit status is 1 if it fails."""
    parser = argparse.ArgumentParser(description="Write the notebooks that are published, or check them.")
    parser.add_argument("--check", nargs="*", metavar="PAGE", help="run these, or all, in three environments")
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
    except (PageError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
