"""The audit log: a line for each answer that was given, chained so that no line is changed, cut or moved unseen.

Each line is a JSON object that ends with the hash of itself and of the line before. Beside the log lies its head, with
the number of lines and the last hash: what is cut off at the end is missed there. With a key the hashes are HMACs, and
who does not have it cannot write a log that passes; without one, who can write both files can write them anew, unless
an earlier hash was kept elsewhere (`expected`).
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from skinai.artefacts import write_json
from skinai.errors import AuditError

FIRST = "0" * 64
_TAIL_BYTES = 1 << 16
# Of an answer; what it says of itself in sentences follows from the rest.
_ANSWER = ("probabilities", "malignant_probability", "plausible", "certainty", "needs_dermoscopy")


@dataclass(frozen=True)
class Verdict:
    """What the verification of a log found.

    Attributes
    ----------
    entries : int
        Lines read.
    last_hash : str
    problems : tuple of str
        A sentence each; empty where nothing was changed.
    """

    entries: int
    last_hash: str
    problems: tuple[str, ...]


class AuditLog:
    """Writes the log; several threads and processes can write into one.

    Parameters
    ----------
    path : Path
        The head is written beside it, with ``.head`` added to its name.
    key : bytes
        For HMAC-SHA256; empty for plain SHA-256.
    """

    def __init__(self, path: Path, key: bytes = b"") -> None:
        self.path, self._key = Path(path), key
        self._lock = threading.Lock()

    def append(self, account: str, pixels_hash: str, answer: Mapping[str, Any], **more: Any) -> None:
        """Write down an answer, flushed to disk before it is given.

        Parameters
        ----------
        account : str
            Who asked; empty where nobody signs in.
        pixels_hash : str
            See :func:`skinai.data.images.hash_pixels`; neither pixels nor the name of a file are written.
        answer : mapping
            As :meth:`skinai.serving.files.FileAnswer.describe` returns it.
        more
            Anything else worth a word.

        Raises
        ------
        AuditError
            If the log cannot be written, or its end is not what was written last.
        """
        entry = describe_entry(account, pixels_hash, answer) | more
        with self._lock, _locked(self.path) as file:
            number, last = self._find_end(file)
            line: dict[str, Any] = {"number": number + 1}
            line |= {"utc": datetime.now(UTC).isoformat(timespec="milliseconds")} | entry | {"previous": last}
            line["hash"] = _hash(line, self._key)
            end = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(_write_line(line))
                while left:  # a disk that gets full takes a part first
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
                self._write_head(line["number"], line["hash"])
            except OSError:
                # What is not answered is not in the log; and a head that could never be written would fall behind.
                file.truncate(end)
                raise

    def _write_head(self, number: int, last: str) -> None:
        write_json(head_file(self.path), {"entries": number, "hash": last})

    def _find_end(self, file: BinaryIO) -> tuple[int, str]:
        """Return number and hash of the last line; what a crash left of a line is removed."""
        head = _read_head(self.path)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL_BYTES, 0))
        tail = file.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            if len(whole) == 0 and size > len(tail):
                raise AuditError(_CHANGED.format(path=self.path))
            file.truncate(size - len(tail) + len(whole))
        if not whole:
            if head is not None:
                raise AuditError(_CHANGED.format(path=self.path))
            return 0, FIRST
        try:
            text = whole[:-1].rsplit(b"\n", 1)[-1]
            line = json.loads(text)
            number, last, previous = int(line["number"]), str(line["hash"]), str(line["previous"])
            known = text + b"\n" == _write_line(line) and hmac.compare_digest(_hash(line, self._key), last)
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(_CHANGED.format(path=self.path)) from error
        # A crash between line and head leaves the head one line behind.
        behind = head is None if number == 1 else head == (number - 1, previous)
        if not known or not (behind or head == (number, last)):
            raise AuditError(_CHANGED.format(path=self.path))
        if head != (number, last):  # a second crash would leave it two lines behind
            self._write_head(number, last)
        return number, last


_CHANGED = "The audit log {path} is not as it was left; nothing is answered. See `skinai audit verify`."


def open_audit_log() -> AuditLog | None:
    """Return the log that ``SKINAI_AUDIT`` names, keyed with ``SKINAI_AUDIT_KEY``; None where it is not switched on."""
    path = os.environ.get("SKINAI_AUDIT")
    return AuditLog(Path(path), open_key()) if path else None


def open_key() -> bytes:
    """Return the key in ``SKINAI_AUDIT_KEY``; empty where there is none."""
    return os.environ.get("SKINAI_AUDIT_KEY", "").encode()


def describe_entry(account: str, pixels_hash: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the log keeps of an answer: no picture, no name of a file, nothing about the patient."""
    gate, routing, calls = answer["gate"], answer.get("routing") or {}, answer.get("calls") or {}
    return {
        "account": account,
        "pixels_sha256": pixels_hash,
        "model": answer["model"],
        "fingerprint": answer["fingerprint"],
        "thresholds": {name: call["threshold"] for name, call in calls.items()},
        "answer": {name: answer.get(name) for name in _ANSWER}
        | {
            "above": {name: call["above"] for name, call in calls.items()},
            "gate": gate["status"],
            "reasons": [reason["code"] for reason in gate["reasons"]],
        },
        "overrides": {"insisted": gate["insisted"], "model_chosen": bool(routing.get("overruled"))},
    }


