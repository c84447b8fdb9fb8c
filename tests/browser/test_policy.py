"""The pages do all that they do under their own content security policy, which lets nothing else run."""

import base64
import re
from pathlib import Path

import pytest
from conftest import encode
from test_browser import browser, choose_section, open_page, open_tab, pytestmark, start_server, upload, wait_for  # noqa: F401

from skinai import wording
from skinai.data.drawing import draw_lesion

WATCH = """
window.refused = []
document.addEventListener("securitypolicyviolation", (event) =>
  window.refused.push(`${event.effectiveDirective} ${event.blockedURI}`))
"""
WATCH_CAMERA = """
window.opened = []
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
navigator.mediaDevices.getUserMedia = (wanted) => {
    window.opened.push(wanted)
    return open(wanted)
}
"""
PASTE = """(box, content) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0))
    const clipboard = new DataTransfer()
    clipboard.items.add(new File([bytes], "picture", { type: "image/jpeg" }))
    box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: clipboard, bubbles: true }))
}"""


@pytest.fixture(scope="module")
def server(small_data):
    """The app with a folder of drawn pictures to explore."""
    yield from start_server({"SKINAI_DATA": str(small_data)})


@pytest.fixture
def page(open_tab):  # noqa: F811
    """A visit whose browser notes what the policy refuses."""
    page = open_tab(1280, 1400)
    page.add_init_script(WATCH)
    page.complaints = []
    page.on("console", lambda one: "Content Security Policy" in one.text and page.complaints.append(one.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    page.close()


def assert_nothing_is_refused(page):
    assert page.evaluate("window.refused") == []
    assert page.complaints == []


def test_an_answer_with_its_charts_map_and_documents(page, server):
    open_page(page, server)
    upload(page, encode(draw_lesion(3)))
    page.get_by_text("Most probable of the seven").wait_for()
    page.locator("img[alt='The given picture, upright']").wait_for()
    page.locator("img[alt^='Class activation map']").wait_for()
    page.locator(".js-plotly-plot .bars .point text", has_text="%").nth(6).wait_for()
    shown = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert min(shown) > 0, "a picture is not drawn"
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF", exact=True).click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    assert_nothing_is_refused(page)


def test_a_pasted_picture(page, server):
    open_page(page, server)
    page.get_by_text("Paste", exact=True).click()
    box = page.get_by_role("button", name=wording.PASTE_LABEL)
    box.wait_for()
    box.evaluate(PASTE, base64.b64encode(encode(draw_lesion(3))).decode())
    page.get_by_text("Most probable of the seven").wait_for()
    assert_nothing_is_refused(page)


def test_a_batch_with_its_table_and_download(page, server):
    page.goto(f"{server}/batch")
    page.get_by_text(wording.BATCH_EMPTY).wait_for()
    upload(page, encode(draw_lesion(3)))
    press = page.get_by_role("button", name=wording.BATCH_START_ONE)
    press.click()
    page.get_by_test_id("stDataFrame").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 2
    assert_nothing_is_refused(page)


def test_the_camera_and_nothing_else_of_the_visitors_device(page, server):
    page.add_init_script(WATCH_CAMERA)
    open_page(page, server)
    page.get_by_text("The camera", exact=True).click()
    page.get_by_text(wording.CAMERA_TOGGLE).click()
    wait_for(page, "document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="Take Photo").click()
    page.get_by_role("button", name="Clear photo").wait_for()
    page.get_by_text(wording.REFUSED_TITLE).first.wait_for()
    # Opened once: a camera that is opened anew as soon as it shows something takes no picture in between.
    assert page.evaluate("window.opened") == [{"video": {"height": {"ideal": 1080}, "facingMode": "user"}}]
    assert page.get_by_alt_text("Snapshot").evaluate("picture => picture.naturalHeight") == 1080
    allowed = page.evaluate("document.featurePolicy.allowedFeatures()")
    assert "camera" in allowed
    assert not {"microphone", "geolocation", "usb"} & set(allowed)
    assert_nothing_is_refused(page)


@pytest.mark.parametrize(
    ("path", "sections"),
    [
        ("about", []),
        ("report", [wording.SECTION_NAMES[name] for name in ("mistakes", "curves", "thresholds")]),
        ("data", [wording.EXPLORER_SECTIONS[name] for name in ("gallery", "audit")]),
    ],
)
def test_every_other_page_and_section(page, server, path, sections):
    page.goto(f"{server}/{path}")
    page.get_by_text("fingerprint").last.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    assert_nothing_is_refused(page)
    for section in sections:
        choose_section(page, section)
        page.wait_for_timeout(500)
        assert_nothing_is_refused(page)


def test_what_is_not_of_this_server_does_not_run_and_nobody_else_is_told(page, server):
    """Without this the tests above would pass without any policy."""
    page.goto(f"{server}/about")
    page.get_by_text("fingerprint").last.wait_for(state="attached")
    page.evaluate(
        """async () => {
            const script = document.createElement("script")
            script.textContent = "window.injected = 1"
            document.head.append(script)
            const image = new Image()
            image.src = "http://127.0.0.2:1/leak.png"
            await fetch("http://127.0.0.2:1/leak").catch(() => null)
            try { new WebSocket("ws://127.0.0.2:1/leak") } catch (error) { }
            const frame = document.createElement("iframe")
            frame.src = "http://127.0.0.2:1/"
            document.body.append(frame)
        }"""
    )
    wait_for(page, "window.refused.length >= 5")
    refused = {re.sub(r" .*", "", one) for one in page.evaluate("window.refused")}
    assert refused == {"script-src-elem", "img-src", "connect-src", "frame-src"}
    assert page.evaluate("window.injected") is None


def test_no_other_site_can_put_the_page_into_a_frame(browser, server):  # noqa: F811
    context = browser.new_context()
    page = context.new_page()
    other = server.replace("127.0.0.1", "localhost")
    page.route(
        "http://other.example/", lambda route: route.fulfill(body=f"<iframe src='{other}'>", content_type="text/html")
    )
    page.goto("http://other.example/")
    page.wait_for_load_state("networkidle")
    (frame,) = page.frames[1:]
    assert "skinai" not in frame.content()
    assert "stApp" not in frame.content()
    context.close()
