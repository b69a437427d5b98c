"""The built book in a real browser: what is alive in its pages computes what the library computes."""

import pytest
from browser import PAGES

every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_a_page_complains_of_nothing_and_asks_for_nothing_from_elsewhere(visit, page):
    opened = visit(page)
    opened.page.wait_for_timeout(300)
    assert opened.errors == []
    assert opened.requests == []
