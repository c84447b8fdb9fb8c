"""Sign-in by OpenID Connect, where Streamlit's secrets have an `[auth]` section: who is let in, and until when.

Streamlit asks the provider and proves its answer; the cookie that it signs then lives for 30 days, whatever happens.
Here it is held against the allow-list in each run of the script, and a sign-in ends on the server too.
"""

from __future__ import annotations

import contextlib
import functools
import html
import importlib.util
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config, runtime
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from skinai import wording
from skinai.access import AccessRules, Login, Logins, Role, State, read_login, read_rules
from skinai.errors import AccessError
from skinai.ui import navigation

LOG = logging.getLogger("skinai.ui")
SHORTEST_SECRET = 32
_OF_A_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
_CALLBACK = "/oauth2callback"
_NEEDED_PACKAGES = ("authlib", "httpx2")
_THIS_COMPUTER = ("localhost", "127.0.0.1", "::1")
_WATCH_S = 1.0
_ACCOUNT_STYLE = "font-size:.9rem;overflow-wrap:anywhere"
_SENTENCE_STYLE = "margin:0;overflow-wrap:anywhere"

LOGINS = Logins()
Given = ParamSpec("Given")


class _Door:
    """Whether this process began with sign-in on, and what of its configuration was last told in the log."""

    required = False
    told = ""


@dataclass(frozen=True)
class Visitor:
    """Who sees the page.

    Attributes
    ----------
    role : Role
    login : Login or None
        None where nobody has to sign in.
    """

    role: Role
    login: Login | None = None

    @property
    def name(self) -> str:
        """What the account is called; empty where nobody has to sign in."""
        return "" if self.login is None else self.login.name


def is_on() -> bool:
    """Whether one has to sign in: the secrets speak of it, did so when the process began, or cannot be read."""
    if _Door.required:
        return True
    try:
        secrets = _read_secrets()
    except AccessError:
        return True
    return "auth" in secrets or _find_table(secrets) is not None


def begin() -> None:
    """Find out whether one has to sign in, and if so say it; no later change of the secrets opens the page again."""
    _Door.required = is_on()
    if not _Door.required:
        return
    with contextlib.suppress(AccessError):
        rules = read_access()
        print(wording.SIGN_IN_ON.format(accounts=len(rules.accounts), domains=len(rules.domains)), flush=True)
    threading.Thread(target=_watch, name="sign-ins", daemon=True).start()


def read_access() -> AccessRules:
    """Return who may use the page; what is wrong with the configuration is written to the log, once.

    Raises
    ------
    AccessError
        If sign-in is not configured as it has to be.
    """
    try:
        secrets = _read_secrets()
        clients = _read_clients(secrets.get("auth"))
        if config.get_option("server.trustedUserHeaders"):
            raise AccessError("server.trustedUserHeaders lets a header say who somebody is; take it out.")
        if missing := _list_missing_packages():
            raise AccessError(f"Sign-in needs {missing}: pip install -r requirements-signin.txt.")
        rules = read_rules(_find_table(secrets), clients)
    except AccessError as error:
        if _Door.told != str(error):
            LOG.error("%s %s", wording.SIGN_IN_BROKEN, error)
            _Door.told = str(error)
        raise
    _Door.told = ""
    return rules


@contextlib.contextmanager
def admit() -> Iterator[Visitor]:
    """Let who is signed in and listed see the page; show everybody else a sentence and end the run."""
    if not is_on():
        yield Visitor(Role.ADMIN)
        return
    visitor = _let_in()
    assert visitor.login is not None
    try:
        yield visitor
    finally:
        LOGINS.leave(visitor.login)


def find_visitor() -> Visitor | None:
    """Return who sees the page, also before and beside a run of the script; None for who may not."""
    if not is_on():
        return Visitor(Role.ADMIN)
    try:
        rules = read_access()
    except AccessError:
        return None
    login = read_login(st.user.to_dict(), rules.clients)
    role = None if login is None else rules.find_role(login.address)
    return Visitor(role, login) if login is not None and role is not None and LOGINS.holds(login, rules) else None


