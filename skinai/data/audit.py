"""Look through a data folder: what is absent, unreadable, odd, listed twice or photographed twice."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinai.artefacts import cache_folder, write_atomic, write_json
from skinai.data.duplicates import NEAR, Look, find_duplicates, take_look
from skinai.data.images import cover_mark, decode_picture, read_size
from skinai.data.metadata import DataFolder, find_torn_lesions
from skinai.data.tables import listed
from skinai.errors import DataError, PictureError

# Pictures and lesions of each diagnosis as published (Tschandl et al. 2018).
PUBLISHED = {
    "akiec": (327, 228),
    "bcc": (514, 327),
    "bkl": (1099, 727),
    "df": (115, 73),
    "mel": (1113, 614),
    "nv": (6705, 5403),
    "vasc": (142, 98),
}
_FORMAT = 1
_PAIR_COLUMNS = ["image_a", "image_b", "kind", "matches", "similarity", "lesions", "dx_a", "dx_b", "known"]
_COUNT_COLUMNS = ["dx", "listed", "lesions", "present", "published", "published_lesions"]
_COLUMNS_OF_UNKNOWNS = ("age", "sex", "localization", "dx_type")
# A published near-identical pair is kept together by every split, so it is no fault of a folder.
_WRONG = ("unreadable", "repeated", "label_conflict", "copies_across", "pair_conflict")
WITHIN, ACROSS = "same lesion", "different lesions"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    code : str
    count : int
        How many were found; 0 is good.
    sentence : str
    """

    code: str
    count: int
    sentence: str


@dataclass(frozen=True)
class Audit:
    """What was found in a data folder.

    Attributes
    ----------
    source : str
        What kind of data it is.
    state : str
        Hash of the list of pictures, their sizes and times of change: another state makes the audit stale.
    counts : DataFrame
        ``dx``, ``listed``, ``lesions``, ``present`` and, for HAM10000, ``published`` and ``published_lesions``.
    sizes : DataFrame
        ``width_px``, ``height_px``, ``pictures``, the most frequent first.
    findings : tuple of Finding
    pairs : DataFrame
        ``image_a``, ``image_b``, ``kind`` (same file, same pixels, near), ``matches``, ``similarity``, ``lesions``
        (same lesion, different lesions), ``dx_a``, ``dx_b``, ``known`` (a published pair).
    near_searched : bool
        Whether near-duplicates were looked for.
    """

    source: str
    state: str
    counts: pd.DataFrame
    sizes: pd.DataFrame
    findings: tuple[Finding, ...]
    pairs: pd.DataFrame
    near_searched: bool

    @property
    def is_wrong(self) -> bool:
        """Whether something was found that spoils a training or its figures."""
        return any(finding.count for finding in self.findings if finding.code in _WRONG)

    @property
    def across(self) -> pd.DataFrame:
        """The pairs that lie in different lesions: a split by lesion can divide them."""
        return self.pairs[self.pairs["lesions"] == ACROSS]


def audit_folder(
    data: DataFolder,
    *,
    source: str = "",
    known: Iterable[tuple[str, str]] = (),
    near: bool = True,
    on_progress: Callable[[str, float], object] = lambda step, share: None,
) -> Audit:
    """Read every picture of a data folder and say what is odd.

    Parameters
    ----------
    data : DataFolder
    source : str
        What kind of data it is, for the reader.
    known : pairs of image_id
        Published pairs of near-identical pictures. They are not used to find any; they are only told apart.
    near : bool
        Also look for near-duplicates, which takes minutes for ten thousand pictures.
    on_progress : callable
        Called with a step, ``"reading"`` or ``"comparing"``, and the share of it that is done.

    Raises
    ------
    DataError
        If pictures are changed or go away meanwhile.
    """
    present, state = data.present.reset_index(drop=True), hash_state(data)
    looks, shapes, unreadable = _read_pictures(
        data, detailed=near, on_progress=lambda share: on_progress("reading", share)
    )
    if hash_state(data) != state:
        raise DataError("Pictures were changed or went away while they were looked through: start the audit again.")
    readable = present[[look is not None for look in looks]].reset_index(drop=True)
    whole = [look for look in looks if look is not None]
    pairs = _find_pairs(readable, whole, known, near=near, on_progress=lambda share: on_progress("comparing", share))
    sizes = pd.DataFrame(
        [(width, height, count) for (width, height), count in Counter(shapes).most_common()],
        columns=["width_px", "height_px", "pictures"],
    )
    return Audit(
        source=source,
        state=state,
        counts=count_classes(data),
        sizes=sizes,
        findings=tuple(_list_findings(data, unreadable, pairs, near=near)),
        pairs=pairs,
        near_searched=near,
    )


