"""Two columns against each other, in counts or shares, with n."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.data.facets import SummaryFacets
from skinai.ui import charts, components
from skinai.ui.exploring.explored import Explored, choose_unit, name_facet, name_value, show_filters


def show(explored: Explored) -> None:
    """Show one facet down and another one across."""
    facets = explored.facets
    filters = show_filters(explored)
    columns = list(facets.columns)
    first, second, third, fourth = st.columns([3, 3, 2, 5], vertical_alignment="bottom")
    down = first.selectbox(
        wording.CROSS_DOWN,
        columns,
        index=columns.index("localization") if "localization" in columns else 0,
        format_func=name_facet,
        key="down",
        bind="query-params",
    )
    # The counts that travel with a model have each column by diagnosis and subset only.
    crossed = isinstance(facets, SummaryFacets) and down not in facets.filterable
    others = [column for column in (facets.filterable if crossed else columns) if column != down]
    if not others:
        st.info(wording.CROSS_ONE)
        return
    if st.session_state.get("across") not in others:
        st.session_state.pop("across", None)
    across = second.selectbox(wording.CROSS_ACROSS, others, format_func=name_facet, key="across", bind="query-params")
    with third:
        unit = choose_unit(facets)
    shown_as = fourth.segmented_control(
        "Show",
        list(wording.CROSS_KINDS),
        default="counts",
        format_func=wording.CROSS_KINDS.__getitem__,
        required=True,
        key="cross",
        bind="query-params",
    )
    counts = facets.count(down, across, filters=filters, unit=unit)
    if filters.get(across):
        counts = counts[[value for value in counts.columns if value in filters[across]]]
    if filters.get(down):
        counts = counts.loc[[value for value in counts.index if value in filters[down]]]
    if counts.to_numpy().sum() == 0:
        st.info(wording.FILTER_NOTHING)
        return
    shares = _divide(counts, shown_as)
    rows = [f"{name_value(facets, down, value)} (n {counts.loc[value].sum():,})" for value in counts.index]
    heads = [f"{name_value(facets, across, value)} (n {counts[value].sum():,})" for value in counts.columns]
    alt = f"{wording.CROSS_KINDS[shown_as]} of {unit}, {name_facet(down).lower()} by {name_facet(across).lower()}"
    figure = charts.draw_cross(counts, shares, rows, heads, charts.palette(), as_share=shown_as != "counts")
    components.show_figure(figure, alt=f"{alt}; the table below holds the same numbers.", key="cross_chart")
    table = pd.DataFrame({name_facet(down): [components.plain(row) for row in rows]})
    for value, head in zip(counts.columns, heads, strict=True):
        column = counts[value] if shown_as == "counts" else shares[value]
        table[components.plain(head)] = [
            f"{cell:,}" if shown_as == "counts" else ("not applicable" if pd.isna(cell) else f"{cell:.1%}")
            for cell in column
        ]
    components.show_table(table, alt=alt)
    if unit == "lesions":
        st.caption(wording.LESIONS_REMARK)


def _divide(counts: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return shares of the row, of the column or, for counts, of everything; NaN where there is nothing to divide."""
    if kind == "rows":
        return counts.div(counts.sum(axis=1).where(lambda total: total > 0), axis=0)
    if kind == "columns":
        return counts.div(counts.sum(axis=0).where(lambda total: total > 0), axis=1)
    return counts / counts.to_numpy().sum()
