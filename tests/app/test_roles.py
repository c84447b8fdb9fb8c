"""What a visitor may do in each role, and what a wrong configuration does, without a browser and a provider."""

import json
import logging
import shutil
import subprocess
import sys
import time

import pytest
import streamlit as st
from conftest import ROOT, encode
from streamlit import config
from streamlit.testing.v1 import AppTest
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from skinai import wording
from skinai.access import Logins, Role
from skinai.data.drawing import draw_lesion
from skinai.ui import signin
from skinai.ui.navigation import LEAST_ROLE, PAGES

SECRET = "one of the tests alone".ljust(signin.SHORTEST_SECRET, ".")
USER = "_streamlit_user"
AUTH = {
    "redirect_uri": "https://skinai.example/oauth2callback",
    "cookie_secret": SECRET,
    "client_id": "page",
    "client_secret": "secret of both",
    "server_metadata_url": "https://provider.example/.well-known/openid-configuration",
}
ACCESS = {"accounts": {f"{role}@clinic.example": str(role) for role in Role}}
WRITE = "write_rules"


@pytest.fixture(autouse=True)
def _model(small_model, small_data, monkeypatch):
    monkeypatch.setenv("SKINAI_MODEL", str(small_model))
    monkeypatch.setenv("SKINAI_DATA", str(small_data))
    monkeypatch.setattr(signin, "LOGINS", Logins())
    monkeypatch.setattr(signin._Door, "told", "")
    st.cache_resource.clear()
    st.cache_data.clear()


def claim(account, **changes):
    """Return what a session has of a cookie that this server has signed."""
    claims = {"iss": "https://provider.example", "sub": account, "nonce": account, "iat": time.time(), "aud": "page"}
    claims |= {"email": account, "email_verified": True, "provider": "default", "is_logged_in": True}
    return claims | changes


