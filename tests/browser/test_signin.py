"""Sign-in against a provider on this computer: the real server, a real browser, and programs that lie."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit, urlunsplit

import pytest
import requests
from conftest import ROOT, encode, free_port
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from openid_provider import CLIENT, CLIENT_SECRET, providing
from page_visitor import PATIENCE_S, Visit, form
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from test_browser import browser, pytestmark, start_server, upload, wait_for  # noqa: F401

from skinai import wording
from skinai.data.drawing import draw_lesion
from skinai.ui.signin import SHORTEST_SECRET

SECRET = "one of the tests alone".ljust(SHORTEST_SECRET, ".")
USER = "_streamlit_user"
ACCOUNTS = {
    name: {"sub": name, "email": f"{name}@{domain}", "email_verified": verified}
    for name, domain, verified in [
        ("Ada", "Clinic.example", True),
        ("reviewer", "clinic.example", True),
        ("student", "university.example", True),
        ("stranger", "elsewhere.example", True),
        ("claimant", "clinic.example", False),
    ]
}
THRESHOLDS = quote_plus(wording.SECTION_NAMES["thresholds"])
GALLERY = quote_plus(wording.EXPLORER_SECTIONS["gallery"])
MENU = {"viewer": ["Explore the data", "Report card", "About"]}
MENU["reviewer"] = ["Analyse", "Batch", *MENU["viewer"]]


@pytest.fixture(scope="module")
def provider():
    with providing(ACCOUNTS) as provider:
        yield provider


@pytest.fixture(scope="module")
def secrets(tmp_path_factory, provider):
    """A function that writes the secrets, with what is to be different in the table of ours."""
    path = tmp_path_factory.mktemp("secrets") / "secrets.toml"

    def write(*, accounts=("ada@clinic.example",), **times):
        lines = [
            "[auth]",
            'redirect_uri = "http://localhost:{port}/oauth2callback"',
            f'cookie_secret = "{SECRET}"',
            f'client_id = "{CLIENT}"',
            f'client_secret = "{CLIENT_SECRET}"',
            f'server_metadata_url = "{provider.issuer}/.well-known/openid-configuration"',
            "[skinai.access]",
            *(f"{name} = {value}" for name, value in times.items()),
            "[skinai.access.accounts]",
            *(f'"{account}" = "admin"' for account in accounts),
            "[skinai.access.domains]",
            '"clinic.example" = "reviewer"',
            '"university.example" = "viewer"',
        ]
        path.with_suffix(".new").write_text("\n".join(lines))
        os.replace(path.with_suffix(".new"), path)
        return path

    return write


@pytest.fixture(scope="module")
def model(small_model, tmp_path_factory):
    return shutil.copytree(small_model, tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def server(secrets, model, small_data, provider):
    variables = {"STREAMLIT_SECRETS_FILES": str(secrets()), "SKINAI_DATA": str(small_data)}
    command = ("-m", "skinai", "app", "--model", str(model), "--workbench")
    for address in start_server(variables, command=command):
        address = address.replace("127.0.0.1", "localhost")
        provider.redirects.add(f"{address}/oauth2callback")
        yield address


@pytest.fixture(scope="module")
def one_browser(browser):  # noqa: F811
    """A browser that has the front end in its cache after the first page."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(one_browser):
    """A fresh visitor, who is refused nothing on the way and whose policy is kept."""
    one_browser.clear_cookies()
    page = one_browser.new_page()
    page.refused = []
    page.on("response", lambda one: one.status in (401, 403) and page.refused.append(one.url))
    page.on("console", lambda one: "Content Security Policy" in one.text and page.refused.append(one.text))
    yield page
    assert page.refused == []
    page.close()


def sign_in(page, server, account):
    page.goto(server)
    page.get_by_role("button", name=wording.SIGN_IN_BUTTON).click()
    page.get_by_role("link", name=account).click()


def sign_in_as(page, server, account, role):
    """Sign in and wait for the page to say so."""
    sign_in(page, server, account)
    email = ACCOUNTS[account]["email"]
    page.get_by_text(wording.SIGNED_IN_AS.format(name=email, role=role)).wait_for()


def read_menu(page):
    return page.get_by_test_id("stTopNavLink").all_inner_texts()


def assert_nothing_but(page, *sentences, button):
    """Look for all that the page shows: the notice, the name of the program, sentences and one button."""
    main = page.get_by_test_id("stMain")
    main.get_by_text(sentences[-1]).wait_for()
    expected, deadline = [wording.NOTICE, wording.SIGN_IN_TITLE, *sentences, button], time.monotonic() + PATIENCE_S
    while (lines := [line for line in main.inner_text().split("\n") if line.strip()]) != expected:
        assert time.monotonic() < deadline, lines
        page.wait_for_timeout(50)
    assert read_menu(page) == []
    assert main.locator("img, input, iframe, canvas, table").count() == 0


