"""Plotly figures of a report. One quantity has one colour; what is in question is highlighted and also said in words.

Each function draws one table of :meth:`skinai.evaluation.report.EvaluationReport.frame` and knows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Palette:
    """Colours with at least 3:1 against their background, and 4.5:1 for text."""

    highlight: str
    plain: str
    text: str


LIGHT = Palette(highlight="#0F5C6E", plain="#7A929A", text="#1B2428")
DARK = Palette(highlight="#6CC3D5", plain="#6B838D", text="#E6EDF1")
_WARNING = "#C77700"
_SHARES = {"rows": "share_of_row", "columns": "share_of_column"}
# Codes up to this length stand upright below a matrix; longer ones are turned.
_UPRIGHT = 8
NAMES = {
    "recall": "Recall (sensitivity)",
    "precision": "Precision",
    "specificity": "Specificity",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "accuracy": "Accuracy",
    "calibration_gap": "Predicted less observed malignant share",
}


def draw_confusion(table: pd.DataFrame, codes: Sequence[str], colours: Palette, *, unit: str) -> go.Figure:
    """Draw the confusion matrix: rows are the truth, columns the answer; each cell can be clicked.

    Parameters
    ----------
    table : DataFrame
        One row a cell.
    codes : sequence of str
        The order of rows and columns.
    colours : Palette
    unit : str
        ``"counts"``, ``"rows"`` or ``"columns"``: what the numbers are, and of what the colour is the share.
    """
    column = _SHARES.get(unit, "share_of_row")
    shares = table.pivot(index="truth", columns="answer", values=column).loc[list(codes), list(codes)]
    figure = go.Figure(
        go.Heatmap(
            z=shares.to_numpy(),
            x=list(codes),
            y=list(codes),
            colorscale="Cividis",
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            hoverinfo="skip",
            showscale=False,
        )
    )
    values = table[column].fillna(0.0)
    texts = [f"{value:.0%}" for value in values] if unit in _SHARES else [f"{count:,}" for count in table["pictures"]]
    # Heat maps cannot be clicked, so there is a point in each cell that can.
    figure.add_trace(
        go.Scatter(
            x=table["answer"],
            y=table["truth"],
            mode="markers",
            marker={"symbol": "square", "size": 34, "color": "rgba(0,0,0,0)", "line": {"width": 0}},
            selected={"marker": {"color": "rgba(255,255,255,0.35)"}},
            unselected={"marker": {"opacity": 1}},
            customdata=table[["truth_name", "answer_name", "pictures", "share_of_row", "share_of_column"]].to_numpy(),
            hovertemplate="truth: %{customdata[0]}<br>answer: %{customdata[1]}<br>%{customdata[2]:,} pictures, "
            "%{customdata[3]:.1%} of the row, %{customdata[4]:.1%} of the column<extra></extra>",
            showlegend=False,
        )
    )
    # White up to .475 of the scale and black above keeps every number at 4.5:1 or more on its cell.
    for row, value, text in zip(table.itertuples(), values, texts, strict=True):
        colour = "#FFFFFF" if value < 0.475 else "#000000"
        figure.add_annotation(x=row.answer, y=row.truth, text=text, showarrow=False, font={"color": colour})
    longest = max(len(code) for code in codes)
    figure.update_yaxes(
        autorange="reversed",
        automargin=True,
        title="truth",
        fixedrange=True,
        type="category",
        categoryorder="array",
        categoryarray=list(codes),
    )
    figure.update_xaxes(
        automargin=True,
        tickangle=-60 if longest > _UPRIGHT else None,
        title="answer",
        fixedrange=True,
        type="category",
        categoryorder="array",
        categoryarray=list(codes),
    )
    turned = 6 * longest if longest > _UPRIGHT else 0
    return frame_figure(figure, colours, height=180 + 40 * len(codes) + turned)


def draw_classes(table: pd.DataFrame, colours: Palette, *, figure: str) -> go.Figure:
    """Draw one figure of each class with its interval."""
    names = [f"{row.diagnosis}<br>n {row.pictures:,}" for row in table.itertuples()]
    return _draw_points(table, names, figure, colours, height=120 + 40 * len(table))


def draw_subgroups(table: pd.DataFrame, colours: Palette, *, figure: str) -> go.Figure:
    """Draw one figure of each part of one column; where it rests on few lesions, the point is hollow."""
    names = [f"{value}<br>n {count:,}" for value, count in zip(table["value"], table[f"{figure}_n"], strict=True)]
    drawn = _draw_points(table, names, figure, colours, height=130 + 46 * len(table))
    few = table.get(f"{figure}_few", pd.Series(False, index=table.index))
    drawn.data[0].marker.symbol = ["circle-open" if hollow else "circle" for hollow in few]
    if figure == "calibration_gap":
        drawn.update_xaxes(range=None, autorange=True, zeroline=True, zerolinecolor=colours.plain)
    return drawn


def draw_differences(table: pd.DataFrame, colours: Palette, *, figure: str) -> go.Figure:
    """Draw the difference of one figure between two models, a point a class; 0 is no difference."""
    drawn = _draw_points(
        table.rename(columns=lambda name: name.replace("difference", figure)),
        list(table["diagnosis"]),
        figure,
        colours,
        height=100 + 40 * len(table),
    )
    ends = table[["difference_low", "difference_high"]].abs().max(axis=None)
    reach = 1.1 * float(np.nan_to_num(ends, nan=0.1)) or 0.1
    drawn.add_vline(x=0, line={"color": colours.plain, "width": 1.5, "dash": "dot"})
    return drawn.update_xaxes(range=[-reach, reach], title="second less first, 95 % interval")


def draw_roc(table: pd.DataFrame, colours: Palette, *, at: float | None = None) -> go.Figure:
    """Draw sensitivity against 1 less specificity, and the threshold in question."""
    curve = pd.DataFrame({"x": 1 - table["specificity"], "y": table["sensitivity"], "at": table["at"]})
    figure = _draw_curve(
        curve, colours, hover="threshold %{customdata:.2%}<br>sensitivity %{y:.1%}, false alarms %{x:.1%}"
    )
    figure.add_trace(_dashed([0, 1], [0, 1], "chance", colours))
    _mark(figure, curve, colours, at)
    figure.update_xaxes(title="1 - specificity", range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title="sensitivity", range=[0, 1.02], tickformat=".0%")
    return _curve_frame(figure, colours)


def draw_precision_recall(table: pd.DataFrame, colours: Palette, *, at: float | None = None) -> go.Figure:
    """Draw precision against sensitivity, and the threshold in question."""
    curve = pd.DataFrame({"x": table["sensitivity"], "y": table["precision"], "at": table["at"]}).dropna()
    figure = _draw_curve(
        curve, colours, hover="threshold %{customdata:.2%}<br>sensitivity %{x:.1%}, precision %{y:.1%}"
    )
    share = float(table["precision"].iloc[0])
    figure.add_trace(_dashed([0, 1], [share, share], "chance", colours))
    _mark(figure, curve, colours, at)
    figure.update_xaxes(title="sensitivity (recall)", range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title="precision", range=[0, 1.02], tickformat=".0%")
    return _curve_frame(figure, colours)


def draw_decision_curve(table: pd.DataFrame, colours: Palette, *, at: float | None = None) -> go.Figure:
    """Draw the net benefit of acting on the model, on everybody and on nobody; thresholds up to .6."""
    shown = table[(table["at"] >= 0.01) & (table["at"] <= 0.6)]
    curve = pd.DataFrame({"x": shown["at"], "y": shown["net_benefit"], "at": shown["at"]})
    figure = _draw_band(shown, "net_benefit", colours)
    for trace in _draw_curve(curve, colours, hover="threshold %{x:.0%}<br>net benefit %{y:.3f}", name="model").data:
        figure.add_trace(trace)
    # Off to the right acting on everybody loses without bound, below the chart.
    figure.add_trace(_dashed(shown["at"], shown["net_benefit_of_all"], "act on everybody", colours, dash="dash"))
    figure.add_trace(_dashed([0.01, 0.6], [0, 0], "act on nobody", colours, dash="dot"))
    _mark(figure, curve, colours, at)
    figure.update_xaxes(title="threshold of the summed malignant probability", range=[0, 0.6], tickformat=".0%")
    figure.update_yaxes(title="net benefit", range=[-0.05, float(shown["net_benefit_high"].max()) * 1.1])
    return _curve_frame(figure, colours, legend=True)


def draw_calibration(table: pd.DataFrame, colours: Palette) -> go.Figure:
    """Draw how often what was said came true against what was said, with the pictures of each bin."""
    known = table.dropna(subset=["share"])
    figure = go.Figure(_dashed([0, 1], [0, 1], "perfect", colours))
    figure.add_trace(
        go.Scatter(
            x=known["mean_probability"],
            y=known["share"],
            mode="markers+text",
            text=[f"{count:,}" for count in known["share_n"]],
            textposition=["bottom right" if said < 0.8 else "bottom left" for said in known["mean_probability"]],
            textfont={"color": colours.text},
            marker={"size": 9, "color": colours.highlight},
            error_y=_interval(known, "share", colours),
            customdata=known["share_n"],
            hovertemplate="said %{x:.1%}, came true %{y:.1%}, %{customdata:,} pictures<extra></extra>",
            showlegend=False,
            cliponaxis=False,
        )
    )
    figure.update_xaxes(title="mean probability (numbers: pictures)", range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title="share that came true", range=[0, 1.02], tickformat=".0%")
    return _curve_frame(figure, colours)


def draw_risk(table: pd.DataFrame, colours: Palette) -> go.Figure:
    """Draw the share of wrong answers when only the most certain ones are given."""
    curve = pd.DataFrame({"x": table["at"], "y": table["error"], "at": table["at"]})
    figure = _draw_band(table, "error", colours)
    for trace in _draw_curve(curve, colours, hover="%{x:.0%} answered<br>%{y:.1%} of them wrong").data:
        figure.add_trace(trace)
    figure.update_xaxes(title="share answered, the most certain first", range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title="share of wrong answers", rangemode="tozero", tickformat=".0%")
    return _curve_frame(figure, colours)


def frame_figure(figure: go.Figure, colours: Palette, *, height: int, bottom: int = 8) -> go.Figure:
    """Give a figure its text colours, height and margins."""
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(tickfont_color=colours.text, title_font_color=colours.text)
    figure.update_layout(
        height=height, legend_font_color=colours.text, margin={"l": 8, "r": 8, "t": 8, "b": bottom}, bargap=0.28
    )
    return figure


def _draw_points(table: pd.DataFrame, names: list[str], name: str, colours: Palette, *, height: int) -> go.Figure:
    known = table[name].notna().to_numpy()
    figure = go.Figure(
        go.Scatter(
            x=table[name],
            y=names,
            mode="markers",
            marker={"size": 9, "color": colours.highlight},
            cliponaxis=False,
            error_x=_interval(table, name, colours),
            hovertemplate="%{y}: " + NAMES[name] + " %{x:.3f}<extra></extra>",
            showlegend=False,
        )
    )
    for place in np.flatnonzero(~known):
        figure.add_annotation(
            x=0.5, xref="paper", y=names[place], text="not applicable", showarrow=False, font={"color": colours.text}
        )
    figure.update_yaxes(
        autorange="reversed",
        automargin=True,
        fixedrange=True,
        type="category",
        categoryorder="array",
        categoryarray=names,
    )
    figure.update_xaxes(range=[0, 1], title=f"{NAMES[name]}, 95 % interval", fixedrange=True)
    return frame_figure(figure, colours, height=height)


def _interval(table: pd.DataFrame, name: str, colours: Palette) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": table[f"{name}_high"] - table[name],
        "arrayminus": table[name] - table[f"{name}_low"],
        "color": colours.highlight,
        "thickness": 2,
        "width": 6,
    }


def _draw_curve(curve: pd.DataFrame, colours: Palette, *, hover: str, name: str = "") -> go.Figure:
    return go.Figure(
        go.Scatter(
            x=curve["x"],
            y=curve["y"],
            customdata=curve["at"],
            mode="lines",
            line={"color": colours.highlight, "width": 2.5},
            hovertemplate=hover + "<extra></extra>",
            name=name,
            showlegend=bool(name),
        )
    )


def _draw_band(table: pd.DataFrame, name: str, colours: Palette) -> go.Figure:
    """Draw the 95 % interval of a curve as a band."""
    around = [*table["at"], *table["at"][::-1]]
    bounds = [*table[f"{name}_high"], *table[f"{name}_low"][::-1]]
    red, green, blue = (int(colours.highlight[place : place + 2], 16) for place in (1, 3, 5))
    return go.Figure(
        go.Scatter(
            x=around,
            y=bounds,
            mode="lines",
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.2)",
            line={"width": 0, "color": colours.highlight},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _dashed(x: Iterable[float], y: Iterable[float], name: str, colours: Palette, *, dash: str = "dot") -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="lines",
        line={"color": colours.plain, "width": 1.5, "dash": dash},
        name=name,
        hoverinfo="skip",
    )


def _mark(figure: go.Figure, curve: pd.DataFrame, colours: Palette, at: float | None) -> None:
    """Mark the point of a threshold on a curve."""
    if at is None or curve.empty or not curve["at"].min() <= at <= curve["at"].max():
        return
    point = curve.iloc[[(curve["at"] - at).abs().argmin()]]
    figure.add_trace(
        go.Scatter(
            x=point["x"],
            y=point["y"],
            mode="markers",
            marker={"size": 13, "color": _WARNING, "symbol": "diamond", "line": {"color": colours.text, "width": 1.5}},
            name="threshold",
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _curve_frame(figure: go.Figure, colours: Palette, *, legend: bool = False) -> go.Figure:
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(fixedrange=True, automargin=True)
    where = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    figure.update_layout(showlegend=legend, legend=where, hovermode="closest")
    return frame_figure(figure, colours, height=400)
