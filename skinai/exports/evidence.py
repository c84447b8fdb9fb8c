"""One zip with all that a report rests on; it opens without the app and without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from skinai.artefacts import predictions_file
from skinai.data.cases import CASES_FILE
from skinai.data.split import SPLIT_FILE
from skinai.data.summary import DATASET_FILE
from skinai.evaluation.curves import CURVES_FILE
from skinai.evaluation.decision import DECISION_FILE
from skinai.evaluation.report import REPORT_FILE
from skinai.exports.card import FLOW, list_figures, write_card
from skinai.exports.facts import CardFacts, read_facts
from skinai.exports.flow import draw_flow
from skinai.exports.svg import draw_svg
from skinai.model.bundle import BUNDLE_FILE
from skinai.wording import CURVES

HASHES_FILE = "SHA256SUMS"
# Everything of a model folder that the report rests on, but for the weights.
_PARTS = (
    BUNDLE_FILE,
    REPORT_FILE,
    CURVES_FILE,
    DECISION_FILE,
    DATASET_FILE,
    SPLIT_FILE,
    CASES_FILE,
    "gates.json",
    "training_log.csv",
    predictions_file("valid"),
    predictions_file("test"),
)
_STYLE = (
    "body{font:16px/1.5 sans-serif;color:#1B2428;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0;font-size:.9rem;display:block;overflow-x:auto}"
    "th,td{border-bottom:1px solid #c5d0d4;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "img{max-width:100%;height:auto}h1,h2,h3{line-height:1.2}code{background:#F1F5F6;padding:0 .2rem}"
    "@media print{body{margin:0;max-width:none}table{display:table}}"
)


def build_evidence(folder: Path) -> bytes:
    """Return the bytes of the zip.

    ``index.html`` and ``model_card.md`` (the same card), ``figures/*.svg``, ``tables/*.csv``, ``model/*`` (report,
    rules, split, predictions; no weights) and ``SHA256SUMS``. The same folder gives the same bytes.

    Raises
    ------
    ModelError, DataError
        See :func:`skinai.exports.facts.read_facts`.
    """
    facts = read_facts(folder)
    files = draw_figures(facts) | _write_tables(facts)
    card = write_card(facts)
    files["model_card.md"] = card.encode()
    files["index.html"] = render_html(card, files, title=f"Model card: {facts.bundle.name}").encode()
    for part in _PARTS:
        path = facts.bundle.folder / part
        if path.is_file():
            files[f"model/{part}"] = path.read_bytes()
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in sorted(files.items())]
    files[HASHES_FILE] = ("\n".join(sums) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            # A fixed date, the earliest that a zip can hold.
            entry = zipfile.ZipInfo(f"{Path(facts.bundle.name).name}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def draw_figures(facts: CardFacts) -> dict[str, bytes]:
    """Return every chart of the card, drawn from the same numbers as those of the page."""
    names = {"confusion": "Confusion matrix, counts", "f1": "F1 of each diagnosis"}
    files = {f"figures/{FLOW}.svg": draw_flow(facts)}
    for name, (kind, target) in list_figures(facts).items():
        title = names.get(name) or CURVES[name][0]
        files[f"figures/{name}.svg"] = draw_svg(facts.report.figure(kind, target), title=title)
    return files


def render_html(card: str, figures: Mapping[str, bytes], *, title: str) -> str:
    """Return Markdown as one page that needs no other file: figures lie inside, and nothing is fetched."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(card)

    def inline(found: re.Match[str]) -> str:
        content = base64.b64encode(figures.get(found.group(1), b"")).decode()
        return f'src="data:image/svg+xml;base64,{content}"'

    body = re.sub(r'src="(figures/[^"]+)"', inline, body)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _write_tables(facts: CardFacts) -> dict[str, bytes]:
    report = facts.report
    tables = {name: report.frame(kind, target) for name, (kind, target) in list_figures(facts).items()}
    tables["classes"] = tables.pop("f1")
    if report.subgroups:
        tables["subgroups"] = report.frame("subgroups")
    return {
        f"tables/{name}.csv": table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()
    }