@pytest.mark.parametrize("path", ["", "analyse", "batch", f"report?section={THRESHOLDS}"])
def test_before_anybody_has_signed_in_a_page_shows_a_sentence_and_a_button(page, server, path):
    page.goto(f"{server}/{path}")
    assert_nothing_but(page, wording.SIGN_IN_ASKED, button=wording.SIGN_IN_BUTTON)
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_role("dialog").count() == 0


def test_a_viewer_reads_and_gives_nothing(page, server, provider):
    sign_in_as(page, server, "student", "viewer")
    page.get_by_role("heading", name="Report card").wait_for()
    assert read_menu(page) == MENU["viewer"]
    for path in ("analyse", "batch"):
        page.goto(f"{server}/{path}")
        page.get_by_text("This page needs the role reviewer").wait_for()
        assert page.locator("input[type=file]").count() == 0
    page.goto(f"{server}/report?section={THRESHOLDS}")
    page.get_by_text(wording.WORKBENCH_ADMIN).wait_for()
    assert page.get_by_role("button", name=wording.WORKBENCH_WRITE).count() == 0
    page.goto(f"{server}/data?part={GALLERY}")
    page.get_by_text(wording.ROLE_NO_PICTURES).wait_for()
    assert page.get_by_test_id("stMain").locator("img").count() == 0
    cookies = page.context.cookies(server)
    page.get_by_role("button", name=wording.SIGN_OUT_BUTTON).click()
    assert_nothing_but(page, wording.SIGN_IN_ASKED, button=wording.SIGN_IN_BUTTON)
    assert USER not in {cookie["name"] for cookie in page.context.cookies(server)}
    told = provider.ended[-1]
    assert jwt.decode(told["id_token_hint"], provider.key, algorithms=["RS256"]).claims["sub"] == "student"
    page.context.add_cookies(cookies)
    page.goto(server)
    assert_nothing_but(page, wording.SIGN_IN_ENDED["signed out"], button=wording.SIGN_IN_BUTTON)


def test_a_reviewer_gives_pictures_that_nobody_else_gets_and_nobody_else_gives_any(page, server):
    sign_in_as(page, server, "reviewer", "reviewer")
    assert read_menu(page) == MENU["reviewer"]
    upload(page, encode(draw_lesion(3)))
    picture = page.locator("img[alt='The given picture, upright']")
    picture.wait_for()
    address = page.evaluate("image => image.src", picture.element_handle())
    assert address.startswith(f"{server}/media/")
    assert page.evaluate("image => image.naturalWidth", picture.element_handle()) > 0
    refused = requests.get(address, timeout=PATIENCE_S)
    assert (refused.status_code, refused.text) == (403, wording.SIGNED_IN_ONLY)
    assert refused.headers["x-content-type-options"] == "nosniff"
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies(server)}
    assert requests.get(address, cookies={USER: cookies[USER]}, timeout=PATIENCE_S).status_code == 200
    # Not the last character, of which some bits are not looked at.
    kept, changed, rest = cookies[USER][:-9], cookies[USER][-9], cookies[USER][-8:]
    forged = kept + ("A" if changed != "A" else "B") + rest
    assert requests.get(address, cookies={USER: forged}, timeout=PATIENCE_S).status_code == 403
    with Visit(server) as visit:
        assert visit.send("PUT", "a", form(b"x")).status == 403
        assert visit.send("DELETE", "a").status == 403
        # Somebody's cookie does not open a session that is not his.
        given = f"_streamlit_xsrf={visit.token}; {USER}={cookies[USER]}"
        assert visit.send("PUT", "a", form(b"x"), Cookie=given).status == 403
    page.get_by_test_id("stTopNavLink").filter(has_text="About").click()
    page.get_by_text("Your browser keeps a cookie until you sign out").wait_for()


def test_an_admin_puts_rules_in_force_and_is_none_once_the_list_says_so(page, server, model, secrets):
    sign_in_as(page, server, "Ada", "admin")
    page.goto(f"{server}/report?section={THRESHOLDS}")
    page.get_by_role("button", name=wording.WORKBENCH_WRITE).click()
    page.get_by_text("version 2").first.wait_for()
    assert json.loads((model / "decision.json").read_text())["version"] == 2
    try:
        secrets(accounts=["somebody@clinic.example"])
        page.get_by_text(wording.SIGNED_IN_AS.format(name=ACCOUNTS["Ada"]["email"], role="reviewer")).wait_for()
        page.get_by_text(wording.WORKBENCH_ADMIN).wait_for()
        assert page.get_by_role("button", name=wording.WORKBENCH_WRITE).count() == 0
    finally:
        secrets()