def has_role(role: Role) -> bool:
    """Whether who sees the page has a role, or one that may more."""
    visitor = find_visitor()
    return visitor is not None and visitor.role >= role


def fragment(function: Callable[Given, None]) -> Callable[Given, None]:
    """Make a function a fragment, which runs without the rest of the script: that too takes a sign-in that holds."""

    @st.fragment
    @functools.wraps(function)
    def run(*args: Given.args, **options: Given.kwargs) -> None:
        visitor = find_visitor()
        if visitor is None:
            st.rerun()
        if visitor.login is not None:
            LOGINS.touch(visitor.login)
        function(*args, **options)

    return run


def show_account(visitor: Visitor) -> None:
    """Show who is signed in, in which role, and a button to sign out; nothing where nobody has to sign in."""
    if visitor.login is None:
        return
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        # Markdown would make a link of an address.
        said = html.escape(wording.SIGNED_IN_AS.format(name=visitor.name, role=visitor.role))
        st.html(f'<span style="{_ACCOUNT_STYLE}">{said}</span>', width="content")
        st.button(wording.SIGN_OUT_BUTTON, key="sign_out", type="tertiary", on_click=_sign_out)


def answers_request(cookies: Mapping[str, str], session: str | None) -> bool:
    """Whether a browser that sends these cookies gets pictures and, if a session is named, may put files into it."""
    if not is_on():
        return True
    try:
        rules = read_access()
    except AccessError:
        return False
    login = _read_cookie(cookies, rules)
    role = None if login is None else rules.find_role(login.address)
    if login is None or role is None or not LOGINS.holds(login, rules, session):
        return False
    return session is None or role >= Role.REVIEWER


def _read_secrets() -> dict[str, Any]:
    try:
        return st.secrets.to_dict()
    except StreamlitSecretNotFoundError as error:
        if not any(os.path.lexists(path) for path in config.get_option("secrets.files")):
            return {}
        raise AccessError(f"The secrets cannot be read. {error}") from error
    except (OSError, ValueError) as error:
        raise AccessError(f"The secrets cannot be read. {error}") from error


@functools.cache
def _list_missing_packages() -> str:
    return " and ".join(name for name in _NEEDED_PACKAGES if importlib.util.find_spec(name) is None)


def _find_table(secrets: Mapping[str, Any]) -> Any:
    ours = secrets.get("skinai")
    return ours.get("access") if isinstance(ours, Mapping) else ours


def _read_clients(auth: Any) -> dict[str, str]:
    """Return what the page is called at each provider; refuse what would leave a way in beside it."""
    if not isinstance(auth, Mapping):
        raise AccessError("The section [auth] is missing.")
    secret = auth.get("cookie_secret")
    if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET:
        raise AccessError(f"cookie_secret in [auth] has to have {SHORTEST_SECRET} characters or more.")
    redirect = auth.get("redirect_uri")
    if not _is_private(redirect) or not str(redirect).endswith(_CALLBACK):
        raise AccessError(f"redirect_uri in [auth] has to be the page's https:// address with {_CALLBACK} behind it.")
    providers = _find_providers(auth)
    if not providers:
        raise AccessError(f"[auth] has no provider: {', '.join(_OF_A_PROVIDER)}.")
    for name, provider in providers.items():
        place = f"[auth.{name}]" if name else "[auth]"
        if missing := [key for key in _OF_A_PROVIDER if not provider.get(key)]:
            raise AccessError(f"{place} lacks {', '.join(missing)}.")
        if "_" in name:
            raise AccessError(f"The name of {place} has an underscore, which Streamlit does not take.")
        if not _is_private(provider["server_metadata_url"]):
            raise AccessError(f"server_metadata_url in {place} has to be an https:// address.")
    return {name or "default": str(provider["client_id"]) for name, provider in providers.items()}


def _is_private(address: Any) -> bool:
    """Whether nobody on the way can read or change what is sent to an address."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_COMPUTER)


def _find_providers(auth: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the providers by name, the one without a name under ``""``."""
    named = {name: part for name, part in auth.items() if isinstance(part, Mapping) and name != "client_kwargs"}
    return ({"": auth} if any(key in auth for key in _OF_A_PROVIDER) else {}) | named


