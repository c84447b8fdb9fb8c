"""The page's server as it is started, asked by programs that do not keep to what a browser would do.

The quota of a visit is set to 24 MB and 6 files, so that a test can reach it. No browser is needed.
"""

import asyncio
import contextlib
import http.client
import inspect
import os
import re
import shutil
import subprocess
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
import requests
from conftest import ROOT, free_port
from loopback import running
from page_visitor import Visit, form, open_connection
from streamlit.components.v2 import manifest_scanner
from test_browser import start_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from skinai import wording
from skinai.service import app as service_app
from skinai.service.app import Service
from skinai.ui import server as page_server

PATIENCE_S = 120
MIB = 1024 * 1024
PUBLIC = "skinai.example"
SMALL = """
from skinai import wording
wording.MAX_SESSION_MB, wording.MAX_SESSION_FILES = 24, 6
from skinai.ui.server import main
main()
"""
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A folder with an installed package that brings a component for Streamlit."""
    folder = tmp_path_factory.mktemp("site")
    files = {
        "streamlit_stranger/__init__.py": "",
        "streamlit_stranger/pyproject.toml": """
            [project]
            name = "streamlit-stranger"
            version = "1.0"
            [[tool.streamlit.component.components]]
            name = "x"
            asset_dir = "assets"
        """,
        "streamlit_stranger/assets/told.js": "told",
        "streamlit_stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: streamlit-stranger\nVersion: 1.0\n",
    }
    listed = "".join(f"{name},,\n" for name in files)
    for name, content in {**files, "streamlit_stranger-1.0.dist-info/RECORD": listed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(content))
    return folder


@pytest.fixture(scope="module")
def server(stranger):
    names = {"STREAMLIT_SERVER_ALLOWED_HOSTS": f"localhost 127.0.0.1 {PUBLIC}", "PYTHONPATH": str(stranger)}
    yield from start_server(names, command=("-c", SMALL, "app.py"))


@pytest.fixture
def visit(server):
    with Visit(server) as visit:
        yield visit


def test_it_listens_to_this_computer_alone(server):
    port = int(server.rpartition(":")[2])
    assert requests.get(f"http://127.0.0.1:{port}/_stcore/health", timeout=PATIENCE_S).text == "ok"
    # Who listens on every address has this one too.
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.2:{port}/_stcore/health", timeout=PATIENCE_S)


def test_only_a_variable_has_it_listen_elsewhere(monkeypatch):
    for name in ("ADDRESS", "ALLOWED_HOSTS"):
        monkeypatch.delenv(f"STREAMLIT_SERVER_{name}", raising=False)
    assert page_server.read_environment() == {}
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    monkeypatch.setenv("STREAMLIT_SERVER_ALLOWED_HOSTS", "a.example  b.example")
    expected = {"server.address": "0.0.0.0", "server.allowedHosts": ["a.example", "b.example"]}
    assert page_server.read_environment() == expected


@pytest.mark.parametrize("path", ["/", "/batch", "/report", "/nothing", "/_stcore/health", "/_stcore/host-config"])
def test_every_answer_binds_the_browser_to_this_server(server, path):
    headers = requests.get(server + path, timeout=PATIENCE_S).headers
    script = re.search(r"script-src ([^;]+)", headers["content-security-policy"])[1]
    assert not {"'unsafe-inline'", "'unsafe-eval'", "http:", "https:", "*"} & set(script.split())
    assert f"connect-src 'self' ws://{server[7:]} wss://{server[7:]} data:;" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=(self)" in headers["permissions-policy"]


def test_no_other_site_may_send_the_page_messages(server):
    """Streamlit's own hosting may by default: it could start and stop what the page does."""
    assert requests.get(f"{server}/_stcore/host-config", timeout=PATIENCE_S).json()["allowedOrigins"] == []
    assert '"allowedOrigins": []' in requests.get(server, timeout=PATIENCE_S).text


def test_the_front_end_out_of_memory_has_the_headers_too(server):
    page = requests.get(server, timeout=PATIENCE_S)
    script = re.search(r'src="\.(/static/js/index[^"]+)"', page.text)[1]
    for path in (script, "/static/js/absent.js"):
        headers = requests.get(server + path, timeout=PATIENCE_S).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == page.headers["content-security-policy"]


def test_the_icon_is_ours_at_whatever_address_the_page_is(server):
    for path in ("/", "/report", "/nothing"):
        page = requests.get(server + path, timeout=PATIENCE_S)
        icon = urljoin(page.url, re.search(r'<link rel="shortcut icon" href="([^"]+)"', page.text)[1])
        answer = requests.get(icon, timeout=PATIENCE_S)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == (ROOT / "skinai/ui/icon.png").read_bytes()


