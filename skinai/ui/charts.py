"""Plotly figures. One quantity has one colour; what is in question is highlighted and also said in words."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinai.evaluation.claim import SplitDifference
from skinai.evaluation.figures import DARK, LIGHT, Palette, draw_differences, frame_figure
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


# What is laid over the palette once it has been used up, and once more.
_PATTERNS = ("", "/", "x", ".")


def pick_colours(labels: LabelSet) -> dict[str, tuple[str, str]]:
    """Return a colour and a pattern a class: HAM10000's own colours, and the palette over again for other classes.

    From the eighth class on a pattern tells apart what has the same colour.
    """
    others = list(CATEGORIES.values())
    return {
        label.code: (
            CATEGORIES.get(label.code, others[index % len(others)]),
            _PATTERNS[index // len(others) % len(_PATTERNS)],
        )
        for index, label in enumerate(labels)
    }


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


def draw_facet(
    counts: pd.DataFrame,
    names: Sequence[str],
    colours: Palette,
    *,
    facet: str,
    unit: str,
    chosen: Sequence[str],
    labels: LabelSet | None,
) -> go.Figure:
    """Draw one bar a value of a facet; each can be clicked, and names its filter: facet, value.

    Parameters
    ----------
    counts : DataFrame
        One row a value, one column a class.
    names : sequence of str
        What the values are called.
    colours : Palette
    facet, unit : str
    chosen : sequence of str
        The values that are filtered by; where there are some, the others are faint.
    labels : LabelSet or None
        Divide each bar by class, in these colours; None draws one colour.
    """
    entries = [[facet, value] for value in counts.index]
    strength = [1.0 if not chosen or value in chosen else 0.3 for value in counts.index]
    shared = {"y": [html.escape(name) for name in names], "orientation": "h", "customdata": entries}
    hover = "%{x:,} " + unit + "<extra></extra>"
    if labels is None:
        totals = counts.sum(axis=1)
        figure = go.Figure(
            go.Bar(
                x=totals,
                text=[f"{total:,}" for total in totals],
                textposition="outside",
                textfont_color=colours.text,
                cliponaxis=False,
                marker={"color": colours.highlight, "opacity": strength},
                hovertemplate="%{y}: " + hover,
                **_clickable(colours),
                **shared,
            )
        )
        figure.update_xaxes(range=[0, max(int(totals.max()), 1) * 1.2])
    else:
        class_colours = pick_colours(labels)
        figure = go.Figure(
            [
                go.Bar(
                    x=counts[code],
                    name=labels.by_code(code).name,
                    marker={
                        "color": class_colours[code][0],
                        "pattern": {"shape": class_colours[code][1], "fillmode": "overlay"},
                        "opacity": strength,
                        "line": {"width": 0.5, "color": "rgba(127,127,127,0.6)"},
                    },
                    hovertemplate="%{y}, %{fullData.name}: " + hover,
                    **shared,
                )
                for code in counts.columns
                if code in labels.codes
            ]
        )
        legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
        figure.update_layout(barmode="stack", legend=legend)
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, type="category")
    figure.update_xaxes(title=unit, fixedrange=True, tickformat=",")
    legend_px = 0 if labels is None else 30 + 20 * math.ceil(len(labels) / 2)
    return frame_figure(figure, colours, height=110 + legend_px + 30 * max(len(counts), 3), bottom=45 + legend_px)


def _clickable(colours: Palette) -> dict[str, object]:
    """Return how bars with a text look once one is clicked: Plotly's script fails on a click without it."""
    same = {"textfont": {"color": colours.text}}
    return {"selected": same, "unselected": same}


def draw_pyramid(
    counts: pd.DataFrame, colours: Palette, *, unit: str, chosen: tuple[Sequence[str], Sequence[str]]
) -> go.Figure:
    """Draw an age pyramid: female to the left, male to the right; each bar can be clicked.

    Parameters
    ----------
    counts : DataFrame
        One row an age band, one column a sex.
    colours : Palette
    unit : str
    chosen : pair of sequences of str
        The age bands and the sexes that are filtered by.
    """
    bands, sexes = chosen
    figure = go.Figure()
    for sex, sign, colour in (("female", -1, colours.highlight), ("male", 1, colours.plain)):
        values = counts.get(sex, pd.Series(0, index=counts.index))
        strength = [
            1.0 if (not bands or band in bands) and (not sexes or sex in sexes) else 0.3 for band in counts.index
        ]
        figure.add_bar(
            x=sign * values,
            y=list(counts.index),
            name=sex,
            orientation="h",
            marker={"color": colour, "opacity": strength},
            text=[f"{value:,}" for value in values],
            textposition="outside",
            textfont_color=colours.text,
            cliponaxis=False,
            customdata=[["age_band", band, "sex", sex] for band in counts.index],
            hovertemplate="%{y}, " + sex + ": %{text} " + unit + "<extra></extra>",
            **_clickable(colours),
        )
    reach = 1.25 * max(int(counts.to_numpy().max()), 1)
    figure.update_layout(barmode="relative", legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0})
    figure.update_yaxes(automargin=True, fixedrange=True, type="category", title="age in years")
    figure.update_xaxes(range=[-reach, reach], showticklabels=False, fixedrange=True, title=unit)
    return frame_figure(figure, colours, height=150 + 30 * len(counts))


def draw_cross(
    counts: pd.DataFrame,
    shares: pd.DataFrame,
    rows: Sequence[str],
    heads: Sequence[str],
    colours: Palette,
    *,
    as_share: bool,
) -> go.Figure:
    """Draw two facets against each other as a heat map with its numbers.

    Parameters
    ----------
    counts, shares : DataFrame of the same shape
        The colour is the share; the number is either.
    rows, heads : sequence of str
        What rows and columns are called.
    colours : Palette
    as_share : bool
    """
    top = float(shares.to_numpy(na_value=0.0).max()) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=shares.to_numpy(na_value=0.0),
            x=[html.escape(head) for head in heads],
            y=[html.escape(row) for row in rows],
            colorscale="Cividis",
            zmin=0,
            zmax=top,
            xgap=2,
            ygap=2,
            hoverinfo="skip",
            showscale=False,
        )
    )
    for row, value in enumerate(counts.index):
        for column, other in enumerate(counts.columns):
            share = shares.iloc[row, column]
            text = f"{counts.loc[value, other]:,}" if not as_share else ("" if pd.isna(share) else f"{share:.0%}")
            # White up to .475 of the scale and black above keeps every number at 4.5:1 or more on its cell.
            ink = "#FFFFFF" if pd.isna(share) or share / top < 0.475 else "#000000"
            figure.add_annotation(x=column, y=row, text=text, showarrow=False, font={"color": ink, "size": 12})
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, type="category")
    figure.update_xaxes(automargin=True, fixedrange=True, type="category", tickangle=-30)
    return frame_figure(figure, colours, height=200 + 30 * len(counts))


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
    return frame_figure(figure, colours, height=60 + 40 * len(names))


def _as_shares(figure: go.Figure) -> go.Figure:
    return figure.update_xaxes(range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%")
