"""What the theme leaves undone for readers who use a keyboard, a screen reader or no JavaScript.

Sphinx and the theme write the pages; `accessible` goes over each of them once, before anyone reads it.
What depends on the size of the window is done in the browser, by ``book/_static/reader.js``.
"""

from bs4 import BeautifulSoup


def accessible(html: str) -> str:
    """A built page with the roles, names and table cells that a screen reader needs.

    - Without JavaScript the colours are the light ones: the theme styles only "light" and "dark".
    - The bibliography is a list of entries; the theme gives its entries a role that lists may not hold,
      and that is deprecated.
    - A table's first row heads columns, and an empty cell is no heading.
    - The side bar and the navigation in it have names of their own, and what unfolds the pages below one
      says whose they are.
    """
    soup = BeautifulSoup(html, "html.parser")
    if soup.html:
        soup.html["data-theme"] = "light"
    for entries in soup.select("div.citation-list[role=list]"):
        for entry in entries.select("div.citation"):
            entry["role"] = "listitem"
    for cell in soup.select("article th"):
        if cell.get_text(strip=True) or cell.find(["img", "svg"]):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"
        else:
            cell.name = "td"
    for bar in soup.select("div.bd-sidebar-primary"):
        bar["role"], bar["aria-label"] = "complementary", "The book"
    for summary in soup.select("li.has-children > details > summary"):
        summary["aria-label"] = f"Pages of {summary.find_parent('li').a.get_text(strip=True)}"
    return str(soup)
