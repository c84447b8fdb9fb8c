"""Plotly figures. One quantity has one colour; what is in question is highlighted and also said in words."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinai.evaluation.claim import SplitDifference
from skinai.evaluation.figures import DARK, LIGHT, NAMES, Palette, draw_differences, frame_figure
from skinai.labels import LabelSet
from skinai.serving.predictor import Prediction

PLOT_CONFIG = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False}


# Okabe and Ito's palette, told apart also with colour blindness; grey for the naevi that fill every bar.
CATEGORIES = {
    "akiec": "#E69F00",
    "bcc": "#0072B2",
    "bkl": "#56B4E9",
    "df": "#CC79A7",
    "mel": "#D55E00",
    "nv": "#9AA5AB",
    "vasc": "#009E73",
}


def pick_colours(labels: LabelSet) -> dict[str, str]:
    """Return one colour a class: HAM10000's own, and the same palette over again for a user's classes."""
    others = list(CATEGORIES.values())
    return {label.code: CATEGORIES.get(label.code, others[index % len(others)]) for index, label in enumerate(labels)}


def palette() -> Palette:
    """Return the colours of the visitor's theme."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def draw_probabilities(prediction: Prediction, colours: Palette) -> go.Figure:
    """Draw one bar a class in the fixed order; the most probable is highlighted."""
    top = prediction.labels.index(prediction.top.code)
    names, values = list(prediction.labels.names), prediction.probabilities
    texts = [f"{value:.1%}" for value in values]
    names[top], texts[top] = f"<b>{names[top]}</b>", f"<b>{texts[top]}</b>"
    colour = [colours.highlight if index == top else colours.plain for index in range(len(names))]
    return _as_shares(_draw_bars(names, values, texts, colour, colours, hover="%{x:.1%}"))


def draw_no_probabilities(labels: LabelSet, colours: Palette) -> go.Figure:
    """Draw the empty chart that stands where the answer will be."""
    nothing = [0.0] * len(labels), [""] * len(labels)
    return _as_shares(_draw_bars(labels.names, *nothing, colours.plain, colours, hover=""))


def draw_counts(counts: pd.Series, labels: LabelSet, colours: Palette, *, unit: str) -> go.Figure:
    """Draw one bar a diagnosis, in the fixed order.

    Parameters
    ----------
    counts : Series
        Code to count.
    labels : LabelSet
    colours : Palette
    unit : str
        ``"pictures"`` or ``"lesions"``.
    """
    names = [labels.by_code(code).name for code in counts.index]
    texts = [f"{count:,}" for count in counts]
    figure = _draw_bars(names, counts.tolist(), texts, colours.highlight, colours, hover="%{x:,} " + unit)
    return figure.update_xaxes(range=[0, counts.max() * 1.18], title_text=unit)


def draw_breakdown(table: pd.DataFrame, labels: LabelSet, colours: Palette, *, unit: str, share: bool) -> go.Figure:
    """Draw stacked bars: one bar a row of `table`, one part a diagnosis.

    Parameters
    ----------
    table : DataFrame
        Index: what it is broken down by; one column a code.
    labels : LabelSet
    colours : Palette
    unit : str
    share : bool
        Draw each row as 100 %.
    """
    values = table.div(table.sum(axis=1), axis=0) if share else table
    class_colours = pick_colours(labels)
    figure = go.Figure(
        [
            go.Bar(
                x=values[code],
                y=[str(value) for value in values.index],
                name=labels.by_code(code).name,
                orientation="h",
                marker_color=class_colours[code],
                marker_line={"width": 0.5, "color": "rgba(127,127,127,0.6)"},
                customdata=table[code],
                hovertemplate="%{y}, %{fullData.name}: %{customdata:,} " + unit + "<extra></extra>",
            )
            for code in table.columns
        ]
    )
    legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
    figure.update_layout(barmode="stack", legend=legend)
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, type="category")
    figure.update_xaxes(
        title=f"share of {unit}" if share else unit, tickformat=".0%" if share else ",", fixedrange=True
    )
    return frame_figure(figure, colours, height=210 + 30 * len(table), bottom=150)


def draw_leak(found: Sequence[SplitDifference], names: Sequence[str], figure: str, colours: Palette) -> go.Figure:
    """Draw what a split by picture adds to one figure of each diagnosis."""
    table = pd.DataFrame(
        {
            "diagnosis": list(names),
            "difference": [one.difference.value for one in found],
            "difference_low": [one.difference.low for one in found],
            "difference_high": [one.difference.high for one in found],
        }
    )
    drawn = draw_differences(table, colours, figure=figure)
    return drawn.update_xaxes(title="split by picture less split by lesion, 95 % interval")


def write_intervals(table: pd.DataFrame, figure: str, colours: Palette, *, alt: str) -> str:
    """Return a chart of one figure and its interval a class as HTML, for what has to be there at once.

    It needs no chart library (4.7 MB, and a second or more of a slow processor), and on a phone the names stand above
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


def describe_probabilities(prediction: Prediction) -> str:
    """Return the chart in words, for those who cannot see it."""
    parts = [
        f"{name} {value:.1%}" for name, value in zip(prediction.labels.names, prediction.probabilities, strict=True)
    ]
    return f"Bar chart of {len(parts)} probabilities: " + ", ".join(parts) + "."


def _draw_bars(
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    colour: str | list[str],
    colours: Palette,
    *,
    hover: str,
) -> go.Figure:
    """Draw horizontal bars from top to bottom, each with its text at its end."""
    figure = go.Figure(
        go.Bar(
            x=list(values),
            y=list(names),
            orientation="h",
            marker_color=colour,
            text=list(texts),
            textposition="outside",
            textfont_color=colours.text,
            cliponaxis=False,
            hovertemplate="%{y}: " + hover + "<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, type="category")
    figure.update_xaxes(fixedrange=True)
    return frame_figure(figure, colours, height=340)


def _as_shares(figure: go.Figure) -> go.Figure:
    return figure.update_xaxes(range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%")