def count_classes(data: DataFolder) -> pd.DataFrame:
    """Count each class, as listed and as present, beside what is published for HAM10000."""
    there = data.table["path"].notna() if data.pixels is None else pd.Series(True, index=data.table.index)
    rows = []
    for code in data.labels.codes:
        mine = data.table[data.table["dx"] == code]
        published = PUBLISHED[code] if data.is_ham10000 else (None, None)
        rows.append((code, len(mine), mine["lesion_id"].nunique(), int(there[mine.index].sum()), *published))
    return pd.DataFrame(rows, columns=_COUNT_COLUMNS)


def hash_state(data: DataFolder) -> str:
    """Return a hash of the table and of the size and time of change of each picture."""
    digest = hashlib.sha256(data.metadata_hash.encode())
    for image_id, lesion_id, dx, path in zip(
        data.table["image_id"], data.table["lesion_id"], data.table["dx"], data.table["path"], strict=True
    ):
        try:
            state = path.stat() if path is not None else None
        except OSError:
            state = None
        facts = (state.st_size, state.st_mtime_ns) if state else ("absent",)
        digest.update(f"{image_id}\t{lesion_id}\t{dx}\t{facts}\n".encode())
    return digest.hexdigest()


def write_audit(audit: Audit, path: Path) -> None:
    """Write an audit as JSON."""
    write_json(path, describe_audit(audit))


def describe_audit(audit: Audit) -> dict[str, Any]:
    """Return an audit as it is written to disk."""
    tables = {name: json.loads(getattr(audit, name).to_json(orient="records")) for name in ("counts", "sizes", "pairs")}
    facts = {
        "format": _FORMAT,
        "source": audit.source,
        "state": audit.state,
        "near_searched": audit.near_searched,
        "findings": [{"code": one.code, "count": one.count, "sentence": one.sentence} for one in audit.findings],
    }
    return facts | tables


def audit_file(state: str) -> Path:
    """Return where the audit of data in a state is kept, for the command line and the app."""
    return cache_folder() / "audits" / f"{state[:32]}.json"