def open_app(account=None, page="", *, auth=AUTH, access=ACCESS, **query):
    """Return the app as an account sees it; without one, as somebody who is not signed in."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.secrets = {"auth": auth, "skinai": {"access": access}}
    app.user = {"is_logged_in": False} if account is None else claim(account)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    if page:
        app.switch_page(page).run()
    return app


def read(app):
    """Return all text that the page shows, in the order of its kinds."""
    assert not app.exception
    groups = (app.title, app.markdown, app.info, app.caption, app.warning, app.error)
    shown = [element.value for group in groups for element in group]
    return "\n".join([*shown, *(element.proto.body for element in app.get("html"))])


@pytest.mark.parametrize("auth", [None, AUTH], ids=["off", "on"])
def test_one_has_to_sign_in_only_where_it_is_configured(auth):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.secrets = {} if auth is None else {"auth": auth, "skinai": {"access": ACCESS}}
    app.run()
    assert (wording.SIGN_IN_ASKED in read(app)) == (auth is not None)
    assert bool(app.file_uploader) == (auth is None)
    assert [button.label for button in app.button] == ([] if auth is None else [wording.SIGN_IN_BUTTON])


def test_who_lets_everybody_in_needs_none_of_the_packages(small_model):
    code = (
        "import sys; sys.modules.update(authlib=None, httpx2=None, joserfc=None)\n"
        "from streamlit.testing.v1 import AppTest; import skinai.ui.server\n"
        "app = AppTest.from_file('app.py', default_timeout=300).run()\n"
        "print(len(app.exception), len(app.file_uploader))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["0", "1"]


WRONG = {
    "no allow-list": (AUTH, None, "is missing"),
    "an empty allow-list": (AUTH, {"accounts": {}}, "lists neither"),
    "an unknown role": (AUTH, {"accounts": {"ada@clinic.example": "boss"}}, "the role 'boss'"),
    "a table of another kind": (AUTH, "everybody", "is missing"),
    "a short secret": (AUTH | {"cookie_secret": "short"}, ACCESS, "cookie_secret"),
    "no secret": ({k: v for k, v in AUTH.items() if k != "cookie_secret"}, ACCESS, "cookie_secret"),
    "a page without TLS": (AUTH | {"redirect_uri": "http://skinai.example/oauth2callback"}, ACCESS, "redirect_uri"),
    "a way back elsewhere": (AUTH | {"redirect_uri": "https://skinai.example/"}, ACCESS, "redirect_uri"),
    "a provider without TLS": (
        AUTH | {"server_metadata_url": "http://provider.example/"},
        ACCESS,
        "server_metadata_url",
    ),
    "half a provider": ({k: v for k, v in AUTH.items() if k != "client_secret"}, ACCESS, "lacks client_secret"),
    "no provider": ({k: AUTH[k] for k in ("redirect_uri", "cookie_secret")}, ACCESS, "has no provider"),
    "auth is no section": ("on", ACCESS, r"[auth] is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_configured_right_lets_nobody_in_and_is_in_the_log(name, caplog):
    auth, access, said = WRONG[name]
    app = open_app("admin@clinic.example", auth=auth, access=access)
    text = read(app)
    assert wording.SIGN_IN_BROKEN in text
    assert said not in text, "a visitor need not know"
    assert not app.button
    assert not app.file_uploader
    assert [said in record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [True]
    app.run()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1, "once is enough"


def test_a_header_that_says_who_somebody_is_lets_nobody_in():
    before = config.get_option("server.trustedUserHeaders")
    config.set_option("server.trustedUserHeaders", {"X-Email": "email"})
    try:
        assert wording.SIGN_IN_BROKEN in read(open_app("admin@clinic.example"))
    finally:
        config.set_option("server.trustedUserHeaders", before)


def test_without_the_packages_that_it_needs_nobody_is_let_in(monkeypatch, caplog):
    monkeypatch.setattr(signin, "_NEEDED_PACKAGES", ("authlib", "a_package_that_there_is_not"))
    signin._list_missing_packages.cache_clear()
    assert wording.SIGN_IN_BROKEN in read(open_app("admin@clinic.example"))
    assert "pip install -r requirements-signin.txt" in caplog.text
    signin._list_missing_packages.cache_clear()


@pytest.mark.parametrize("content", ["[auth\n", "\0", None], ids=["cut", "binary", "a folder"])
def test_secrets_that_cannot_be_read_let_nobody_in(tmp_path, content):
    path = tmp_path / "secrets.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    before = config.get_option("secrets.files")
    config.set_option("secrets.files", [str(path)])
    try:
        assert wording.SIGN_IN_BROKEN in read(AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run())
    finally:
        config.set_option("secrets.files", before)


def test_once_on_no_change_of_the_secrets_opens_the_page(monkeypatch):
    monkeypatch.setattr(signin._Door, "required", True)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    assert wording.SIGN_IN_BROKEN in read(app)
    assert not app.file_uploader


def test_every_provider_has_its_button():
    shared = {name: AUTH[name] for name in ("redirect_uri", "cookie_secret")}
    own = {name: AUTH[name] for name in ("client_id", "client_secret", "server_metadata_url")}
    app = open_app(auth=shared | {"clinic": own, "university": own})
    names = [wording.SIGN_IN_BUTTON_OF.format(provider=name) for name in ("clinic", "university")]
    assert [button.label for button in app.button] == names


@pytest.mark.parametrize("role", list(Role))
def test_each_role_opens_its_pages_and_a_sentence_stands_for_the_others(role):
    app = open_app(f"{role}@clinic.example")
    assert wording.SIGNED_IN_AS.format(name=f"{role}@clinic.example", role=role) in read(app)
    for file, title, address in PAGES:
        refused = wording.ROLE_TOO_LOW.format(needed=LEAST_ROLE[file], role=role)
        if role >= LEAST_ROLE[file]:
            app.switch_page(str(ROOT / file)).run()
            assert refused not in read(app)
            continue
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            app.switch_page(str(ROOT / file))
        hash_of = next(key for key, page in app._registered_pages.items() if page["url_pathname"] == address)
        app._page_hash = hash_of
        app.run()
        assert [one.value for one in app.title] == [title]
        assert refused in read(app)
        assert not app.file_uploader


def test_a_viewer_begins_with_the_report_card():
    assert open_app("viewer@clinic.example").title[0].value == "Report card"


def open_section(app, name, value):
    return app.segmented_control(key=name).set_value(value).run()


@pytest.mark.parametrize("role", list(Role))
def test_only_an_admin_puts_rules_in_force(role, small_model, tmp_path, monkeypatch):
    folder = shutil.copytree(small_model, tmp_path / "model")
    monkeypatch.setenv("SKINAI_MODEL", str(folder))
    monkeypatch.setenv("SKINAI_WORKBENCH", "1")
    app = open_app(f"{role}@clinic.example", str(ROOT / "pages/evidence/report_card.py"))
    open_section(app, "section", "thresholds")
    keys = [button.key for button in app.button]
    assert (WRITE in keys) == (role is Role.ADMIN)
    assert (wording.WORKBENCH_ADMIN in read(app)) == (role is not Role.ADMIN)
    if role is not Role.ADMIN:
        return
    before = (folder / "decision.json").read_bytes()
    # The button is still there in the browser, and what it calls runs before the page does.
    app.secrets = {"auth": AUTH, "skinai": {"access": {"accounts": {"admin@clinic.example": "reviewer"}}}}
    app.button(key=WRITE).click().run()
    assert (folder / "decision.json").read_bytes() == before
    app.secrets = {"auth": AUTH, "skinai": {"access": ACCESS}}
    app.run()
    app.button(key=WRITE).click().run()
    assert (folder / "decision.json").read_bytes() != before


@pytest.mark.parametrize("role", list(Role))
def test_pictures_of_the_data_folder_and_uploads_are_not_for_a_viewer(role):
    app = open_app(f"{role}@clinic.example", str(ROOT / "pages/data/explorer.py"))
    allowed = role >= Role.REVIEWER
    gallery = read(open_section(app, "part", "gallery"))
    assert (wording.ROLE_NO_PICTURES in gallery) != allowed
    assert ("data:image/jpeg" in gallery) == allowed
    assert bool(open_section(app, "part", "split").file_uploader) == allowed
    audit = open_section(app, "part", "audit")
    assert ("audit" in [button.key for button in audit.button]) == (role is Role.ADMIN)


def test_a_visit_that_has_ended_keeps_nothing(monkeypatch):
    app = open_app("reviewer@clinic.example")
    app.file_uploader[0].set_value(("lesion.jpg", encode(draw_lesion(3)), "image/jpeg")).run()
    assert len(app.table[0].value) == 7
    login = signin.read_login(app.user, {"default": "page"})
    signin.LOGINS.end(login)
    app.run()
    assert wording.SIGN_IN_ENDED["signed out"] in read(app)
    assert not app.table
    assert signin.LOGINS.list_changed(None) == []
    app.user = claim("reviewer@clinic.example", nonce="of the next sign-in")
    app.run()
    assert not app.table
    assert wording.EMPTY_STATE in read(app)


@pytest.mark.parametrize(
    "changes", [{"aud": "another page"}, {"provider": "gone"}, {"nonce": None}, {"iat": None}], ids=str
)
def test_a_session_without_all_that_proves_a_sign_in_is_not_signed_in(changes):
    app = open_app("admin@clinic.example")
    app.user = claim("admin@clinic.example", **changes)
    app.run()
    assert wording.SIGN_IN_ASKED in read(app)


def test_an_account_is_shown_as_it_is_and_never_as_markup():
    name = "<img src=x onerror=alert(1)>@clinic.example"
    app = open_app(name)
    assert "&lt;img src=x onerror=alert(1)&gt;@clinic.example" in read(app)
    assert "<img" not in read(app)


def test_a_page_without_a_least_role_is_an_error():
    assert {file for file, _, _ in PAGES} == set(LEAST_ROLE)
    assert LEAST_ROLE["pages/use/analyse.py"] is LEAST_ROLE["pages/use/batch.py"] is Role.REVIEWER


@pytest.fixture
def asked(monkeypatch):
    """A function that says whether a browser with an account's cookie gets pictures, or may write into a session."""
    secrets = st.secrets.__class__()
    secrets._secrets = {"auth": AUTH, "skinai": {"access": ACCESS}}
    monkeypatch.setattr(st, "secrets", secrets)
    monkeypatch.setattr(signin, "get_cookie_secret", lambda: SECRET)

    def ask(claims, session=None, *, secret=SECRET, cookie=None):
        value = create_signed_value(secret, USER, json.dumps(claims)).decode() if cookie is None else cookie
        return signin.answers_request({USER: value}, session)

    return ask


