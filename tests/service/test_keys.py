"""Keys are kept as hashes in a file of their owner alone, and what is changed there counts at once."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from skinai import artefacts
from skinai.__main__ import main
from skinai.errors import DataError
from skinai.service import keys
from skinai.service.keys import Keys, add_key, hash_key, read_digests, remove_key


@pytest.fixture
def file(tmp_path):
    return tmp_path / "held" / "keys.json"


def run(*arguments):
    return main(["keys", *map(str, arguments)])


def test_a_new_key_is_printed_once_and_only_its_hash_is_kept(file, capsys):
    assert run("add", "ward-7", "--file", file) == 0
    out, said = capsys.readouterr()
    key = out.strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key), "256 bits in base 64"
    assert key not in said
    assert json.loads(file.read_text()) == {"sha256": {"ward-7": hashlib.sha256(key.encode()).hexdigest()}}
    assert run("list", "--file", file) == 0
    assert capsys.readouterr().out == "ward-7\n"
    assert Keys(file).find_account(key) == "ward-7"
    assert Keys(file).find_account(key[:-1]) == ""
    assert Keys(file).find_account("") == ""


def test_no_two_keys_are_the_same_and_the_order_is_kept(file):
    made = [add_key(file, name) for name in ("b", "a", "c")]
    assert len(set(made)) == 3
    assert list(read_digests(file)) == ["b", "a", "c"]
    assert [Keys(file).find_account(key) for key in made] == ["b", "a", "c"]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_only_its_owner_reads_the_file(file, mask):
    before = os.umask(mask)
    try:
        add_key(file, "first")
        add_key(file, "second")
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_a_write_that_fails_leaves_the_keys_as_they_were(file, monkeypatch):
    key = add_key(file, "first")

    def fail(source, target):
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr(artefacts.os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        add_key(file, "second")
    monkeypatch.undo()
    assert Keys(file).find_account(key) == "first"
    assert list(read_digests(file)) == ["first"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "Jane Doe"], "A key's name has up to 64 letters, digits, '.', '_' and '-'."),
        (["add", "a" * 65], "A key's name has up to 64 letters, digits, '.', '_' and '-'."),
        (["add", "first"], "first has a key already; remove it first."),
        (["remove", "second"], "{file} has no key of the name second."),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(file, capsys, arguments, sentence):
    add_key(file, "first")
    before = file.read_bytes()
    assert run(*arguments, "--file", file) == 2
    assert capsys.readouterr().err == f"skinai: {sentence.format(file=file)}\n"
    assert file.read_bytes() == before


@pytest.mark.parametrize("act", [["list"], ["remove", "first"]])
def test_a_file_that_is_not_there_is_told(file, capsys, act):
    assert run(*act, "--file", file) == 2
    assert capsys.readouterr().err == f"skinai: The keys in {file} cannot be read: No such file or directory.\n"
    assert not file.parent.exists()


DAMAGED = {
    "empty": b"",
    "cut": b'{"sha256": {"a": "00',
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "another form": b'{"keys": {}}',
    "more than that": b'{"sha256": {}, "open": true}',
    "a short hash": b'{"sha256": {"a": "00"}}',
    "a number": b'{"sha256": {"a": 0}}',
    "capitals": b'{"sha256": {"a": "' + b"A" * 64 + b'"}}',
    "a name with a space": b'{"sha256": {"Jane Doe": "' + b"0" * 64 + b'"}}',
    "a name twice": b'{"sha256": {"a": "' + b"0" * 64 + b'", "a": "' + b"1" * 64 + b'"}}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_told_and_not_written_over(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    for attempt in (Keys, read_digests, lambda path: add_key(path, "b"), lambda path: remove_key(path, "a")):
        with pytest.raises(DataError, match=r"keys\.json is damaged: it does not list keys"):
            attempt(file)
    assert file.read_bytes() == content


def test_what_is_changed_counts_from_the_next_request_on(file):
    first = add_key(file, "first")
    known = Keys(file)
    second = add_key(file, "second")
    assert [known.find_account(key) for key in (first, second)] == ["first", "second"]
    remove_key(file, "first")
    assert [known.find_account(key) for key in (first, second)] == ["", "second"]


def test_a_file_that_is_not_changed_is_not_read_again(file, monkeypatch):
    key = add_key(file, "first")
    known, read, count = Keys(file), keys.read_digests, []
    monkeypatch.setattr(keys, "read_digests", lambda path: count.append(path) or read(path))
    assert [known.find_account(key) for _ in range(3)] == ["first"] * 3
    assert count == []
    file.write_bytes(file.read_bytes() + b"\n")
    assert [known.find_account(key) for _ in range(3)] == ["first"] * 3
    assert count == [file]


def test_nobody_is_known_while_the_file_is_damaged_or_away(file, caplog):
    key = add_key(file, "first")
    known, kept = Keys(file), file.read_bytes()
    file.write_bytes(kept[:-9])
    for _ in range(2):
        with pytest.raises(DataError, match="is damaged"):
            known.find_account(key)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        known.find_account(key)
    assert "nobody is answered" in caplog.text
    file.write_bytes(kept)
    assert known.find_account(key) == "first"


def test_a_key_is_compared_with_every_stored_one_to_the_end(file, monkeypatch):
    made = [add_key(file, name) for name in ("first", "second", "third")]
    compared = []

    def compare(mine, stored):
        compared.append(stored)
        return mine == stored

    known = Keys(file)
    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    for key in (*made, "none of them"):
        compared.clear()
        known.find_account(key)
        assert compared == [hash_key(one) for one in made]


def test_of_two_processes_that_add_a_key_none_is_lost(file):
    add_key(file, "first")
    code = "import sys; from pathlib import Path; from skinai.service.keys import add_key\n"
    code += "for number in range(20): add_key(Path(sys.argv[1]), f'{sys.argv[2]}-{number}')"
    command = [sys.executable, "-c", code, str(file)]
    running = [subprocess.Popen([*command, name], cwd=ROOT) for name in "ab"]
    assert [one.wait(300) for one in running] == [0, 0]
    assert set(read_digests(file)) == {"first"} | {f"{name}-{number}" for name in "ab" for number in range(20)}