def keep_audit(audit: Audit, path: Path) -> None:
    """Write an audit, but not over a fuller one of the same state.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    try:
        before: Audit | None = read_audit(path)
    except DataError:
        before = None
    if before is None or before.state != audit.state or audit.near_searched or not before.near_searched:
        write_audit(audit, path)


def read_audit(path: Path) -> Audit:
    """Read what :func:`write_audit` wrote.

    Raises
    ------
    DataError
        If the file is missing or no audit.
    """
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT:
            raise ValueError("another format")
        return Audit(
            source=str(facts["source"]),
            state=str(facts["state"]),
            counts=pd.DataFrame(facts["counts"], columns=_COUNT_COLUMNS),
            sizes=pd.DataFrame(facts["sizes"], columns=["width_px", "height_px", "pictures"]),
            findings=tuple(
                Finding(str(one["code"]), int(one["count"]), str(one["sentence"])) for one in facts["findings"]
            ),
            pairs=pd.DataFrame(facts["pairs"], columns=_PAIR_COLUMNS),
            near_searched=bool(facts["near_searched"]),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not an audit.") from error


def write_pairs(audit: Audit, path: Path) -> int:
    """Write the pairs of different lesions in the form that a split takes; return how many there are."""
    write_atomic(Path(path), format_pairs(audit))
    return len(audit.across)


def format_pairs(audit: Audit) -> str:
    """Return the pairs of different lesions as the table ``near_duplicates.csv``, which a split of a folder reads."""
    pairs = audit.across.rename(columns={"image_a": "image_id_a", "image_b": "image_id_b"})
    columns = ["image_id_a", "image_id_b", "similarity", "kind", "matches", "dx_a", "dx_b"]
    return str(pairs[columns].to_csv(index=False, lineterminator="\n"))


def _read_pictures(
    data: DataFolder, *, detailed: bool, on_progress: Callable[[float], object]
) -> tuple[list[Look | None], list[tuple[int, int]], dict[str, str]]:
    """Return a look at each picture, None where it cannot be read; the sizes; and image_id to the reason."""
    table, pixels = data.present, data.pixels
    shapes: list[tuple[int, int]] = []
    unreadable: dict[str, str] = {}

    def look(row: int) -> tuple[Look | None, tuple[int, int] | None, str]:
        try:
            if pixels is not None:
                content, picture = f"row {row}".encode(), pixels[row]
                size = (picture.shape[1], picture.shape[0])
            else:
                content = Path(table["path"].iat[row]).read_bytes()
                picture = decode_picture(content)
                size = read_size(content)
        except OSError as error:
            return None, None, error.strerror or "it cannot be opened"
        except PictureError as error:
            return None, None, str(error)
        pixel_hash = hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()
        file_hash = hashlib.sha256(content).hexdigest()
        if data.mark:  # a logo that all pictures have would make all of them alike
            picture = cover_mark(picture, data.mark)
        return take_look(picture, file_hash=file_hash, pixel_hash=pixel_hash, detailed=detailed), size, ""

    looks: list[Look | None] = []
    with ThreadPoolExecutor() as pool:
        for row, (one, size, reason) in enumerate(pool.map(look, range(len(table)))):
            looks.append(one)
            if size is None:
                unreadable[table["image_id"].iat[row]] = reason
            else:
                shapes.append(size)
            if row % 64 == 0:
                on_progress(row / len(table))
    on_progress(1.0)
    return looks, shapes, unreadable


def _find_pairs(
    table: pd.DataFrame,
    looks: Sequence[Look],
    known: Iterable[tuple[str, str]],
    *,
    near: bool,
    on_progress: Callable[[float], object],
) -> pd.DataFrame:
    published = {frozenset(pair) for pair in known}
    ids, lesions, codes = (table[column].to_numpy() for column in ("image_id", "lesion_id", "dx"))
    rows: list[dict[str, Any]] = []
    for pair in find_duplicates(looks, near=near, on_progress=on_progress):
        first, second = pair.first, pair.second
        rows.append(
            {
                "image_a": ids[first],
                "image_b": ids[second],
                "kind": pair.kind,
                "matches": pair.matches,
                "similarity": round(pair.similarity, 4),
                "lesions": WITHIN if lesions[first] == lesions[second] else ACROSS,
                "dx_a": codes[first],
                "dx_b": codes[second],
                "known": frozenset((ids[first], ids[second])) in published,
            }
        )
    return pd.DataFrame(rows, columns=_PAIR_COLUMNS)


def _list_findings(
    data: DataFolder, unreadable: dict[str, str], pairs: pd.DataFrame, *, near: bool
) -> Iterable[Finding]:
    told = {remark.code: remark for remark in data.remarks if data.pixels is None}
    absent = data.table.loc[data.table["path"].isna(), "image_id"] if data.pixels is None else []
    # What a reader has left out already is known to it alone.
    torn = find_torn_lesions(data.table)
    for code, known_as, names, what, none in (
        ("absent", "picture_absent", absent, "listed pictures are absent", "No listed picture is absent."),
        ("repeated", "repeated", [], "image ids are listed twice", "No image id is listed twice."),
        ("label_conflict", "torn_lesions", torn, "lesions have two diagnoses", "No lesion has two diagnoses."),
    ):
        if known_as in told and not len(names):
            yield Finding(code, told[known_as].count, told[known_as].sentence)
        else:
            yield Finding(code, len(names), _say(len(names), what, names, none))
    reasons = [f"{image_id} ({reason.rstrip('.')})" for image_id, reason in unreadable.items()]
    said = _say(len(unreadable), "pictures cannot be read", reasons, "Every picture here can be read.")
    yield Finding("unreadable", len(unreadable), said)
    for column in _COLUMNS_OF_UNKNOWNS:
        values = data.table[column]
        missing = int(values.isna().sum() if column == "age" else (values == "unknown").sum())
        yield Finding(
            f"unknown_{column}", missing, f"{missing:,} of {len(data.table):,} pictures have no known {column}."
        )
    exact = pairs[pairs["kind"] != NEAR]
    torn_apart = exact[exact["lesions"] == ACROSS]
    conflicts = pairs[pairs["dx_a"] != pairs["dx_b"]]
    for code, rows, what, none in (
        ("copies", exact, "pictures are copies of another one", "No picture is a copy of another one."),
        ("copies_across", torn_apart, "copies are listed as another lesion", "No copy is listed as another lesion."),
        (
            "pair_conflict",
            conflicts,
            "pairs that show the same have different diagnoses",
            "No two pictures that show the same have different diagnoses.",
        ),
    ):
        yield Finding(code, len(rows), _say(len(rows), what, _name_pairs(rows), none))
    if near:
        close = pairs[pairs["kind"] == NEAR]
        across = close[close["lesions"] == ACROSS]
        what, none = (
            "near-identical pairs are listed as different lesions",
            "No near-identical pair is listed as two lesions.",
        )
        sentence = _say(len(across), what, _name_pairs(across), none)
        published = f" {int(across['known'].sum())} of them are published." if len(across) else ""
        yield Finding("near_across", len(across), sentence + published)
        within = len(close) - len(across)
        yield Finding("near_within", within, f"{within:,} near-identical pairs are of the same lesion, as listed.")
    for remark in data.remarks:
        if remark.code not in ("picture_absent", "age_missing", "repeated", "torn_lesions"):
            yield Finding(remark.code, remark.count, remark.sentence)


def _say(count: int, what: str, names: Iterable[object], none: str) -> str:
    return f"{count:,} {what}: {listed(names)}." if count else none


def _name_pairs(rows: pd.DataFrame) -> list[str]:
    return [f"{row.image_a} and {row.image_b}" for row in rows.itertuples()]
