"""Plotly figures. One quantity has one colour; what is in question is highlighted and also said in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinai.evaluation.report import EvaluationReport
from skinai.labels import LabelSet
from skinai.serving.predictor import Prediction

PLOT_CONFIG = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False}


@dataclass(frozen=True)
class Palette:
    """Colours with at least 3:1 against their background, and 4.5:1 for text."""

    highlight: str
    plain: str
    text: str


LIGHT = Palette(highlight="#0F5C6E", plain="#7A929A", text="#1B2428")
DARK = Palette(highlight="#6CC3D5", plain="#6B838D", text="#E6EDF1")
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
    return _framed(figure, colours, height=210 + 30 * len(table), bottom=150)


def draw_confusion(report: EvaluationReport, colours: Palette, *, share: bool) -> go.Figure:
    """Draw the confusion matrix: rows are the truth, columns the answer, colour is the share of the row."""
    counts = report.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    codes, names = list(report.labels.codes), report.labels.names
    places = [(row, column) for row in range(len(codes)) for column in range(len(codes))]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=codes,
            y=codes,
            colorscale="Cividis",
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            colorbar={
                "title": {"text": "share of<br>the row", "font": {"color": colours.text}},
                "tickformat": ".0%",
                "tickfont": {"color": colours.text},
                "thickness": 12,
            },
            customdata=[[(names[i], names[j], counts[i][j]) for j in range(len(codes))] for i in range(len(codes))],
            hovertemplate="truth: %{customdata[0]}<br>answer: %{customdata[1]}<br>%{customdata[2]:,} pictures, "
            "%{z:.1%} of the row<extra></extra>",
        )
    )
    # White up to .475 of the scale and black above keeps every number at 4.5:1 or more on its cell.
    for row, column in places:
        figure.add_annotation(
            x=codes[column],
            y=codes[row],
            text=f"{shares[row, column]:.0%}" if share else f"{counts[row, column]:,}",
            showarrow=False,
            font={"color": "#FFFFFF" if shares[row, column] < 0.475 else "#000000"},
        )
    figure.update_yaxes(autorange="reversed", title="truth", fixedrange=True)
    figure.update_xaxes(title="answer", fixedrange=True)
    return _framed(figure, colours, height=460)


def draw_class_f1(report: EvaluationReport, colours: Palette) -> go.Figure:
    """Draw F1 of each class with its interval."""
    table = report.frame()
    figure = go.Figure(
        go.Scatter(
            x=table["f1"],
            y=[f"{row.diagnosis}<br>n {row.pictures:,}" for row in table.itertuples()],
            mode="markers",
            marker={"size": 8, "color": colours.highlight},
            cliponaxis=False,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": table["f1_high"] - table["f1"],
                "arrayminus": table["f1"] - table["f1_low"],
                "color": colours.highlight,
                "thickness": 2,
                "width": 6,
            },
            hovertemplate="%{y}: F1 %{x:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True)
    figure.update_xaxes(range=[0, 1], title="F1, 95 % interval", fixedrange=True)
    return _framed(figure, colours, height=400)


def describe_probabilities(prediction: Prediction) -> str:
    """Return the chart in words, for those who cannot see it."""
    parts = [
        f"{name} {value:.1%}" for name, value in zip(prediction.labels.names, prediction.probabilities, strict=True)
    ]
    return "Bar chart of seven probabilities: " + ", ".join(parts) + "."


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
    return _framed(figure, colours, height=340)


def _as_shares(figure: go.Figure) -> go.Figure:
    return figure.update_xaxes(range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%")


def _framed(figure: go.Figure, colours: Palette, *, height: int, bottom: int = 8) -> go.Figure:
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(tickfont_color=colours.text, title_font_color=colours.text)
    figure.update_layout(
        height=height, legend_font_color=colours.text, margin={"l": 8, "r": 8, "t": 8, "b": bottom}, bargap=0.28
    )
    return figure
