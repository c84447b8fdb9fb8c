"""Both shipped models in a real browser: each kind of picture finds its own, and the switch is part of the address."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import encode
from test_browser import browser, open_page, open_tab, page, pytestmark, server, upload  # noqa: F401

from skinai import wording
from skinai.data.drawing import draw_lesion, draw_page, draw_photograph


def test_each_kind_of_picture_is_answered_by_its_own_model(page, server):  # noqa: F811
    open_page(page, server)
    upload(page, encode(draw_lesion(3)))
    page.get_by_text("Most probable of the seven").wait_for()
    upload(page, encode(draw_photograph(0)), "rash.jpg")
    page.get_by_text("Most probable of the 12").wait_for()
    rows = page.get_by_test_id("stTable").first.locator("tbody tr")
    rows.nth(11).wait_for()
    shares = [float(re.search(r"([\d.]+)%", row).group(1)) for row in rows.all_inner_texts()]
    assert len(shares) == 12
    assert sum(shares) == pytest.approx(100, abs=0.7)


def test_a_page_of_text_is_for_neither_and_a_choice_is_marked(page, server):  # noqa: F811
    open_page(page, server)
    upload(page, encode(draw_page()))
    page.get_by_text("so neither model answers").wait_for()
    assert page.get_by_text("Most probable of").count() == 0
    page.get_by_role("radio", name=wording.MODEL_NAMES["clinical"]).click()
    page.get_by_text("You chose the model for clinical photographs").wait_for()


@pytest.mark.parametrize("path", ["report", "data", "about", "batch"])
def test_the_switch_between_the_models_is_part_of_the_address(open_tab, page, server, path):  # noqa: F811
    page.goto(f"{server}/{path}")
    page.get_by_role("radio", name=wording.MODEL_NAMES["clinical"]).click()
    page.wait_for_url(re.compile("model="))
    assert parse_qs(urlsplit(page.url).query)["model"] == [wording.MODEL_NAMES["clinical"]]
    visitor = open_tab(390, 844)
    visitor.goto(page.url)
    chosen = visitor.get_by_role("radio", name=wording.MODEL_NAMES["clinical"])
    chosen.wait_for()
    visitor.get_by_text("fingerprint").last.wait_for(state="attached")
    assert chosen.get_attribute("aria-checked") == "true"
    assert visitor.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    visitor.close()
