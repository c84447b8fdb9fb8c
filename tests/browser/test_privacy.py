"""Every sentence of the privacy statement on the About page is held by a test here.

One visitor with a real browser goes through all that can be done with a picture whose file is full of names. The server
notes whatever it opens for writing and whomever it wants to connect to, and is refused every address but its own.
"""

import hashlib
import io
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import encode, pack, write_dicom
from PIL import Image, PngImagePlugin
from pypdfium2 import PdfDocument
from test_browser import browser, open_page, pytestmark, read_rows, start_server, upload  # noqa: F401  a fixture, marks

from skinai import wording
from skinai.data.drawing import draw_lesion
from skinai.model.bundle import models_folder

TTL_S = 3
NAMES = ("Jane Doe", "MRN12345", "mrn-12345", "Doe^Jane", "Elm Street", "iPhone 99", "51.4778")
FILE_NAME = "jane-doe-mrn-12345.jpg"
# Runs before anything else is imported. Whoever opens a file for writing or names another computer is written down.
WATCHED = """
import os, sys, threading, time
noted = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
told = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
os.dup2(log, 1), os.dup2(log, 2)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.remove", "shutil.copyfile",
           "tempfile.mkstemp", "tempfile.mkdtemp", "sqlite3.connect"}

def note(what, *facts):
    os.write(noted, (" ".join([what, *map(repr, facts)]) + chr(10)).encode())

def watch(event, facts):
    if event == "open":
        path, mode, flags = facts
        if (set("wax+") & set(mode or "")) or (isinstance(flags, int) and flags & WRITING):
            if path != os.devnull:
                note("write", path)
    elif event in CHANGES:
        note("write", event, *facts[:2])
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        note("process", *facts[:2])
    elif event in ("socket.connect", "socket.sendto"):
        note("connect", facts[1])
        host = facts[1][0] if isinstance(facts[1], tuple) else ""
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise PermissionError("no other computer")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        note("look up", facts[0])
        if facts[0] not in (None, "127.0.0.1", "localhost", b"127.0.0.1"):
            raise PermissionError("no other computer")

sys.addaudithook(watch)
from streamlit import runtime
from skinai.ui import server

def tell(path):
    while True:
        time.sleep(0.2)
        one = runtime.get_instance() if runtime.exists() else None
        if hasattr(one, "_session_mgr"):
            held = sum(len(files) for files in list(one.uploaded_file_mgr.file_storage.values()))
            pictures = len(one.media_file_mgr._storage._files_by_id)
            visits = len(one._session_mgr._session_storage._cache._data) + one._session_mgr.num_active_sessions()
            os.pwrite(told, f"{held} {pictures} {visits}".ljust(40).encode(), 0)

server.read_environment = lambda: {"server.disconnectedSessionTTL": TTL_S}
threading.Thread(target=tell, args=[told], daemon=True).start()
server.main()
""".replace("TTL_S", str(TTL_S))


