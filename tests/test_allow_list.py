"""Who is let in, in which role, and for how long, without a page."""

import pytest

from skinai.access import AccessRules, Logins, Role, State, fold_address, read_login, read_rules
from skinai.errors import AccessError

TABLE = {
    "accounts": {"Ada@clinic.org": "admin", "guest@elsewhere.org": "viewer", "müller@clinic.org": "viewer"},
    "domains": {"Clinic.org": "reviewer"},
}
CLIENTS = {"default": "page", "other": "page of another provider"}
CLAIMS = {
    "provider": "default",
    "aud": "page",
    "is_logged_in": True,
    "iss": "https://provider.example",
    "sub": "17",
    "nonce": "n1",
    "iat": 1000.0,
    "email": "Ada@Clinic.org",
    "email_verified": True,
}


def read(claims):
    return read_login(claims, CLIENTS)


@pytest.mark.parametrize(
    ("address", "role"),
    [
        ("ada@clinic.org", Role.ADMIN),
        ("ADA@CLINIC.ORG", Role.ADMIN),
        ("bob@clinic.org", Role.REVIEWER),
        ("guest@elsewhere.org", Role.VIEWER),
        ("müller@clinic.org", Role.VIEWER),
        ("Müller@Clinic.org", Role.VIEWER),
        ("bob@elsewhere.org", None),
        ("bob@evil-clinic.org", None),
        ("bob@sub.clinic.org", None),
        ("bob@clinic.org.evil.com", None),
        ("bob@clinic.org@evil.com", None),
        ("bob@evil.com@clinic.org", None),
        ('"bob@evil.com"@clinic.org', None),
        ("bob@clinic.org.", None),
        ("bob@clinic.org ", None),
        ("bob@ clinic.org", None),
        ("bob\n@clinic.org", None),
        ("bob@clinic.org\0", None),
        ("bob@clinic\u200b.org", None),
        ("@clinic.org", None),
        ("clinic.org", None),
        ("bob@", None),
        ("", None),
    ],
)
def test_an_account_has_its_role_or_its_domains_and_nobody_else_has_one(address, role):
    folded = fold_address(address)
    assert (None if folded is None else read_rules(TABLE).find_role(folded)) == role


@pytest.mark.parametrize(
    "address",
    [
        "bob@\u0441linic.org",  # a Cyrillic letter for the c
        "bob@clinic.\u043erg",  # another for the o
        "bob@cl\u0131nic.org",  # an i without its dot
        "bob@cL\u0130nic.org",
        "bob@\uff43\uff4c\uff49\uff4e\uff49\uff43.org",
        "bob@clinic\uff0eorg",
        "bob\uff20clinic.org",
        "bob@cli\u00adnic.org",
        "\u202ebob@clinic.org",
    ],
)
def test_what_only_looks_like_a_listed_domain_is_not_let_in(address):
    folded = fold_address(address)
    assert folded is None or read_rules(TABLE).find_role(folded) is None


@pytest.mark.parametrize(
    "address", ["guest@el\u017fewhere.org", "gue\u017ft@elsewhere.org", "\u212aate@clinic.example"]
)
def test_letters_that_unicode_folds_to_others_stay_what_they_are(address):
    """`casefold` makes an s of the long s and a k of the Kelvin sign: another mailbox would be let in."""
    table = {"accounts": {"guest@elsewhere.org": "viewer", "kate@clinic.example": "admin"}}
    assert read_rules(table).find_role(address.casefold()) is not None, "the test would not see it"
    assert read_rules(table).find_role(fold_address(address)) is None


def test_of_an_account_and_its_domain_the_account_counts_also_where_it_may_less():
    table = {"accounts": {"trainee@clinic.org": "viewer"}, "domains": {"clinic.org": "admin"}}
    assert read_rules(table).find_role("trainee@clinic.org") is Role.VIEWER


