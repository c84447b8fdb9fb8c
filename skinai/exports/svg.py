"""Plotly figures of a report as SVG, drawn with matplotlib: Plotly itself needs a browser for that.

Only what our figures are made of is drawn: heat maps, lines, points, error bars, bands and annotations.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

_LOCK = threading.Lock()
_DPI = 96
_WIDTH_PX = 760
_DASHES = {"dot": ":", "dash": "--", None: "-", "solid": "-"}
_MARKERS = {"circle": "o", "circle-open": "o", "diamond": "D", "square": "s"}


def draw_svg(figure: go.Figure, *, title: str) -> bytes:
    """Return a figure as SVG, with `title` inside for who cannot see it.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        One of :mod:`skinai.evaluation.figures`.
    title : str
    """
    # matplotlib keeps its settings for all threads together.
    with _LOCK:
        return _draw(figure, title)


def _draw(figure: go.Figure, title: str) -> bytes:
    height = float(figure.layout.height or 400)
    drawn = Figure(figsize=(_WIDTH_PX / _DPI, (height + 40) / _DPI), dpi=_DPI, layout="constrained")
    axes = drawn.add_subplot()
    places = {name: _list_places(figure, name) for name in ("x", "y")}
    for trace in figure.data:
        if trace.type == "heatmap":
            _draw_cells(axes, trace)
        elif not _is_invisible(trace):
            _draw_scatter(axes, trace, places, named=bool(figure.layout.showlegend))
    for note in figure.layout.annotations:
        _draw_note(axes, note, places)
    for line in figure.layout.shapes:
        axes.axvline(line.x0, color=line.line.color, linestyle=":")
    _set_axes(axes, figure, places)
    axes.set_title(title, fontsize=11, loc="left")
    if figure.layout.showlegend:
        axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    # A fixed salt and no date: the same report gives the same bytes.
    with rc_context({"svg.hashsalt": "skinai", "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None, "Title": title})
    return buffer.getvalue()


def _list_places(figure: go.Figure, name: str) -> Mapping[Any, int] | None:
    """Return the position of each name on an axis of categories; None on an axis of numbers."""
    axis = figure.layout[f"{name}axis"]
    if axis.type != "category":
        return None
    return {category: place for place, category in enumerate(axis.categoryarray)}


def _place(values: Sequence[Any], places: Mapping[Any, int] | None) -> np.ndarray:
    if places is None:
        return np.array([np.nan if value is None else value for value in values], dtype=float)
    return np.array([places[value] for value in values], dtype=float)


def _is_invisible(trace: go.Scatter) -> bool:
    """Points that are there to be clicked on have no colour."""
    return str(trace.marker.color).startswith("rgba(0,0,0,0")


def _draw_cells(axes: Axes, trace: go.Heatmap) -> None:
    values = np.array(trace.z, dtype=float)
    axes.imshow(np.nan_to_num(values), cmap="cividis", vmin=0, vmax=1, aspect="auto")


def _draw_scatter(
    axes: Axes, trace: go.Scatter, places: Mapping[str, Mapping[Any, int] | None], *, named: bool
) -> None:
    x, y = _place(trace.x, places["x"]), _place(trace.y, places["y"])
    label = trace.name if named and trace.showlegend is not False and trace.name else None
    mode = trace.mode or "lines"
    if trace.fill == "toself":
        colour = trace.line.color
        axes.fill(x, y, color=colour, alpha=0.2, linewidth=0)
        return
    if "lines" in mode:
        dash = _DASHES[trace.line.dash]
        axes.plot(x, y, color=trace.line.color, linewidth=trace.line.width, linestyle=dash, label=label)
    if "markers" not in mode:
        return
    colour = trace.marker.color
    for name, draw in (("x", "xerr"), ("y", "yerr")):
        error = trace[f"error_{name}"]
        if error.array is not None:
            ends = np.array([error.arrayminus, error.array], dtype=float)
            axes.errorbar(x, y, **{draw: np.nan_to_num(ends)}, fmt="none", ecolor=colour, capsize=3, linewidth=1.5)
    symbols = trace.marker.symbol
    symbols = [symbols or "circle"] * len(x) if symbols is None or isinstance(symbols, str) else symbols
    for place, symbol in enumerate(symbols):
        inside = "none" if str(symbol).endswith("open") else colour
        size = float(trace.marker.size or 8) * 0.75
        axes.plot(
            x[place], y[place], _MARKERS[symbol], color=colour, markerfacecolor=inside, markersize=size, clip_on=False
        )
    for place, text in enumerate(trace.text if trace.text is not None and "text" in mode else ()):
        beside = (6, -10) if x[place] < 0.8 else (-24, -10)
        axes.annotate(text, (x[place], y[place]), xytext=beside, textcoords="offset points", fontsize=7)


def _draw_note(axes: Axes, note: Any, places: Mapping[str, Mapping[Any, int] | None]) -> None:
    y = _place([note.y], places["y"])[0]
    style = {"ha": "center", "va": "center", "fontsize": 8, "color": note.font.color}
    if note.xref == "paper":
        axes.text(float(note.x), y, note.text, transform=axes.get_yaxis_transform(), **style)
    else:
        axes.text(_place([note.x], places["x"])[0], y, note.text, **style)


def _set_axes(axes: Axes, figure: go.Figure, places: Mapping[str, Mapping[Any, int] | None]) -> None:
    for name in ("x", "y"):
        axis, where = figure.layout[f"{name}axis"], axes.xaxis if name == "x" else axes.yaxis
        names = places[name]
        set_limits = axes.set_xlim if name == "x" else axes.set_ylim
        if names is not None:
            turned = {}
            if axis.tickangle:
                turned = {"rotation": -axis.tickangle, "ha": "right", "rotation_mode": "anchor"}
            where.set_ticks(list(names.values()), [str(one).replace("<br>", "\n") for one in names], **turned)
            if axis.autorange == "reversed":
                set_limits(len(names) - 0.5, -0.5)
        elif axis.range is not None:
            set_limits(*axis.range)
        elif axis.rangemode == "tozero":
            axes.set_ylim(bottom=0)
        if axis.tickformat == ".0%":
            where.set_major_formatter(PercentFormatter(1.0, decimals=0))
        where.set_label_text(axis.title.text or "")
        where.set_tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
