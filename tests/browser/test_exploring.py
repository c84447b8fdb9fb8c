"""The data explorer in a real browser: clicks filter, addresses can be sent, the gallery turns its pages."""

import time
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from test_browser import browser, choose_section, fits_a_phone, open_tab, pytestmark, start_server, wait_for  # noqa: F401

from skinai import wording


@pytest.fixture(scope="module")
def with_data(small_data):
    yield from start_server({"SKINAI_DATA": str(small_data)})


@pytest.fixture(scope="module")
def with_real_data(real_data):
    yield from start_server({"SKINAI_DATA": str(real_data)})


@pytest.fixture
def page(open_tab):  # noqa: F811
    page = open_tab(1280, 1400)
    yield page
    page.close()


def open_page(page, address, query=""):
    page.goto(f"{address}/data{query}")
    page.get_by_text("fingerprint").last.wait_for()
    page.locator(".js-plotly-plot .bars").first.wait_for()


def click_bar(page, chart, number):
    """Click the middle of the number-th bar of the number-th chart; Plotly's own layer lies above the bars."""
    # Streamlit listens for clicks some time after the chart is drawn, and the page may still be laid out.
    listens = (
        "number => document.querySelectorAll('.js-plotly-plot')[number]?._fullLayout?.clickmode?.includes('select')"
    )
    wait_for(page, listens, chart)
    mark = page.locator(".js-plotly-plot").nth(chart).locator(".bars .point path").nth(number)
    mark.scroll_into_view_if_needed()
    box, before = mark.bounding_box(), None
    while box != before:
        page.wait_for_timeout(100)
        box, before = mark.bounding_box(), box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def chips(page):
    return page.locator(".react-aria-ComboBox [data-tag]").all_inner_texts()


def wait_for_chips(page, count):
    wait_for(page, "count => document.querySelectorAll('.react-aria-ComboBox [data-tag]').length === count", count)


def totals(page):
    return page.get_by_text("lesions.").first.inner_text()


def test_a_click_on_a_bar_filters_every_other_chart_and_is_kept_in_the_address(browser, page, with_data):  # noqa: F811
    open_page(page, with_data)
    assert totals(page).startswith("84 pictures of 56 lesions.")
    click_bar(page, 0, 4)
    page.get_by_text("12 pictures of 8 lesions.").wait_for()
    page.wait_for_url("**filter=**")
    wait_for_chips(page, 1)
    assert "Melanoma" in chips(page)[0]
    assert parse_qs(urlsplit(page.url).query)["filter"] == ["Diagnosis: Melanoma"]
    # The same address shows the same view to somebody else.
    other = browser.new_context().new_page()
    open_page(other, with_data, "?" + urlsplit(page.url).query)
    other.get_by_text("12 pictures of 8 lesions.").wait_for()
    wait_for_chips(other, 1)
    assert chips(other) == chips(page)
    other.context.close()
    # A second click on the bar takes the filter away.
    page.wait_for_timeout(1000)
    click_bar(page, 0, 4)
    page.get_by_text("84 pictures of 56 lesions.").wait_for()
    wait_for_chips(page, 0)


def test_a_chip_is_removed_by_keyboard(page, with_data):
    open_page(page, with_data, "?filter=Diagnosis:+Melanoma&filter=Sex:+male")
    page.get_by_text("Sex: male").first.wait_for()
    wait_for_chips(page, 2)
    page.locator(".react-aria-ComboBox input").focus()
    page.keyboard.press("Backspace")
    page.get_by_text("12 pictures of 8 lesions.").wait_for()
    wait_for_chips(page, 1)


def test_the_gallery_shows_pages_of_small_pictures(page, with_data):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{with_data}/data?part=Gallery")
    grid = page.locator("figure img")
    grid.nth(23).wait_for()
    first = grid.first.get_attribute("alt")
    assert grid.count() == 24
    page.get_by_test_id("stPagination").get_by_role("button", name="Page 2", exact=True).click()
    wait_for(page, "first => (document.querySelector('figure img')?.alt ?? first) !== first", first)
    page.wait_for_url("**page=2**")
    assert parse_qs(urlsplit(page.url).query)["page"] == ["2"]
    assert not [url for url in fetched if url.startswith(f"{with_data}/media/") and not url.endswith(".png")]
    assert page.evaluate("Math.max(...[...document.querySelectorAll('figure img')].map(e => e.src.length))") < 40_000