def test_a_role_may_all_that_those_before_it_may():
    assert Role.VIEWER < Role.REVIEWER < Role.ADMIN
    assert [str(role) for role in Role] == ["viewer", "reviewer", "admin"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (None, "is missing"),
        ("everybody", "is missing"),
        ({}, "lists neither accounts nor domains"),
        ({"accounts": {}, "domains": {}}, "lists neither accounts nor domains"),
        ({"accounts": ["ada@clinic.org"]}, r"\[skinai.access.accounts\] is not a table"),
        ({"account": {"ada@clinic.org": "admin"}}, "it has 'account'"),
        ({"accounts": {"ada@clinic.org": "boss"}}, "the role 'boss'; there are viewer, reviewer, admin"),
        ({"accounts": {"ada@clinic.org": "Admin"}}, "the role 'Admin'"),
        ({"accounts": {"ada@clinic.org": 3}}, "the role 3"),
        ({"accounts": {"ada@clinic.org": ["admin"]}}, "the role"),
        ({"accounts": {"clinic.org": "admin"}}, "'clinic.org', which is not an e-mail address"),
        ({"accounts": {"a@clinic.org": "viewer", "A@Clinic.org": "admin"}}, "'A@Clinic.org' twice"),
        ({"domains": {"*.clinic.org": "viewer"}}, "which is not a domain"),
        ({"domains": {".clinic.org": "viewer"}}, "which is not a domain"),
        ({"domains": {"clinic.org.": "viewer"}}, "which is not a domain"),
        ({"domains": {"@clinic.org": "viewer"}}, "which is not a domain"),
        ({"domains": {"": "viewer"}}, "which is not a domain"),
        ({**TABLE, "idle_minutes": 0}, "idle_minutes = 0"),
        ({**TABLE, "idle_minutes": "30"}, "idle_minutes = '30'"),
        ({**TABLE, "idle_minutes": True}, "idle_minutes = True"),
        ({**TABLE, "idle_minutes": float("nan")}, "idle_minutes = nan"),
        ({**TABLE, "longest_hours": -1}, "longest_hours = -1"),
        ({**TABLE, "longest_hours": 721}, "at most 720"),
    ],
)
def test_a_table_that_is_not_understood_lets_nobody_in(table, sentence):
    with pytest.raises(AccessError, match=sentence):
        read_rules(table)


def test_the_times_are_half_an_hour_and_half_a_day_unless_stated():
    rules = read_rules(TABLE)
    assert (rules.idle_s, rules.longest_s) == (1800, 43200)
    rules = read_rules(TABLE | {"idle_minutes": 5, "longest_hours": 0.5})
    assert (rules.idle_s, rules.longest_s) == (300, 1800)


@pytest.mark.parametrize(
    "changes",
    [
        {"is_logged_in": False},
        {"is_logged_in": "true"},
        {"iss": None},
        {"iss": ""},
        {"sub": 17},
        {"nonce": ""},
        {"iat": "1000"},
        {"iat": None},
        {"iat": True},
        {"aud": "another page"},
        {"aud": ["another page"]},
        {"aud": None},
        {"aud": {"page": 1}},
        {"provider": "other"},
        {"provider": "gone"},
        {"provider": ["default"]},
    ],
    ids=str,
)
def test_claims_without_what_proves_a_sign_in_are_none(changes):
    assert read(CLAIMS) is not None
    assert read(CLAIMS | changes) is None
    assert read({name: value for name, value in CLAIMS.items() if name not in changes}) is None


def test_a_statement_for_several_pages_is_one_for_this_page_too():
    assert read(CLAIMS | {"aud": ["another page", "page"]}) is not None
    assert read(CLAIMS | {"provider": "other", "aud": CLIENTS["other"]}) is not None


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_is_shown_and_not_believed(verified):
    login = read(CLAIMS | {"email_verified": verified})
    assert (login.name, login.address) == ("Ada@Clinic.org", "")
    assert read_rules(TABLE).find_role(login.address) is None


def test_without_an_address_the_provider_s_number_is_the_name():
    login = read({name: value for name, value in CLAIMS.items() if name != "email"})
    assert (login.name, login.address) == ("17", "")
    assert read(CLAIMS | {"email": ["ada@clinic.org"]}).address == ""


class Clock:
    """A clock on the wall and one that nobody sets."""

    def __init__(self):
        self.wall_s, self.steady_s = 1000.0, 50.0
        self.logins = Logins(read_wall_s=lambda: self.wall_s, read_steady_s=lambda: self.steady_s)

    def wait(self, seconds):
        self.wall_s += seconds
        self.steady_s += seconds


RULES = AccessRules({}, {}, idle_s=1800, longest_s=43200)
LOGIN = read(CLAIMS)


@pytest.fixture
def clock():
    return Clock()


def visit(clock, login=LOGIN, session="tab"):
    state = clock.logins.enter(login, RULES, session)
    clock.logins.leave(login)
    return state


def test_a_sign_in_holds_while_it_is_used_and_ends_once_it_is_not(clock):
    for _ in range(10):
        assert visit(clock) is State.LIVE
        clock.wait(1799)
    assert clock.logins.holds(LOGIN, RULES)
    clock.wait(2)
    assert not clock.logins.holds(LOGIN, RULES)
    assert visit(clock) is State.IDLE
    assert visit(clock) is State.IDLE, "loading the page anew does not take it up again"