def enter(claims, session):
    rules = signin.read_access()
    return signin.LOGINS.enter(signin.read_login(claims, rules.clients), rules, session)


def test_pictures_are_for_who_is_signed_in_and_uploads_for_a_reviewer_s_own_sessions(asked):
    reviewer, viewer = (claim(f"{role}@clinic.example") for role in ("reviewer", "viewer"))
    assert not asked(reviewer), "a signed cookie alone is not a visit"
    enter(reviewer, "one")
    enter(viewer, "two")
    assert asked(reviewer)
    assert asked(viewer)
    assert asked(reviewer, "one")
    assert not asked(reviewer, "two")
    assert not asked(viewer, "two")
    assert not asked(viewer, "one")
    assert not asked(reviewer, "three")
    assert not asked(reviewer, secret="guessed".ljust(32, "."))
    assert not signin.answers_request({}, None)
    signin.LOGINS.end(signin.read_login(reviewer, {"default": "page"}))
    assert not asked(reviewer)
    assert not asked(reviewer, "one")


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "\xff\xfe", "chunks-9"], ids=repr)
def test_a_cookie_that_is_none_is_refused_without_an_error(asked, cookie):
    assert not asked({}, cookie=cookie)


@pytest.mark.parametrize("content", ["[]", "null", "{", "chunks-2", '"text"'])
def test_a_signed_cookie_that_holds_something_else_is_refused_without_an_error(asked, content):
    assert not asked({}, cookie=create_signed_value(SECRET, USER, content).decode())


def test_where_sign_in_is_off_everybody_gets_an_answer():
    assert signin.answers_request({}, None)
    assert signin.answers_request({}, "any session")
