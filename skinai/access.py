"""Who may use the page where sign-in is on: which accounts in which role, and for how long a sign-in holds.

What a provider says of an account is only looked at here; that it was the provider who said it has been proved before.
"""

from __future__ import annotations

import enum
import hashlib
import json
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skinai.errors import AccessError

IDLE_MINUTES = 30
LONGEST_HOURS = 12
# The cookie of a sign-in lives no longer.
_MOST_HOURS = 30 * 24
# From the provider's answer to the first page, also on a slow computer; and by how much its clock may be ahead.
_ARRIVAL_S = 120.0
_KEYS = ("accounts", "domains", "idle_minutes", "longest_hours")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Role(enum.IntEnum):
    """What an account may do; each may all that those before it may."""

    VIEWER = 1
    REVIEWER = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


class State(enum.Enum):
    """Whether a sign-in still holds, or why it does not."""

    LIVE = "live"
    IDLE = "idle"
    TOO_LONG = "too long"
    SIGNED_OUT = "signed out"


@dataclass(frozen=True)
class AccessRules:
    """The allow-list and for how long a sign-in holds.

    Attributes
    ----------
    accounts, domains : mapping of str to Role
        By folded e-mail address, and by folded domain.
    idle_s, longest_s : float
        Seconds without a click, and seconds in all, after which one has to sign in again.
    clients : mapping of str to str
        What the page is called at each provider, by the provider's name.
    """

    accounts: Mapping[str, Role]
    domains: Mapping[str, Role]
    idle_s: float = IDLE_MINUTES * 60.0
    longest_s: float = LONGEST_HOURS * 3600.0
    clients: Mapping[str, str] = field(default_factory=dict)

    def find_role(self, address: str) -> Role | None:
        """Return the role of a folded address; None where neither it nor its domain is listed.

        What is said of an account goes before what is said of its domain.
        """
        if fold_address(address) != address:
            return None
        return self.accounts.get(address) or self.domains.get(address.rpartition("@")[2])


@dataclass(frozen=True)
class Login:
    """One sign-in, as the provider's signed statement has it.

    Attributes
    ----------
    key : str
        Names this sign-in and no other, not even a later one of the same account.
    name : str
        What the account is called on the page; said by the provider, and proved by nobody.
    address : str
        The folded e-mail address; empty where the provider does not say that it is verified.
    issued_at : float
        When, in seconds since 1970.
    """

    key: str
    name: str
    address: str
    issued_at: float


def fold_address(address: str) -> str | None:
    """Return an e-mail address as it is compared; None for what is none.

    Only A to Z are folded: Unicode's own folding makes other letters, such as the Kelvin sign, equal to them.

    >>> fold_address("Ada@Clinic.org"), fold_address("a@clinic.org@evil.com"), fold_address("ada")
    ('ada@clinic.org', None, None)
    """
    name, _, domain = address.partition("@")
    if not name or not domain or "@" in domain or not address.isprintable() or " " in address:
        return None
    return address.translate(_LOWER)


def read_login(claims: Mapping[str, Any], clients: Mapping[str, str]) -> Login | None:
    """Return the sign-in that a provider's claims speak of; None where they speak of none, or not to this page.

    Parameters
    ----------
    claims : mapping
        Of the ID token, with ``is_logged_in`` and the name of the ``provider``.
    clients : mapping of str to str
        What the page is called at each provider.
    """
    client, audience = clients.get(str(claims.get("provider"))), claims.get("aud")
    if client is None or client not in (audience if isinstance(audience, list) else [audience]):
        return None
    issuer, subject, nonce, issued_at = (claims.get(name) for name in ("iss", "sub", "nonce", "iat"))
    named = all(isinstance(value, str) and value for value in (issuer, subject, nonce))
    if claims.get("is_logged_in") is not True or not named:
        return None
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        return None
    given = claims.get("email")
    email = given if isinstance(given, str) else ""
    address = fold_address(email) if claims.get("email_verified") is True else None
    key = hashlib.sha256(json.dumps([issuer, subject, nonce]).encode()).hexdigest()
    return Login(key, email or str(subject), address or "", float(issued_at))


def read_rules(table: object, clients: Mapping[str, str] | None = None) -> AccessRules:
    """Return the rules that a table of a configuration file states, for a page with these names at its providers.

    Raises
    ------
    AccessError
        If anything in it is not understood, or nobody is listed.
    """
    if not isinstance(table, Mapping):
        raise AccessError("The table [skinai.access] is missing, so nobody is listed.")
    if unknown := sorted(set(table) - set(_KEYS)):
        raise AccessError(f"[skinai.access] knows {', '.join(_KEYS)}; it has {', '.join(map(repr, unknown))}.")
    accounts = _read_roles(table, "accounts", fold_address, "an e-mail address")
    domains = _read_roles(table, "domains", _fold_domain, "a domain such as clinic.org, without * and @")
    if not accounts and not domains:
        raise AccessError("[skinai.access] lists neither accounts nor domains.")
    longest_s = _read_duration(table, "longest_hours", LONGEST_HOURS, most=_MOST_HOURS) * 3600
    idle_s = _read_duration(table, "idle_minutes", IDLE_MINUTES, most=_MOST_HOURS * 60) * 60
    return AccessRules(accounts, domains, idle_s, longest_s, clients or {})