@pytest.mark.parametrize(
    ("asked_at", "ends_at"),
    [((), 1004), ((1003,), 1007), ((1003, 1006, 1011), 1010), (range(1000, 2000), 1060)],
)
def test_what_can_wait_leaves_the_processor_to_visitors_for_a_minute(monkeypatch, asked_at, ends_at):
    now = 1000.0

    def sleep(seconds):
        nonlocal now
        now += seconds
        page_server.RequestClock.last = max([1000.0, *(at for at in asked_at if at <= now)])

    monkeypatch.setattr(page_server, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(page_server.RequestClock, "last", 1000.0)
    page_server.wait_for_quiet()
    assert now == ends_at


def test_every_request_tells_the_clock(monkeypatch):
    monkeypatch.setattr(page_server.RequestClock, "last", 0.0)
    answered = []

    async def answer(*asked):
        answered.append((asked, page_server.RequestClock.last))

    begun = time.monotonic()
    for kind in ("http", "websocket"):
        asyncio.run(page_server.RequestClock(answer)({"type": kind}, None, None))
    assert [asked[0]["type"] for asked, _ in answered] == ["http", "websocket"]
    assert all(begun <= told <= time.monotonic() for _, told in answered)


def test_a_picture_is_not_to_be_kept(server):
    assert requests.get(f"{server}/media/absent.jpg", timeout=PATIENCE_S).headers["cache-control"] == "no-store"


def test_components_of_other_packages_are_not_served(server, stranger, monkeypatch):
    monkeypatch.syspath_prepend(stranger)
    found = [one.name for one, _ in inspect.unwrap(manifest_scanner.scan_component_manifests)()]
    assert "streamlit-stranger" in found, "Streamlit would not find it either"
    path = "/_stcore/bidi-components/streamlit-stranger.x/told.js"
    assert requests.get(server + path, timeout=PATIENCE_S).status_code == 404


@pytest.mark.parametrize(
    "path", ["metrics", "agent/openapi.json", "agent/interact", "agent/mcp", "script-health-check"]
)
def test_what_only_programs_ask_for_is_not_there(server, path):
    answer = requests.get(f"{server}/_stcore/{path}", timeout=PATIENCE_S)
    assert (answer.status_code, answer.text) == (404, wording.ADDRESS_UNKNOWN)


@pytest.mark.parametrize(
    ("host", "status"),
    [(PUBLIC, 200), ("localhost:8501", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403)],
)
def test_only_names_that_are_allowed_are_answered(server, host, status):
    """Else another site could have its own name point here, and the browser would take us for it."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": host})
        assert connection.getresponse().status == status


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", None),
        ("null", None),
        (None, "evil.example"),
        ("http://evil.example", "evil.example"),
    ],
)
def test_a_websocket_of_another_site_is_refused(server, origin, host):
    address = server.replace("http", "ws", 1)
    port = int(server.rpartition(":")[2])
    url = f"{address}/_stcore/stream" if host is None else f"ws://{host}:{port}/_stcore/stream"
    options = {"origin": origin, "address": ("127.0.0.1", port), "subprotocols": ["streamlit"], "proxy": None}
    options["open_timeout"] = PATIENCE_S
    with pytest.raises(InvalidStatus) as refused, connect(url, **options):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "lacking", [{"X-Xsrftoken": ""}, {"X-Xsrftoken": "2|00000000|00000000|0"}, {"Cookie": ""}], ids=str
)
def test_without_the_token_nothing_is_uploaded_or_deleted(visit, method, lacking):
    assert visit.send(method, "a", form(b"x"), **lacking).status == 403


def test_a_session_that_there_is_not_takes_no_file(visit, server):
    assert visit.send("PUT", "a", form(b"x"), session="00000000-0000-0000-0000-000000000000").status == 400
    with Visit(server) as ended:
        assert ended.put("a", 1) == 204
    deadline = time.monotonic() + PATIENCE_S
    while (status := ended.put("b", 1)) == 204:
        assert time.monotonic() < deadline
    assert status == 400


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_over_20_mb_is_refused(visit, announced):
    refused = visit.send("PUT", "a", form(bytes(20 * MIB + 1)), announced=announced)
    assert (refused.status, refused.text) == (413, "File too large")
    assert visit.put("a", 20 * MIB - 1000, announced=announced) == 204


def test_an_announced_file_over_20_mb_is_refused_unread(visit):
    with contextlib.closing(open_connection(visit.address)) as connection:
        connection.putrequest("PUT", f"/_stcore/upload_file/{visit.session}/a")
        connection.putheader("X-Xsrftoken", visit.token)
        connection.putheader("Cookie", f"_streamlit_xsrf={visit.token}")
        connection.putheader("Content-Length", str(21 * MIB))
        connection.endheaders()
        assert connection.getresponse().status == 413


@pytest.mark.parametrize("announced", [True, False])
def test_a_visit_holds_so_many_bytes_and_gets_them_back(visit, server, announced):
    assert visit.put("a", 18 * MIB) == 204
    refused = visit.send("PUT", "b", form(bytes(6 * MIB)), announced=announced)
    assert (refused.status, refused.text) == (413, wording.UPLOADS_FULL.format(files=6, size=24))
    assert visit.put("b", 5 * MIB, announced=announced) == 204
    with Visit(server) as other:
        assert other.put("b", 6 * MIB, announced=announced) == 204, "another visit has room of its own"
    assert visit.put("a", 17 * MIB, announced=announced) == 204, "it takes the place of the one before"
    assert visit.send("DELETE", "a").status == 204
    assert visit.put("c", 18 * MIB, announced=announced) == 204


def test_a_visit_holds_so_many_files_also_when_they_come_at_once(visit):
    names = "abcdefgh"
    with ThreadPoolExecutor(len(names)) as pool:
        statuses = dict(zip(names, pool.map(lambda name: visit.put(name, 1), names), strict=True))
    assert set(statuses.values()) == {204, 413}
    kept = [name for name, status in statuses.items() if status == 204]
    assert len(kept) <= 6
    for name in "uvwxyz"[len(kept) :]:
        assert visit.put(name, 1) == 204
    assert visit.put("more", 1) == 413
    assert visit.send("DELETE", kept[0]).status == 204
    assert visit.put("more", 1) == 204


def test_files_that_arrive_at_once_are_bounded_together(visit):
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda name: visit.put(name, 8 * MIB), "abcd"))
    assert set(statuses) <= {204, 413}
    assert statuses.count(204) <= 2


def read_proxy_configuration():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return re.search(r"```nginx\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    """The documented proxy before the page and a service: addresses of both, and the certificate."""
    if not NGINX or not OPENSSL:
        pytest.skip("nginx and openssl are not installed (apt-get install nginx-light openssl)")
    folder = tmp_path_factory.mktemp("proxy")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", names, "-keyout", folder / "skinai.key", "-out"]
    subprocess.run([*command, folder / "skinai.crt"], check=True, capture_output=True)
    service = Service(workers=1, capacity=16, pictures_per_minute=60)
    with running(service) as behind:
        ports = {"80": free_port(), "443": free_port(), "8443": free_port()}
        page, other = split_servers(read_proxy_configuration())
        text = page.replace("listen 443 ", f"listen 127.0.0.1:{ports['443']} ")
        text += other.replace("listen 443 ", f"listen 127.0.0.1:{ports['8443']} ")
        text = text.replace("listen 80;", f"listen 127.0.0.1:{ports['80']};").replace("/etc/nginx/", f"{folder}/")
        text = text.replace("http://127.0.0.1:8501", server).replace("http://127.0.0.1:8600", behind)
        user = "user root;" if os.getuid() == 0 else ""
        places = "".join(
            f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"{user} pid {folder}/pid; error_log {folder}/errors; events {{}}\n"
            f"http {{ access_log off; {places}\n{text} }}\n"
        )
        start = [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "errors", "-g", "daemon off;"]
        with (
            (folder / "said").open("w") as said,
            subprocess.Popen(start, stdout=said, stderr=subprocess.STDOUT) as process,
        ):
            try:
                page = f"https://localhost:{ports['443']}"
                deadline = time.monotonic() + PATIENCE_S
                while True:
                    with contextlib.suppress(requests.ConnectionError):
                        requests.get(f"{page}/_stcore/health", timeout=PATIENCE_S, verify=folder / "skinai.crt")
                        break
                    assert process.poll() is None, (folder / "said").read_text()
                    assert time.monotonic() < deadline, (folder / "errors").read_text()
                    time.sleep(0.05)
                yield SimpleNamespace(
                    plain=f"http://localhost:{ports['80']}",
                    page=page,
                    service=f"https://localhost:{ports['8443']}",
                    certificate=str(folder / "skinai.crt"),
                    folder=folder,
                    pid=process.pid,
                )
            finally:
                process.terminate()


def split_servers(text):
    """Return all but the last server of a configuration, and the last one, so that each gets a port of its own."""
    place = text.rindex("server {")
    return text[:place], text[place:]


def test_through_the_proxy_a_visit_works_over_tls(proxy):
    with Visit(proxy.page, proxy.certificate) as visit:
        assert visit.put("a", 3 * MIB) == 204
        assert visit.send("PUT", "b", form(b"x"), **{"X-Xsrftoken": ""}).status == 403
        assert visit.send("DELETE", "a").status == 204
    asked = requests.get(f"{proxy.page}/_stcore/health", timeout=PATIENCE_S, verify=proxy.certificate)
    assert "max-age" in asked.headers["strict-transport-security"]
    assert [cookie.secure for cookie in asked.cookies] == [True]
    assert "wss://localhost" in asked.headers["content-security-policy"]
    plain = requests.get(f"{proxy.plain}/report", timeout=PATIENCE_S, allow_redirects=False)
    assert (plain.status_code, plain.headers["location"]) == (301, "https://localhost/report")


def test_the_proxy_refuses_what_is_too_large_and_what_is_not_for_visitors(proxy):
    with Visit(proxy.page, proxy.certificate) as visit:
        assert visit.put("a", 22 * MIB) == 413
    for path in ("/_stcore/metrics", "/_stcore/agent/openapi.json"):
        assert requests.get(proxy.page + path, timeout=PATIENCE_S, verify=proxy.certificate).status_code == 403
    assert requests.get(f"{proxy.service}/metrics", timeout=PATIENCE_S, verify=proxy.certificate).status_code == 403


def test_the_proxy_slows_uploads_and_refuses_a_flood(proxy):
    connections = [open_connection(proxy.page, proxy.certificate) for _ in range(40)]
    for connection in connections:  # which takes longer than to send something
        connection.connect()
    with Visit(proxy.page, proxy.certificate) as visit, ThreadPoolExecutor(40) as pool:
        time.sleep(1)  # what tests before have sent is forgiven

        def press(connection):
            """Send until a request is refused, as a slow machine may take long to send more than is let through."""
            sent = []
            while len(sent) < 10 and 429 not in sent:
                sent.append(visit.send("PUT", "a", form(b"x"), connection=connection).status)
            return sent

        assert {status for sent in pool.map(press, connections) for status in sent} == {204, 429}
        time.sleep(1)
        with ThreadPoolExecutor(6) as browser:  # as many as a browser sends at once
            assert set(browser.map(lambda _: visit.put("a", 1), range(18))) == {204}


def test_the_proxy_bounds_visits_of_an_address(proxy):
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(Visit(proxy.page, proxy.certificate))
        with pytest.raises(InvalidStatus) as refused:
            stack.enter_context(Visit(proxy.page, proxy.certificate))
        assert refused.value.response.status_code == 429


def test_nothing_of_an_upload_lies_on_the_proxys_disk(proxy):
    """Its temporary files have no name any more when something is in them, but they are open."""
    with (
        Visit(proxy.page, proxy.certificate) as visit,
        contextlib.closing(open_connection(proxy.page, proxy.certificate)) as connection,
    ):
        body = form(b"Jane Doe MRN 12345" * 100_000)
        connection.putrequest("PUT", f"/_stcore/upload_file/{visit.session}/a")
        connection.putheader("X-Xsrftoken", visit.token)
        connection.putheader("Cookie", f"_streamlit_xsrf={visit.token}")
        connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[:-100])
        time.sleep(0.5)
        opened = list_open_files(proxy.pid)
        connection.send(body[-100:])
        assert connection.getresponse().status == 204
    assert any(name.startswith("socket:") for name in opened), "nothing was looked at"
    assert [name for name in opened if name.startswith(f"{proxy.folder}/client_body/")] == []


def list_open_files(pid):
    """Return what a process and its children have open."""
    children, opened = Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), []
    for link in (link for one in (pid, *children) for link in Path(f"/proc/{one}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # closed since
            opened.append(os.readlink(link))
    return opened


def test_through_the_proxy_the_service_knows_who_asks(proxy, monkeypatch):
    """What a caller says of itself does not count, so nobody gets another rate by it."""
    seen = []
    monkeypatch.setattr(service_app, "name_caller", lambda address: seen.append(address) or address)
    for number in range(3):
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        options = {"headers": headers, "timeout": PATIENCE_S, "verify": proxy.certificate}
        answer = requests.post(f"{proxy.service}/v1/predict", **options)
        assert (answer.status_code, answer.json()["code"]) == (503, "loading")
        assert "strict-transport-security" in answer.headers
    assert seen == ["127.0.0.1"] * 3
