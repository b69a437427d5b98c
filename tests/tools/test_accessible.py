"""What is added to the built pages for readers with a keyboard, a screen reader, or no JavaScript."""

from accessible import accessible
from bs4 import BeautifulSoup


def after(body: str) -> BeautifulSoup:
    return BeautifulSoup(accessible(f'<html data-theme="auto"><body>{body}</body></html>'), "html.parser")


def test_without_a_script_the_colours_are_the_light_ones():
    assert after("").html["data-theme"] == "light"


def test_a_bibliography_is_a_list_of_items():
    page = after(
        '<div role="list" class="citation-list"><div class="citation" role="doc-biblioentry">x</div></div>'
    )
    assert page.select_one(".citation-list")["role"] == "list"
    assert page.select_one(".citation")["role"] == "listitem"


def test_a_heading_of_a_table_says_what_it_heads_and_an_empty_cell_is_none():
    page = after(
        "<article><table><thead><tr><th><p></p></th><th>force</th></tr></thead>"
        "<tbody><tr><th>network</th><td>1</td></tr></tbody></table></article>"
    )
    assert [cell.name for cell in page.thead.find_all(["th", "td"])] == ["td", "th"]
    assert page.thead.th["scope"] == "col"
    assert page.tbody.th["scope"] == "row"


def test_the_side_bar_has_a_name():
    bar = after('<div class="bd-sidebar-primary bd-sidebar"></div>').select_one(".bd-sidebar")
    assert (bar["role"], bar["aria-label"]) == ("complementary", "The book")


def test_what_unfolds_the_pages_below_one_says_whose_they_are():
    page = after(
        '<li class="has-children"><a href="#">Code</a><details><summary><i></i></summary></details></li>'
    )
    assert page.summary["aria-label"] == "Pages of Code"


def test_code_and_mathematics_stay_as_they_are():
    kept = '<pre>if a &lt; b:\n    c  &amp;= d\n</pre><span class="math">\\(a &lt; b\\)</span>'
    assert kept in accessible(f"<html><body>{kept}</body></html>")