@pytest.mark.parametrize(
    ("account", "sentence"), [("stranger", wording.SIGN_IN_UNLISTED), ("claimant", wording.SIGN_IN_UNVERIFIED)]
)
def test_who_is_not_listed_or_not_verified_reads_so_and_can_sign_out(page, server, account, sentence):
    sign_in(page, server, account)
    said = sentence.format(name=ACCOUNTS[account]["email"])
    page.get_by_text(said[-30:]).wait_for()
    assert_nothing_but(page, said, button=wording.SIGN_OUT_BUTTON)
    page.get_by_role("button", name=wording.SIGN_OUT_BUTTON).click()
    assert_nothing_but(page, wording.SIGN_IN_ASKED, button=wording.SIGN_IN_BUTTON)


def test_who_does_nothing_is_signed_out_and_nothing_of_the_visit_is_left(page, server, secrets):
    sign_in_as(page, server, "reviewer", "reviewer")
    upload(page, encode(draw_lesion(3)))
    picture = page.locator("img[alt='The given picture, upright']")
    picture.wait_for()
    address = page.evaluate("image => image.src", picture.element_handle())
    cookie = {cookie["name"]: cookie["value"] for cookie in page.context.cookies(server)}[USER]
    # A picture that the browser asks for later is refused, as it should be.
    wait_for(page, "() => document.querySelector('.stApp').dataset.testScriptState === 'notRunning'")
    wait_for(page, "() => [...document.images].every(image => image.naturalWidth > 0)")
    try:
        secrets(idle_minutes=0.02)
        assert_nothing_but(page, wording.SIGN_IN_ENDED["idle"], button=wording.SIGN_IN_BUTTON)
    finally:
        secrets()
    assert requests.get(address, cookies={USER: cookie}, timeout=PATIENCE_S).status_code == 403
    page.reload()
    assert_nothing_but(page, wording.SIGN_IN_ENDED["idle"], button=wording.SIGN_IN_BUTTON)
    page.get_by_role("button", name=wording.SIGN_IN_BUTTON).click()
    page.get_by_role("link", name="reviewer").click()
    page.get_by_text(wording.EMPTY_STATE).wait_for()


def forge_cookie(server, *, secret=SECRET, **changes):
    now = time.time()
    claims = ACCOUNTS["Ada"] | {
        "iss": "https://evil.example",
        "aud": CLIENT,
        "nonce": "n",
        "iat": now,
        "origin": server,
    }
    value = json.dumps(claims | {"is_logged_in": True, "provider": "default"} | changes)
    return create_signed_value(secret, USER, value).decode()


def test_a_cookie_that_this_server_has_not_signed_signs_nobody_in(page, server):
    own = forge_cookie(server)
    forged = {
        "another secret": forge_cookie(server, secret="guessed".ljust(32, ".")),
        "another origin": forge_cookie(server, origin="http://evil.example"),
        "tampered": own[:3] + ("A" if own[3] != "A" else "B") + own[4:],
        "cut": own.rpartition(".")[0],
        "of another cookie": create_signed_value(SECRET, "_streamlit_user_tokens", "{}").decode(),
    }
    for name, value in {**forged, "as this server signs": own}.items():
        page.context.add_cookies([{"name": USER, "value": value, "url": server}])
        page.goto(server)
        if name == "as this server signs":  # without which the others would prove nothing
            page.get_by_text(wording.SIGNED_IN_AS.format(name="Ada@Clinic.example", role="admin")).wait_for()
        else:
            assert_nothing_but(page, wording.SIGN_IN_ASKED, button=wording.SIGN_IN_BUTTON)


class Program:
    """What signs in as a browser does, and looks at each step."""

    def __init__(self, server):
        self.server, self.session = server, requests.Session()
        asked = {"provider": "default", "exp": int(time.time()) + 60}
        token = jwt.encode({"alg": "HS256"}, asked, OctKey.import_key(SECRET))
        self.asked = self.get(f"{server}/auth/login?provider={token}").headers["location"]

    def get(self, address):
        return self.session.get(address, timeout=PATIENCE_S, allow_redirects=False)

    def choose(self, account):
        """Return where the provider sends the browser back to."""
        assert self.get(self.asked).status_code == 200
        return self.get(self.asked.replace("/authorize?", "/allow?") + f"&account={account}").headers["location"]

    def is_signed_in_by(self, address):
        answer = self.get(address)
        assert answer.status_code == 302
        assert answer.headers["location"] == "/"
        return USER in answer.cookies


