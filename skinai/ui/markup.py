"""What is written as HTML: texts, figures, tables and a chart that have to be there at once.

Each of Streamlit's own elements is put together by the visitor's browser, a table cell by cell and as Markdown. For the
first section of the report card that takes a slow processor as long as all the rest.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping

import pandas as pd

from skinai.evaluation.figures import NAMES, Palette

_LINE = "1px solid rgba(127,127,127,.35)"
# Once for all tables of a page: the front end looks through each attribute of each cell.
STYLE = (
    "<style>.skinai-table{width:100%;border-collapse:collapse;font-size:.95rem}"
    f".skinai-table th,.skinai-table td{{padding:.4rem .5rem;text-align:left;vertical-align:top;border-bottom:{_LINE}}}"
    ".skinai-table tbody th{font-weight:inherit}</style>"
)


def write_heading(text: str) -> str:
    """Return a heading within a page."""
    return f'<h2 style="font-weight:600">{html.escape(text)}</h2>'


def write_text(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def write_meanings(title: str, meanings: Mapping[str, str]) -> str:
    """Return a list of terms with their meanings that opens at a touch of its title."""
    items = "".join(
        f"<li><strong>{html.escape(term)}</strong>: {html.escape(meaning)}</li>" for term, meaning in meanings.items()
    )
    return (
        f'<details style="border:{_LINE};border-radius:.5rem;padding:.6rem 1rem;margin:1rem 0">'
        f'<summary style="cursor:pointer">{html.escape(title)}</summary><ul>{items}</ul></details>'
    )


def write_cards(cards: Iterable[tuple[str, str, str, Iterable[str]]]) -> str:
    """Return figures side by side, each with what it means behind its name and what belongs to it below.

    Parameters
    ----------
    cards : iterable of (str, str, str, iterable of str)
        Name, meaning, figure, and lines below it, all of them plain text.
    """
    written = "".join(_write_card(*card) for card in cards)
    columns = "repeat(auto-fit,minmax(min(10rem,100%),1fr))"
    return f'<div style="display:grid;grid-template-columns:{columns};gap:1rem;margin-bottom:1rem">{written}</div>'


def _write_card(name: str, meaning: str, figure: str, below: Iterable[str]) -> str:
    name, meaning = html.escape(name), html.escape(meaning)
    return (
        f'<div role="group" aria-label="{name}" style="border:{_LINE};border-radius:.5rem;padding:.8rem 1rem">'
        f'<details><summary style="cursor:pointer">{name}</summary><small>{meaning}</small></details>'
        f'<div style="font-size:2.1rem;line-height:1.4">{html.escape(figure)}</div>'
        f'<small style="display:block;line-height:1.4">{"<br>".join(html.escape(line) for line in below)}</small></div>'
    )


def write_table(table: pd.DataFrame, *, alt: str) -> str:
    """Return all rows of a small table, which wraps on a phone and can be read aloud; `STYLE` has to come before it.

    Parameters
    ----------
    table : DataFrame
        Of plain text; the first column says what a row is about.
    alt : str
        What the table shows.
    """
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in table.columns)
    rows = []
    for first, *others in table.itertuples(index=False):
        cells = "".join(f"<td>{html.escape(_say(one))}</td>" for one in others)
        rows.append(f'<tr><th scope="row">{html.escape(_say(first))}</th>{cells}</tr>')
    return (
        f'<div style="overflow-x:auto;margin-bottom:1rem"><table class="skinai-table" aria-label="{html.escape(alt)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _say(cell: object) -> str:
    return "" if pd.isna(cell) else str(cell)


def write_intervals(table: pd.DataFrame, figure: str, colours: Palette, *, alt: str) -> str:
    """Return a chart of one figure and its interval a class as HTML, for what has to be there at once.

    It needs no chart library (4.7 MB, and some .7 s of a slow processor), and on a phone the names stand above
    their bars.

    Parameters
    ----------
    table : DataFrame
        ``EvaluationReport.frame("classes")``.
    figure : str
        A figure of the table, from 0 to 1.
    colours : Palette
    alt : str
        The chart in words.
    """
    grid = "repeating-linear-gradient(to right,rgba(127,127,127,.35) 0 1px,transparent 1px 25%)"
    track = f"position:relative;height:1.5rem;background:{grid};border-right:1px solid rgba(127,127,127,.35)"
    rows = []
    for row in table.to_dict("records"):
        value, low, high = (row[figure], row[f"{figure}_low"], row[f"{figure}_high"])
        marks = "" if math.isnan(value) else _write_interval(value, low, high, colours)
        rows.append(
            _write_row(
                f"{html.escape(row['diagnosis'])}<br><small>n {row['pictures']:,}</small>",
                f'<div style="{track}">{marks or "<small>not applicable</small>"}</div>',
            )
        )
    ticks = "".join(
        f'<span style="position:absolute;left:{at}%;transform:translateX(-{at}%)">{at / 100:g}</span>'
        for at in (0, 25, 50, 75, 100)
    )
    title = f'<div style="text-align:center;padding-top:1.4rem">{NAMES[figure]}, 95 % interval</div>'
    rows.append(_write_row("", f'<div style="position:relative"><small>{ticks}{title}</small></div>'))
    return f'<div role="img" aria-label="{html.escape(alt)}" style="color:{colours.text}">{"".join(rows)}</div>'


def _write_row(name: str, content: str) -> str:
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:center;gap:0 1rem;padding:.25rem .6rem">'
        f'<div style="flex:0 0 15rem;line-height:1.25">{name}</div>'
        f'<div style="flex:1 1 16rem">{content}</div></div>'
    )


def _write_interval(value: float, low: float, high: float, colours: Palette) -> str:
    """Return a whisker, where there is an interval, and a point."""
    whisker = ""
    if not math.isnan(low):
        whisker = (
            f'<div style="position:absolute;left:{low:.2%};width:{high - low:.2%};top:calc(50% - 4px);height:8px;'
            f"border:solid {colours.highlight};border-width:0 2px;"
            f"background:linear-gradient({colours.highlight},{colours.highlight}) center/100% 2px no-repeat"
            '"></div>'
        )
    point = (
        f'<div style="position:absolute;left:calc({value:.2%} - 6px);top:calc(50% - 6px);width:12px;height:12px;'
        f'border-radius:50%;background:{colours.highlight}"></div>'
    )
    return whisker + point
