"""The prose of a page, which is MyST, as Markdown that any Jupyter shows."""

import ast
import re

import nbformat
from links import linked, numbered, targets

DIRECTIVE = re.compile(r"^([`:]{3,})\{([\w:-]+)\}(.*)\n(?::[\w-]+:.*\n)*([\s\S]*?)^\1$", re.MULTILINE)

DRAWING = re.compile(
    r"^```\{figure\} drawings/(\S+)\n(?::(?!alt).*\n)*:alt: (.*)\n(?::.*\n)*\n([\s\S]*?)\n```$", re.MULTILINE
)
"""A drawing on a page: the name of its file, what it shows, and its caption."""

GLUED = re.compile(
    r"^```\{glue:figure\} (\S+)\n:name: (\S+)\n(?::(?!alt).*\n)*(?::alt: (.*)\n)?\n([\s\S]*?)\n```$",
    re.MULTILINE,
)
"""A picture that a later cell makes: its name, that of the figure, what it shows, and its caption."""


STILL = re.compile(r'<img class="enn-still" alt="([^"]*)"[^>]* src="data:image/png;base64,([^"]+)"')
"""What stands in the place of a live part where there are no scripts, and what it shows."""


def glued(notebook: nbformat.NotebookNode) -> dict:
    """What the page glued when it was executed: values, tables as Markdown, and PNG pictures in base 64."""
    kind = "application/papermill.record/"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    values = {}
    for output in outputs:
        if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
            data = {key.removeprefix(kind): content for key, content in output.data.items()}
            if "text/markdown" in data:
                values[name] = data["text/markdown"]
            elif "image/png" in data:
                values[f"{name}.png"] = data["image/png"]
            elif still := STILL.search(data.get("text/html", "")):
                values[f"{name}.alt"], values[f"{name}.png"] = still.groups()
            elif set(data) == {"text/plain"}:
                values[name] = ast.literal_eval(data["text/plain"])
    return values


def plain(text: str, values: dict) -> str:
    """MyST as plain Markdown: references as links, directives as a bold title over what they hold."""

    def value(match) -> str:
        name, _, form = match[1].partition(":")
        return format(values[name], form) if name in values else "…"

    def picture(match) -> str:
        name, label, shown, caption = match.groups()
        place, _ = targets().get(label, ("", ""))
        if f"{name}.alt" in values:
            shown = values[f"{name}.alt"]
            caption = f"A still of what [moves in the book]({place}). {caption}"
        if f"{name}.png" in values:
            return f"![{shown}](attachment:{name}.png)\n\n**Figure.** {caption}"
        return "**Figure.** " + (f"([See it in the book]({place}).) " if place else "") + caption

    text = re.sub(r"\{glue:text\}`([^`]+)`", value, text)
    text = re.sub(r"^```\{glue:md\} (\S+)\n(?::.*\n)*```$", value, text, flags=re.MULTILINE)
    text = GLUED.sub(picture, text)
    text = DRAWING.sub(r"![\2](attachment:\1)\n\n**Figure.** \3", text)
    text = numbered(linked(text))
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    while match := DIRECTIVE.search(text):
        kind, title, body = match[2].split(":")[-1], match[3].strip(), match[4].strip("\n")
        if kind == "list-table":
            body = pipe_table(body)
        named = (
            kind.capitalize() if kind not in ("admonition", "list-table", "grid-item-card", "grid") else ""
        )
        heading = ": ".join(filter(None, (named, title)))
        text = text[: match.start()] + (f"**{heading}**\n\n" if heading else "") + body + text[match.end() :]
    return text


def pipe_table(rows: str) -> str:
    """The rows of a list-table, of which the first is the head, as a table of Markdown."""
    table = [re.split(r"^  - ", row, flags=re.MULTILINE) for row in re.split(r"^\* - ", rows, flags=re.M)[1:]]
    lines = ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in table]
    return "\n".join([lines[0], "|" + " --- |" * len(table[0]), *lines[1:]])