def _read_roles(table: Mapping[str, Any], name: str, fold: Callable[[str], str | None], what: str) -> dict[str, Role]:
    given = table.get(name, {})
    if not isinstance(given, Mapping):
        raise AccessError(f"[skinai.access.{name}] is not a table.")
    roles: dict[str, Role] = {}
    for entry, role in given.items():
        folded = fold(entry)
        if folded is None:
            raise AccessError(f"[skinai.access.{name}] has {entry!r}, which is not {what}.")
        if folded in roles:
            raise AccessError(f"[skinai.access.{name}] has {entry!r} twice.")
        if role not in map(str, Role):
            known = ", ".join(map(str, Role))
            raise AccessError(f"[skinai.access.{name}] gives {entry!r} the role {role!r}; there are {known}.")
        roles[folded] = Role[role.upper()]
    return roles


def _fold_domain(domain: str) -> str | None:
    if "*" in domain or domain.startswith(".") or domain.endswith(".") or fold_address(f"a@{domain}") is None:
        return None
    return domain.translate(_LOWER)


def _read_duration(table: Mapping[str, Any], name: str, default: float, *, most: float) -> float:
    given = table.get(name, default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= most:
        raise AccessError(f"[skinai.access] has {name} = {given!r}; it takes a number above 0, at most {most}.")
    return float(given)


@dataclass
class _Record:
    """What is kept of a sign-in: when it was last used, and in which tabs with which role."""

    login: Login
    used_at: float
    runs: int = 0
    ended: State | None = None
    sessions: dict[str, Role | None] = field(default_factory=dict)


class Logins:
    """The sign-ins that this process has let in.

    A signed cookie proves who signed in and when; that the visit has gone on since, that nobody has signed out, and
    which tabs belong to it is known only here. So a sign-in that is older than the idle time and was never seen here,
    as after a restart, does not hold.

    Parameters
    ----------
    read_wall_s, read_steady_s : callable
        The time, in seconds since 1970, and on a clock that nobody sets.
    """

    def __init__(
        self, *, read_wall_s: Callable[[], float] = time.time, read_steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_wall_s, self._read_steady_s = read_wall_s, read_steady_s
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def enter(self, login: Login, rules: AccessRules, session: str) -> State:
        """Note that a tab uses a sign-in, and for as long as :meth:`leave` is not called; or say why it may not."""
        with self._lock:
            self._forget_old(rules)
            state = self._judge(login, rules)
            if state is not State.LIVE:
                self._end(login, state)
                return state
            record = self._records.setdefault(login.key, _Record(login, self._read_steady_s()))
            record.used_at = self._read_steady_s()
            record.runs += 1
            record.sessions[session] = rules.find_role(login.address)
            return state

    def leave(self, login: Login) -> None:
        """Note that what :meth:`enter` began is done; the idle time counts from now on."""
        with self._lock:
            if record := self._records.get(login.key):
                record.runs -= 1
                record.used_at = self._read_steady_s()

    def touch(self, login: Login) -> None:
        """Note that a sign-in is being used; the idle time counts from now on."""
        with self._lock:
            if record := self._records.get(login.key):
                record.used_at = self._read_steady_s()

    def end(self, login: Login) -> None:
        """Let a sign-in hold no longer, in no tab, whoever has a copy of its cookie."""
        with self._lock:
            self._end(login, State.SIGNED_OUT)

    def drop(self, session: str) -> None:
        """Forget a tab, in which nothing is shown any more."""
        with self._lock:
            for record in self._records.values():
                record.sessions.pop(session, None)

    def holds(self, login: Login, rules: AccessRules, session: str | None = None) -> bool:
        """Whether a sign-in that was let in still holds, and, if a tab is named, is that tab's."""
        with self._lock:
            record = self._records.get(login.key)
            if record is None or (session is not None and session not in record.sessions):
                return False
            return self._judge(login, rules) is State.LIVE

    def list_changed(self, rules: AccessRules | None) -> list[str]:
        """Return the tabs that show what their sign-in may no longer see, or not in that role; without rules, all."""
        with self._lock:
            return [
                session
                for one in self._records.values()
                for session, role in one.sessions.items()
                if rules is None
                or self._judge(one.login, rules) is not State.LIVE
                or role is not rules.find_role(one.login.address)
            ]

    def _judge(self, login: Login, rules: AccessRules) -> State:
        age_s = self._read_wall_s() - login.issued_at
        if age_s > rules.longest_s or age_s < -_ARRIVAL_S:
            return State.TOO_LONG
        record = self._records.get(login.key)
        if record is None:
            return State.LIVE if age_s <= max(rules.idle_s, _ARRIVAL_S) else State.IDLE
        if record.ended is not None:
            return record.ended
        idle = record.runs <= 0 and self._read_steady_s() - record.used_at > rules.idle_s
        return State.IDLE if idle else State.LIVE

    def _end(self, login: Login, state: State) -> None:
        record = self._records.setdefault(login.key, _Record(login, self._read_steady_s()))
        record.ended = record.ended or state

    def _forget_old(self, rules: AccessRules) -> None:
        """Forget what is refused by its age alone, once no tab shows anything of it."""
        oldest = self._read_wall_s() - rules.longest_s
        old = [key for key, one in self._records.items() if one.login.issued_at < oldest and not one.sessions]
        for key in old:
            del self._records[key]