def test_a_click_in_one_tab_keeps_the_others(clock):
    visit(clock, session="one")
    clock.wait(1000)
    visit(clock, session="two")
    clock.wait(1000)
    assert clock.logins.holds(LOGIN, RULES, "one")


def test_a_part_of_the_page_that_is_used_counts_too(clock):
    visit(clock)
    clock.wait(1700)
    clock.logins.touch(LOGIN)
    clock.wait(1700)
    assert visit(clock) is State.LIVE


def test_what_is_still_running_is_not_idle(clock):
    assert clock.logins.enter(LOGIN, RULES, "tab") is State.LIVE
    clock.wait(7200)
    assert clock.logins.holds(LOGIN, RULES)
    clock.logins.leave(LOGIN)
    clock.wait(1799)
    assert clock.logins.holds(LOGIN, RULES)
    clock.wait(2)
    assert not clock.logins.holds(LOGIN, RULES)


def test_after_the_longest_time_one_signs_in_again_however_busy_one_was(clock):
    while clock.wall_s - 1000 <= 43200:
        assert visit(clock) is State.LIVE
        clock.wait(1000)
    assert visit(clock) is State.TOO_LONG


def test_setting_the_clock_back_does_not_make_an_idle_visit_longer(clock):
    visit(clock)
    clock.steady_s += 1801
    clock.wall_s -= 60
    assert visit(clock) is State.IDLE


@pytest.mark.parametrize("ahead_s", [-119, 119])
def test_a_provider_s_clock_may_differ_a_little(clock, ahead_s):
    assert visit(clock, read(CLAIMS | {"iat": 1000 + ahead_s})) is State.LIVE


def test_a_statement_from_the_future_does_not_hold(clock):
    assert visit(clock, read(CLAIMS | {"iat": 1200})) is State.TOO_LONG


def test_who_signs_out_has_signed_out_everywhere_also_who_has_a_copy_of_the_cookie(clock):
    visit(clock, session="one")
    visit(clock, session="two")
    clock.logins.end(LOGIN)
    assert not clock.logins.holds(LOGIN, RULES, "one")
    assert not clock.logins.holds(LOGIN, RULES, "two")
    assert visit(clock, session="three") is State.SIGNED_OUT
    assert visit(clock, read(CLAIMS | {"nonce": "n2"})) is State.LIVE, "signing in anew is another sign-in"


def test_an_older_cookie_that_this_process_has_not_seen_does_not_hold(clock):
    """After a restart nobody knows whether it was used meanwhile, or signed out."""
    clock.wait(1801)
    assert visit(clock) is State.IDLE
    assert not clock.logins.holds(LOGIN, RULES)


def test_a_tab_has_a_sign_in_only_after_it_was_let_in(clock):
    visit(clock, session="one")
    assert clock.logins.holds(LOGIN, RULES, "one")
    assert not clock.logins.holds(LOGIN, RULES, "two")
    assert not clock.logins.holds(read(CLAIMS | {"nonce": "n2"}), RULES, "one"), "another sign-in's tab"
    clock.logins.drop("one")
    assert not clock.logins.holds(LOGIN, RULES, "one")


def test_nothing_is_kept_of_sign_ins_that_are_over(clock):
    for number in range(50):
        login = read(CLAIMS | {"nonce": f"n{number}", "iat": clock.wall_s})
        assert visit(clock, login, f"tab {number}") is State.LIVE
        clock.logins.drop(f"tab {number}")
        clock.wait(3600)
    assert len(clock.logins) <= 14
    assert clock.logins.list_changed(None) == []


def test_the_tabs_are_named_that_show_more_than_they_may(clock):
    rules = AccessRules({}, {"clinic.org": Role.ADMIN})
    clock.logins.enter(LOGIN, rules, "one")
    clock.logins.leave(LOGIN)
    assert clock.logins.list_changed(rules) == []
    assert clock.logins.list_changed(AccessRules({}, {"clinic.org": Role.VIEWER})) == ["one"]
    assert clock.logins.list_changed(AccessRules({}, {"elsewhere.org": Role.ADMIN})) == ["one"]
    assert clock.logins.list_changed(None) == ["one"], "nobody knows who may what"
    clock.wait(1801)
    assert clock.logins.list_changed(rules) == ["one"]
    clock.logins.drop("one")
    assert clock.logins.list_changed(rules) == []
