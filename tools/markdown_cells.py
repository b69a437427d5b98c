"""The prose of a page, which is MyST, as Markdown that any Jupyter shows."""

import ast
import re

import nbformat

DIRECTIVE = re.compile(r"^([`:]{3,})\{([\w:-]+)\}(.*)\n(?::[\w-]+:.*\n)*([\s\S]*?)^\1$", re.MULTILINE)

DRAWING = re.compile(
    r"^```\{figure\} drawings/(\S+)\n(?::(?!alt).*\n)*:alt: (.*)\n(?::.*\n)*\n([\s\S]*?)\n```$", re.MULTILINE
)
"""A drawing on a page: the name of its file, what it shows, and its caption."""


def glued(notebook: nbformat.NotebookNode) -> dict:
    """What the page glued when it was executed: values, and tables as Markdown; pictures are left out."""
    kind = "application/papermill.record/"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    values = {}
    for output in outputs:
        if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
            data = {key.removeprefix(kind): content for key, content in output.data.items()}
            if "text/markdown" in data:
                values[name] = data["text/markdown"]
            elif set(data) == {"text/plain"}:
                values[name] = ast.literal_eval(data["text/plain"])
    return values


def plain(text: str, values: dict) -> str:
    """MyST as plain Markdown: roles as their text, directives as a bold title over what they hold."""

    def value(match) -> str:
        name, _, form = match[1].partition(":")
        return format(values[name], form) if name in values else "…"

    text = re.sub(r"\{glue:text\}`([^`]+)`", value, text)
    text = re.sub(r"^```\{glue:md\} (\S+)\n(?::.*\n)*```$", value, text, flags=re.MULTILINE)
    text = re.sub(r"^(```\{glue:figure\}) \S+$", r"\1", text, flags=re.MULTILINE)  # its name is no title
    text = DRAWING.sub(r"![\2](attachment:\1)\n\n**Figure.** \3", text)
    text = re.sub(r"\{[\w:]+\}`([^`<]+?)\s*<[^`]+>`", r"\1", text)
    text = re.sub(r"\{cite(?::t)?\}`([^`]+)`", r"[\1]", text)
    text = re.sub(r"\{[\w:]+\}`([^`]+)`", r"\1", text)
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    while match := DIRECTIVE.search(text):
        kind, title, body = match[2].split(":")[-1], match[3].strip(), match[4].strip("\n")
        named = (
            kind.capitalize() if kind not in ("admonition", "list-table", "grid-item-card", "grid") else ""
        )
        heading = ": ".join(filter(None, (named, title)))
        text = text[: match.start()] + (f"**{heading}**\n\n" if heading else "") + body + text[match.end() :]
    return text