def _let_in() -> Visitor:
    """Return who is signed in, listed, and still in time; or end the run."""
    try:
        rules = read_access()
    except AccessError:
        _close(wording.SIGN_IN_BROKEN)
    claims = st.user.to_dict()
    login = read_login(claims, rules.clients)
    if login is None:
        _close(wording.SIGN_IN_ASKED, ask=True)
    role = rules.find_role(login.address)
    if role is None:
        unverified = not login.address and claims.get("email")
        _close(wording.SIGN_IN_UNVERIFIED if unverified else wording.SIGN_IN_UNLISTED, login=login)
    state = LOGINS.enter(login, rules, _name_session())
    if state is not State.LIVE:
        _close(wording.SIGN_IN_ENDED[state.value], ask=True)
    return Visitor(role, login)


def _close(sentence: str, *, ask: bool = False, login: Login | None = None) -> NoReturn:
    """Show a sentence and at most the button that helps, let go of what the session holds, and end the run."""
    from skinai.ui.components import show_notice

    LOGINS.drop(_name_session())
    st.session_state.clear()
    runtime.get_instance().uploaded_file_mgr.remove_session_files(_name_session())
    # Whatever address was asked for, there is this page only, and no menu.
    st.navigation(navigation.build_closed_pages(), position="hidden")
    st.set_page_config(page_title=wording.SIGN_IN_TITLE, layout="centered")
    show_notice()
    st.title(wording.SIGN_IN_TITLE)
    name = "" if login is None else f"<b>{html.escape(login.name)}</b>"
    st.html(f'<p style="{_SENTENCE_STYLE}">{sentence.format(name=name)}</p>')
    if ask:
        _show_providers()
    if login is not None:
        st.button(wording.SIGN_OUT_BUTTON, key="sign_out", on_click=_sign_out)
    st.stop()


def _show_providers() -> None:
    for name in _find_providers(_read_secrets()["auth"]):
        label = wording.SIGN_IN_BUTTON_OF.format(provider=name) if name else wording.SIGN_IN_BUTTON
        st.button(label, key=f"sign_in_{name}", on_click=st.login, args=(name or None,))


def _sign_out() -> None:
    """End the sign-in in all tabs, and have the browser forget it and tell the provider."""
    with contextlib.suppress(AccessError):
        if login := read_login(st.user.to_dict(), read_access().clients):
            LOGINS.end(login)
    st.logout()


def _name_session() -> str:
    context = get_script_run_ctx()
    assert context is not None
    return context.session_id


def _read_cookie(cookies: Mapping[str, str], rules: AccessRules) -> Login | None:
    """Return the sign-in of the cookie that Streamlit has signed; None where there is none."""

    def read(name: str) -> bytes | None:
        value = cookies.get(name)
        return None if value is None else decode_signed_value(get_cookie_secret(), name, value.encode("latin-1"))

    try:
        signed = get_cookie_with_chunks(read, USER_COOKIE_NAME)
        claims = None if signed is None else json.loads(signed)
    except ValueError:
        return None
    return read_login(claims, rules.clients) if isinstance(claims, dict) else None


def _watch() -> None:
    """Have the script run in each tab that shows more than its sign-in may see."""
    while True:
        time.sleep(_WATCH_S)
        try:
            _update_tabs()
        except Exception:
            LOG.exception("The sign-ins could not be looked through.")


def _update_tabs() -> None:
    try:
        rules: AccessRules | None = read_access()
    except AccessError:
        rules = None
    changed = LOGINS.list_changed(rules)
    if not changed:
        return
    # Streamlit has no public way to run a session's script from outside; this is its own when a file has changed.
    active = {one.session.id: one.session for one in runtime.get_instance()._session_mgr.list_active_sessions()}
    for session in changed:
        if session in active:
            active[session].request_rerun(active[session]._client_state)
        else:
            LOGINS.drop(session)
