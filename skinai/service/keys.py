"""Who may ask: keys by name, of which only the hash is kept."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skinai.artefacts import write_json
from skinai.errors import DataError, UsageError

LOG = logging.getLogger("skinai.service")

# Of a key; what is guessed is 256 bits.
_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def add_key(path: Path, name: str) -> str:
    """Make a key for `name` and return it; it is not kept, so nobody can show it again.

    Raises
    ------
    UsageError
        If the name has another form or a key already.
    DataError
        If the file is damaged.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("A key's name has up to 64 letters, digits, '.', '_' and '-'.")
    key = secrets.token_urlsafe(_KEY_BYTES)
    with _changing(path) as digests:
        if name in digests:
            raise UsageError(f"{name} has a key already; remove it first.")
        digests[name] = hash_key(key)
    return key


def remove_key(path: Path, name: str) -> None:
    """Forget the key of `name`; a service that runs refuses it from its next request on.

    Raises
    ------
    UsageError
        If there is none.
    DataError
        If the file is missing or damaged.
    """
    read_digests(path)
    with _changing(path) as digests:
        if name not in digests:
            raise UsageError(f"{path} has no key of the name {name}.")
        del digests[name]


def read_digests(path: Path) -> dict[str, str]:
    """Return the hashes of the keys, by name, in the order in which they were made.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    try:
        facts = json.loads(Path(path).read_bytes(), object_pairs_hook=_refuse_repeats)
    except OSError as error:
        raise DataError(f"The keys in {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(facts, dict) or set(facts) != {"sha256"} or not isinstance(facts["sha256"], dict):
        raise _damaged(path)
    digests = facts["sha256"]
    if not all(_NAME.fullmatch(name) and _is_digest(digest) for name, digest in digests.items()):
        raise _damaged(path)
    return digests


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key as 64 hexadecimal digits.

    No salt and no slow hash: nobody tries out 256 random bits.
    """
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The keys of a file, read again whenever it changes.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()
        self._digests = read_digests(path)

    def find_account(self, key: str) -> str:
        """Return the name that a key belongs to; empty if none does.

        The key is compared with every stored one, and each time to the end, so that the time it takes tells nothing.

        Raises
        ------
        DataError
            If the file is missing or damaged by now.
        """
        seen = self._look()
        if seen != self._seen:
            try:
                self._digests = read_digests(self._path)
            except DataError as error:
                LOG.error("nobody is answered: %s", error)
                raise
            # Only now, so that a damaged file is looked at again.
            self._seen = seen
            LOG.info("the keys were read again")
        digest, account = hash_key(key), ""
        for name, stored in self._digests.items():
            if hmac.compare_digest(digest, stored):
                account = name
        return account

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, str]]:
    """Yield the hashes to change and write them back; of two processes that change a file one waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        digests = read_digests(path) if path.exists() else {}
        yield digests
        write_json(path, {"sha256": digests}, private=True)
    finally:
        os.close(folder)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    facts = dict(pairs)
    if len(facts) < len(pairs):
        raise ValueError("A name is there twice.")
    return facts


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is damaged: it does not list keys as `skinai keys` writes them.")
