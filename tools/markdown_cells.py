"""The prose of a page, which is MyST, as Markdown that any Jupyter shows."""

import ast
import re

import nbformat

DIRECTIVE = re.compile(r"^([`:]{3,})\{([\w:-]+)\}(.*)\n(?::[\w-]+:.*\n)*([\s\S]*?)^\1$", re.MULTILINE)


def glued(notebook: nbformat.NotebookNode) -> dict:
    """The values that the page glued when it was executed."""
    kind = "application/papermill.record/text/plain"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    records = [o for o in outputs if o.get("metadata", {}).get("scrapbook")]
    return {o.metadata.scrapbook.name: ast.literal_eval(o.data[kind]) for o in records if kind in o.data}


def plain(text: str, values: dict) -> str:
    """MyST as plain Markdown: roles as their text, directives as a bold title over what they hold."""

    def value(match) -> str:
        name, _, form = match[1].partition(":")
        return format(values[name], form) if name in values else "…"

    text = re.sub(r"\{glue:text\}`([^`]+)`", value, text)
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