@pytest.fixture
def program(server):
    return Program(server)


def lie(provider, name):
    """Return a function that writes an ID token which must not be believed."""
    other = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
    now = int(time.time())

    def sign_none(claims):
        return jwt.encode({"alg": "none"}, claims, OctKey.import_key("x" * 32), algorithms=["none"])

    def sign_by_public_key(claims):
        public = provider.key.as_pem(private=False)
        return jwt.encode({"alg": "HS256", "kid": "first"}, claims, OctKey.import_key(public), algorithms=["HS256"])

    def tamper(claims):
        head, _, signature = provider.sign(claims | {"email": "nobody@elsewhere.example"}).split(".")
        return ".".join([head, provider.sign(claims).split(".")[1], signature])

    changed = {
        "another audience": {"aud": "another-client"},
        "no audience": {"aud": None},
        "another issuer": {"iss": "https://evil.example"},
        "another nonce": {"nonce": "of an older sign-in"},
        "no nonce": {"nonce": None},
        "expired": {"iat": now - 900, "exp": now - 600},
        "no expiry": {"exp": None},
        "issued in the future": {"iat": now + 3600, "exp": now + 7200},
    }
    if name in changed:
        return lambda claims: provider.sign({k: v for k, v in (claims | changed[name]).items() if v is not None})
    writers = {
        "signed by another key": lambda claims: provider.sign(claims, key=other),
        "alg none": sign_none,
        "signed with the public key as a secret": sign_by_public_key,
        "body of another token": tamper,
        "no token at all": lambda claims: "",
    }
    return writers[name]


LIES = (
    *("another audience", "no audience", "another issuer", "another nonce", "no nonce", "expired", "no expiry"),
    *("issued in the future", "signed by another key", "alg none", "signed with the public key as a secret"),
    *("body of another token", "no token at all"),
)


@pytest.mark.parametrize("name", LIES)
def test_an_id_token_that_does_not_prove_it_signs_nobody_in(program, provider, monkeypatch, name):
    monkeypatch.setattr(provider, "write_token", lie(provider, name))
    assert not program.is_signed_in_by(program.choose("Ada"))
    assert USER not in program.session.cookies


def change(address, **values):
    parts = urlsplit(address)
    query = {name: given[0] for name, given in parse_qs(parts.query).items()} | values
    return urlunsplit(parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})))


def test_the_way_back_works_once_for_the_browser_that_asked(program, server):
    back = program.choose("Ada")
    for wrong in ({"state": "guessed"}, {"state": None}, {"code": "guessed"}):
        other = Program(server)
        assert not other.is_signed_in_by(change(other.choose("Ada"), **wrong)), wrong
    assert not Program(server).is_signed_in_by(back), "another browser brings somebody's answer"
    assert program.is_signed_in_by(back)
    assert not program.is_signed_in_by(back)


def test_a_sign_in_is_asked_for_with_all_that_protects_it(program):
    asked = {name: given[0] for name, given in parse_qs(urlsplit(program.asked).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert min(len(asked[name]) for name in ("state", "nonce")) >= 16
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}


def test_the_cookie_is_for_this_server_alone_and_no_script_reads_it(program):
    answer = program.get(program.choose("Ada"))
    told = [value for name, value in answer.raw.headers.items() if name.lower() == "set-cookie" and USER in value]
    assert told
    for value in told:
        assert re.search(r"; HttpOnly", value, re.IGNORECASE)
        assert re.search(r"; SameSite=lax", value, re.IGNORECASE)
        assert "domain" not in value.lower()


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.eyJwcm92aWRlciI6ImRlZmF1bHQifQ."])
def test_nobody_is_sent_to_a_provider_by_an_address_that_is_not_ours(server, token):
    answer = requests.get(f"{server}/auth/login?provider={token}", timeout=PATIENCE_S, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")


def test_the_app_does_not_start_without_the_secrets_that_were_named(tmp_path):
    """Streamlit would start without them, and so without sign-in."""
    environment = os.environ | {"STREAMLIT_SECRETS_FILES": str(tmp_path / "absent.toml")}
    command = [sys.executable, "-m", "skinai.ui.server", "app.py", "--port", str(free_port())]
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": PATIENCE_S}
    done = subprocess.run(command, **options)
    assert done.returncode == 2
    assert f"There is no {tmp_path / 'absent.toml'}" in done.stderr