def write_jpeg(picture):
    """Return a picture whose file names a patient, a place and a camera, in EXIF, XMP and a comment."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x0110] = "Jane Doe MRN12345", "Elm Street", "iPhone 99"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.4778, 0.0, 0.0), 3: "W", 4: (0.0014, 0.0, 0.0)})
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", exif=exif, xmp=b"<x>Jane Doe</x>", comment=b"MRN12345 51.4778")
    return buffer.getvalue()


def write_png(picture):
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Jane Doe MRN12345")
    return encode(picture, "PNG", pnginfo=text)


def hash_folder(folder):
    """Return a hash of every file in a folder."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def told(browser, tmp_path_factory):  # noqa: F811
    """What a visit left behind: in files, in the log, in the browser, in what it took along."""
    base = tmp_path_factory.mktemp("private")
    home, noted, log, held = base / "home", base / "noted", base / "log", base / "held"
    home.mkdir()
    variables = {"SKINAI_DATA": "", "SKINAI_AUDIT": "", "HOME": str(home), "TMPDIR": str(home)}
    variables |= {"XDG_CACHE_HOME": str(home), "SKINAI_CACHE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    models = hash_folder(models_folder())
    command = ("-c", WATCHED, str(noted), str(log), str(held), "app.py")
    for address in start_server(variables, command=command):
        context = browser.new_context(accept_downloads=True)
        page = context.new_page()
        fetched, pictures = [], []
        page.on("request", lambda request, fetched=fetched: fetched.append(request.url))
        taken, names = {}, []
        for name, content in (
            (FILE_NAME, write_jpeg(draw_lesion(3))),
            ("jane-doe-mrn-12345.png", write_png(draw_lesion(4))),
            ("jane-doe-mrn-12345.dcm", write_dicom(draw_lesion(5))),
        ):
            open_page(page, address)
            upload(page, content, name)
            read_rows(page)
            page.get_by_text(wording.AGREEMENT_TITLE, exact=True).wait_for()
            for shown in ("The given picture, upright", "Class activation map"):
                page.locator(f"img[alt^='{shown}']").wait_for()
            shown = page.locator("img").evaluate_all("all => all.map(one => one.src)")
            pictures += [page.request.get(url).body() for url in shown if "/media/" in url]
        for kind in ("PDF", "JSON", "CSV", "FHIR R5"):
            with page.expect_download() as download:
                page.get_by_role("button", name=kind, exact=True).click()
            taken[kind] = Path(download.value.path()).read_bytes()
            names.append(download.value.suggested_filename.encode())
        page.goto(f"{address}/batch")
        inside = {f"jane-doe-mrn-12345/{number}.jpg": write_jpeg(draw_lesion(number)) for number in range(3)}
        page.get_by_test_id("stFileUploaderDropzone").wait_for()
        upload(page, pack(inside), "jane-doe-mrn-12345.zip")
        page.get_by_role("button", name=re.compile("^Analyse")).click()
        page.get_by_test_id("stDataFrame").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV", exact=True).click()
        batch = Path(download.value.path()).read_bytes()
        before = [int(part) for part in held.read_text().split()]
        page.goto(f"{address}/about")
        page.get_by_text(next(iter(wording.PRIVACY.values()))).wait_for()
        about = page.inner_text("body")
        context.close()
        closed = time.monotonic()
        while held.read_text().split() != ["0", "0", "0"] and time.monotonic() - closed < 120:
            time.sleep(0.1)
        yield SimpleNamespace(
            address=address,
            home=home,
            noted=noted.read_text().splitlines(),
            log=log.read_text(),
            fetched=fetched,
            pictures=pictures,
            taken=taken,
            names=names,
            batch=batch,
            about=about,
            before=before,
            after=[int(part) for part in held.read_text().split()],
            seconds=time.monotonic() - closed,
            models_changed=hash_folder(models_folder()) != models,
        )


def find_names(content):
    """Return which of the names are in some bytes, in letters of one or of two bytes."""
    return [name for name in NAMES if any(name.encode(code) in content for code in ("latin-1", "utf-16-le"))]


def check_goes(told):
    """No other computer is asked, by the server or by the page."""
    asked = [line for line in told.noted if line.split()[0] in ("connect", "look")]
    assert [line for line in asked if not re.search(r"'(127\.0\.0\.1|localhost|::1)'|look up None", line)] == []
    assert told.fetched
    local = (told.address, told.address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in told.fetched if not url.startswith(local)] == []


def check_written(told):
    assert [line for line in told.noted if line.startswith(("write", "process"))] == []
    assert list(told.home.rglob("*")) == []


def check_trained(told):
    assert not told.models_changed


def check_logged(told):
    assert find_names(told.log.encode()) == []
    assert not re.search("jane|doe|mrn|Traceback", told.log, re.IGNORECASE)


def check_shown(told):
    """That each of many visitors sees its own picture is held by test_page_load.py."""
    assert len(told.pictures) >= 6  # the picture and the map of each
    for content in told.pictures:
        assert find_names(content) == []
        picture = Image.open(io.BytesIO(content))
        assert not picture.getexif()
        assert not {"xmp", "comment", "exif", "Author"} & set(picture.info)
        assert max(picture.size) <= 640


def check_taken(told):
    assert len(told.taken) == 4
    document = PdfDocument(told.taken["PDF"])
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "melanoma" in text.lower()
    for content in (*told.taken.values(), *told.names, text.encode()):
        assert find_names(content) == []
        assert b"jane" not in content.lower()
    assert told.batch.decode().count("jane-doe-mrn-12345.zip/jane-doe-mrn-12345/") == 3
    assert find_names(told.batch.replace(b"jane-doe-mrn-12345", b"")) == []


def check_ends(told):
    assert told.before[0] >= 1
    assert told.before[2] >= 1
    assert told.after == [0, 0, 0]
    assert told.seconds < TTL_S + TTL_S / 3 + 2


CHECKS = {
    "goes": check_goes,
    "written": check_written,
    "trained": check_trained,
    "logged": check_logged,
    "shown": check_shown,
    "taken": check_taken,
    "ends": check_ends,
}


@pytest.mark.alone
def test_every_sentence_has_its_check_and_stands_on_the_page(told):
    assert list(CHECKS) == list(wording.PRIVACY)
    for sentence in wording.PRIVACY.values():
        assert sentence.format(seconds=TTL_S + TTL_S / 3) in told.about


# One of them measures how long a visit is held; the visit is the same for all.
@pytest.mark.alone
@pytest.mark.parametrize("sentence", wording.PRIVACY)
def test_the_sentence_is_true(told, sentence):
    CHECKS[sentence](told)


@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'w')",
        "import os; os.open('x', os.O_RDWR | os.O_CREAT)",
        "import pathlib; pathlib.Path('x').write_text('y')",
        "import tempfile; tempfile.TemporaryFile()",
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_the_watch_would_see_it(code, tmp_path):
    """What the server must not do is noted when it is done, so that an empty note says something."""
    watch = WATCHED.partition("from streamlit import runtime")[0]
    noted, log = tmp_path / "noted", tmp_path / "log"
    subprocess.run([sys.executable, "-c", watch + code, noted, log, tmp_path / "held"], cwd=tmp_path, check=False)
    assert re.match("write|connect|look up|process", noted.read_text())
