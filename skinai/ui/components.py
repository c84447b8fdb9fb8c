"""The parts that pages are made of."""

from __future__ import annotations

import html
import logging
import math
import re
import shlex
from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinai import __version__, wording
from skinai.errors import SkinaiError
from skinai.evaluation.estimate import Estimate
from skinai.model.bundle import Bundle
from skinai.ui import charts, resources
from skinai.ui.navigation import ROOT

LOG = logging.getLogger("skinai.ui")
_NOTICE_STYLE = (
    "border-left:4px solid #C77700;background:rgba(199,119,0,.13);padding:.45rem .8rem;border-radius:.3rem;"
    "font-size:.95rem;font-weight:600"
)


def show_notice() -> None:
    """Show the standing notice of every page."""
    st.html(f'<div role="note" style="{_NOTICE_STYLE}">{html.escape(wording.NOTICE)}</div>')


def choose_model() -> Bundle:
    """Let the visitor choose one of the models at hand, and keep the choice in the address; return its description.

    Raises
    ------
    ModelError
        If the folder is refused.
    """
    kinds = list(resources.list_models())
    if len(kinds) < 2:
        return resources.load_bundle_in_use()
    chosen = st.segmented_control(
        wording.MODEL_LABEL,
        kinds,
        default=kinds[0],
        format_func=wording.MODEL_NAMES.__getitem__,
        required=True,
        key="model",
        bind="query-params",
    )
    return resources.load_bundle_in_use(chosen)


def show_footer() -> None:
    """Show which models answer on this installation, on every page."""
    try:
        bundles = [resources.load_bundle_in_use(kind) for kind in resources.list_models()]
        models = " ".join(f"Model {bundle.name}, fingerprint {bundle.fingerprint}." for bundle in bundles)
    except SkinaiError:
        models = "No usable model."
    st.divider()
    st.markdown(f"{models} skinai {__version__}. {wording.NOT_A_DEVICE}")


def stop_with(sentence: str, error: SkinaiError) -> None:
    """Show what is wrong in plain words, write it to the log, and end the page."""
    LOG.error("%s %s", sentence, error)
    st.error(f"{sentence} {plain(error)}")
    show_footer()
    st.stop()


def name_folder(bundle: Bundle) -> str:
    """Return a model folder as a command started in the checkout takes it."""
    folder = bundle.folder.resolve()
    return shlex.quote(str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder))


def plain(text: object) -> str:
    """Return text from a data set so that Markdown shows it as it stands.

    >>> plain("a_b [x](http://y)")
    'a\\\\_b \\\\[x\\\\](http\\\\://y)'
    """
    escaped = re.sub(r"([\\`*_{}\[\]<>#|$~:])", r"\\\1", str(text))
    # What begins a list, and what a browser's reader takes for an address.
    return re.sub(r"^(\s*\d*)([-+.)])(?=\s)", r"\1\\\2", escaped).replace("www.", "www\\.")


def show_figure(figure: go.Figure, *, alt: str, key: str, on_select: Callable[[], None] | None = None) -> None:
    """Show a figure with its text alternative; `on_select` is called when a point of it is clicked."""
    st.plotly_chart(
        figure,
        width="stretch",
        config=charts.PLOT_CONFIG,
        alt=alt,
        key=key,
        on_select=on_select or "ignore",
        selection_mode="points",
    )


def show_table(table: pd.DataFrame, *, alt: str) -> None:
    """Show all rows of a small table as real table markup, which wraps on a phone and can be read aloud."""
    st.table(table, hide_index=True, border="horizontal", alt=alt)


def say_plain(value: float) -> str:
    """Return a figure without its interval."""
    return "not applicable" if math.isnan(value) else f"{value:.3f}"


def say_value(estimate: Estimate) -> str:
    """Return an estimate without its interval."""
    return say_plain(estimate.value)


def say_figure(row: pd.Series, name: str) -> str:
    """Return one figure of a row of a curve, with its interval."""
    return str(Estimate(row[name], int(row[f"{name}_n"]), row[f"{name}_low"], row[f"{name}_high"]))