def verify_log(path: Path, key: bytes = b"", *, expected: str | None = None) -> Verdict:
    """Look for anything that was changed, cut, inserted or moved in a log.

    Parameters
    ----------
    path : Path
    key : bytes
        The one that it was written with.
    expected : str, optional
        A hash that was kept elsewhere, and that has to be in the chain.

    Raises
    ------
    AuditError
        If there is no log, or it cannot be read.
    """
    problems: list[str] = []
    number, last, met = 0, FIRST, expected is None
    try:
        with Path(path).open("rb") as file:
            for number, text in enumerate(file, 1):
                problem, found = _check_line(text, number, last, key)
                if problem:
                    problems.append(f"Line {number:,} {problem}.")
                last, met = found, met or found == expected
    except OSError as error:
        raise AuditError(f"The audit log {path} cannot be read ({error.strerror}).") from error
    head = _read_head(path)
    if head is None:
        if number > 1:
            problems.append(f"Its head, {head_file(path).name}, is missing or damaged.")
    elif head[0] > number:
        problems.append(f"{head[0] - number:,} of {head[0]:,} lines are missing at the end.")
    elif head[0] < number - 1 or (head[0] == number and head[1] != last):
        problems.append("Its head is about another log.")
    if not met:
        problems.append("The expected hash is not in it.")
    return Verdict(number, last, tuple(problems))


def head_file(path: Path) -> Path:
    """Return where the head of a log lies."""
    return path.with_name(path.name + ".head")


def _check_line(text: bytes, number: int, last: str, key: bytes) -> tuple[str, str]:
    """Return what is wrong with a line, if anything, and the hash that the next one has to name."""
    try:
        line = json.loads(text)
        own, previous, said = str(line["hash"]), line["previous"], line["number"]
        hashed = _hash(line, key)
        # A name that is there twice, of which only one is read, would be a change that the hash does not show.
        as_written = text == _write_line(line)
    except (ValueError, KeyError, TypeError):
        return "is no entry", last
    if not as_written or not hmac.compare_digest(hashed, own):
        return "was changed, or was written with another key", own
    if previous != last:
        return "does not follow the one before it", own
    if said != number:
        return "is not where it was", own
    return "", own


def _write_line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True).encode() + b"\n"


def _hash(line: Mapping[str, Any], key: bytes) -> str:
    rest = {name: value for name, value in line.items() if name != "hash"}
    content = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest() if key else hashlib.sha256(content).hexdigest()


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        facts = json.loads(head_file(path).read_text(encoding="utf-8"))
        return int(facts["entries"]), str(facts["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Yield the log, opened to be read and written, while no other process has it.

    It is not buffered: what a full disk did not take would be written once more when it is closed.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as error:
        raise AuditError(f"The audit log cannot be written ({error.strerror}); nothing is answered.") from error