def test_no_section_overflows_a_phone(open_tab, with_data):  # noqa: F811
    page = open_tab(390, 844)
    first, *others = wording.EXPLORER_SECTIONS.values()
    page.goto(f"{with_data}/data?part={quote_plus(first)}")
    page.get_by_text("fingerprint").last.wait_for()
    fits_a_phone(page)
    for section in others:
        choose_section(page, section)
        fits_a_phone(page)
    page.close()


def watch(page):
    """Note when the page was acted on and when it last changed."""
    page.evaluate(
        """() => {
            const now = () => performance.now();
            window.acted = window.changed = now();
            new MutationObserver(() => { window.changed = now(); }).observe(
                document.querySelector('[data-testid=stMain]'),
                {subtree: true, childList: true, attributes: true, characterData: true});
            for (const kind of ['click', 'keydown'])
                window.addEventListener(kind, () => { window.acted = now(); }, true);
        }"""
    )


def slowness():
    """How much slower this machine is at the moment than the one the bounds were set on: 1 or more.

    There, idle, two cores of 2.45 GHz, the loop takes .09 s, the gallery .22 s and the charts .77 s.
    """
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        total = 0
        for number in range(3_000_000):
            total += number
        seconds.append(time.perf_counter() - start)
    return max(1.0, min(seconds) / 0.09)


def seconds_to_rest(page):
    page.wait_for_timeout(1500)
    return page.evaluate("(window.changed - window.acted) / 1000")


@pytest.mark.alone
@pytest.mark.data
def test_ten_thousand_rows_are_filtered_and_drawn_again_quickly(page, with_real_data):
    """From the click to the last change of any of the charts; the best of three, since other work may run beside."""
    open_page(page, with_real_data)
    page.get_by_text("10,015 pictures of 7,470 lesions.").wait_for()
    watch(page)
    seconds = []
    for number, total in ((4, "1,113 pictures of 614"), (1, "514 pictures of 327"), (2, "1,099 pictures of 727")):
        page.wait_for_timeout(1000)
        click_bar(page, 0, number)
        page.get_by_text(total).wait_for()
        seconds.append(seconds_to_rest(page))
        page.locator(".react-aria-ComboBox input").focus()
        page.keyboard.press("Backspace")
        page.get_by_text("10,015 pictures of 7,470 lesions.").wait_for()
    print(f"all charts after a click: {[round(value, 2) for value in seconds]} s")
    assert min(seconds) < 1.5 * slowness()


@pytest.mark.alone
@pytest.mark.data
def test_the_gallery_of_ten_thousand_rows_is_filtered_quickly(page, with_real_data):
    """From the key that removes a filter to the last of the new thumbnails."""
    seconds = []
    for code in ("Melanoma", "Dermatofibroma", "Vascular lesion"):
        page.goto(f"{with_real_data}/data?part=Gallery&filter=Sex:+female&filter=Diagnosis:+{quote_plus(code)}")
        page.locator("figure img").nth(23).wait_for()
        page.wait_for_timeout(1500)
        watch(page)
        page.locator(".react-aria-ComboBox input").focus()
        page.keyboard.press("Backspace")
        seconds.append(seconds_to_rest(page))
    print(f"gallery after a filter: {[round(value, 2) for value in seconds]} s")
    assert min(seconds) < 0.3 * slowness()


@pytest.mark.alone
@pytest.mark.data
def test_the_gallery_of_the_real_data_opens_and_says_what_the_model_answered(page, with_real_data):
    page.goto(f"{with_real_data}/data?part=Gallery&filter=Subset+of+the+split:+test&filter=Diagnosis:+Melanoma")
    page.locator("figure img").nth(11).wait_for()
    page.get_by_text("Model: ").first.wait_for()
    start = time.monotonic()
    page.get_by_test_id("stPagination").get_by_role("button", name="Page 2", exact=True).click()
    page.wait_for_url("**page=2**")
    page.get_by_text("Model: ").first.wait_for()
    assert time.monotonic() - start < 5


def test_the_audit_says_how_near_duplicates_are_looked_for(page, with_data):
    page.goto(f"{with_data}/data?part=Audit")
    page.get_by_role("button", name=wording.AUDIT_QUICK).wait_for()
    assert page.get_by_text("skinai data audit").count() == 1
