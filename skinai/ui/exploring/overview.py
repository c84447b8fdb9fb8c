"""Overview: every facet as a chart; a click on a bar filters all the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skinai import wording
from skinai.data.facets import Facets, Filters, SummaryFacets, TableFacets
from skinai.exports.record import write_table
from skinai.ui import charts, components
from skinai.ui.exploring.explored import Explored, choose_unit, name_facet, name_value, show_filters, toggle_filters

# A lesion's diagnosis is drawn inside these bars; the others have one colour.
_STACKED = ("localization", "dx_type")
_TABLE_COLUMNS = ["image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "dataset", "subset"]


def show(explored: Explored) -> None:
    """Show filters, totals, charts, what is missing, and the rows to take along."""
    filters = show_filters(explored)
    unit, tables = _choose(explored.facets)
    _show_totals(explored, filters)
    facets = explored.facets
    if facets.total(filters) == 0:
        st.info(wording.FILTER_NOTHING)
        return
    drawn = _list_charts(explored, filters, unit)
    for column, (key, draw, counts) in zip(st.columns(2) * len(drawn), drawn, strict=False):
        with column:
            draw(key)
            if tables:
                components.show_table(_as_shown(explored, key, counts), alt=f"{unit} by {name_facet(key).lower()}")
    _show_remarks(explored, unit)
    _show_unknown(explored, filters)
    _offer_rows(explored, filters, unit)


def _choose(facets: Facets) -> tuple[str, bool]:
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    with left:
        unit = choose_unit(facets)
    return unit, right.toggle(wording.SHOW_TABLES, key="tables", bind="query-params")


def _show_totals(explored: Explored, filters: Filters) -> None:
    """Say how much is left and how unequal the classes are."""
    facets = explored.facets
    pictures, lesions = facets.total(filters), facets.total(filters, "lesions")
    by_class = facets.count("dx", filters=filters).sum(axis=1)
    if filters.get("dx"):
        by_class = by_class[by_class.index.isin(filters["dx"])]
    there = by_class[by_class > 0]
    text = wording.EXPLORER_TOTALS.format(pictures=pictures, lesions=lesions)
    if not facets.lesions_known:
        text = wording.EXPLORER_TOTALS_ONLY.format(pictures=pictures)
    if len(there) > 1 and there.max() > there.min():
        most, least = (
            components.plain(name_value(facets, "dx", code).lower()) for code in (there.idxmax(), there.idxmin())
        )
        text += wording.EXPLORER_RATIO.format(ratio=there.max() / there.min(), most=most, least=least)
    st.markdown(text)


def _list_charts(
    explored: Explored, filters: Filters, unit: str
) -> list[tuple[str, Callable[[str], None], pd.DataFrame]]:
    """Return key, drawing function and counts of each chart."""
    facets = explored.facets
    columns = [column for column in facets.columns if column not in ("sex", "age_band")]
    found: list[tuple[str, Callable[[str], None], pd.DataFrame]] = []
    for column in columns:
        counts = facets.count(column, filters=filters, unit=unit)
        found.append((column, partial(_show_bars, explored, counts, filters, unit), counts))
    people = [column for column in ("age_band", "sex") if column in facets.columns]
    sexes = facets.values("sex") if "sex" in people else []
    if len(people) == 2 and {"female", "male"} <= set(sexes) and isinstance(facets, TableFacets):
        others = {name: values for name, values in filters.items() if name not in people}
        counts = facets.count("age_band", "sex", filters=others, unit=unit)
        found.insert(1, ("age_band", partial(_show_pyramid, explored, counts, filters, unit), counts))
    else:
        for column in people:
            counts = facets.count(column, filters=filters, unit=unit)
            found.insert(1, (column, partial(_show_bars, explored, counts, filters, unit), counts))
    return found


def _show_bars(explored: Explored, counts: pd.DataFrame, filters: Filters, unit: str, column: str) -> None:
    facets = explored.facets
    totals = counts.sum(axis=1)
    names = [name_value(facets, column, value) for value in counts.index]
    figure = charts.draw_facet(
        counts,
        names,
        charts.palette(),
        facet=column,
        unit=unit,
        chosen=list(filters.get(column, [])),
        labels=facets.labels if column in _STACKED else None,
    )
    said = ", ".join(f"{name} {total:,}" for name, total in zip(names, totals, strict=True))
    st.subheader(name_facet(column))
    _show_clickable(
        figure, column, alt=f"Bar chart of {unit} by {name_facet(column).lower()}: {said}.", explored=explored
    )


def _show_pyramid(explored: Explored, counts: pd.DataFrame, filters: Filters, unit: str, column: str) -> None:
    sides = [sex for sex in ("female", "male") if sex in counts.columns]
    chosen = (list(filters.get("age_band", [])), list(filters.get("sex", [])))
    figure = charts.draw_pyramid(counts, charts.palette(), unit=unit, chosen=chosen)
    said = "; ".join(
        f"{band}: " + ", ".join(f"{counts.loc[band, sex]:,} {sex}" for sex in sides) for band in counts.index
    )
    st.subheader(wording.PYRAMID_TITLE)
    _show_clickable(figure, column, alt=f"Age pyramid, {unit} by age band and sex: {said}.", explored=explored)
    rest = counts.drop(columns=sides).to_numpy().sum()
    if rest:
        st.caption(wording.PYRAMID_REST.format(count=rest, unit=unit))


def _show_clickable(figure: go.Figure, column: str, *, alt: str, explored: Explored) -> None:
    """Show a chart whose bars set filters; after each click it is a new chart, on which nothing is selected."""
    clicks = f"clicks_{column}"
    key = f"facet_{column}_{st.session_state.get(clicks, 0)}"

    def take_click() -> None:
        points = st.session_state[key].selection.points
        flat = [str(entry) for entry in points[0]["customdata"]] if points else []
        pairs = [pair for pair in zip(flat[::2], flat[1::2], strict=True) if pair[0] in explored.facets.filterable]
        st.session_state[clicks] = st.session_state.get(clicks, 0) + 1
        if pairs:
            toggle_filters(pairs)

    can_filter = column in explored.facets.filterable
    components.show_figure(figure, alt=alt, key=key, on_select=take_click if can_filter else None)


def _as_shown(explored: Explored, column: str, counts: pd.DataFrame) -> pd.DataFrame:
    """Return counts as a table: a row a value with its total, then each class, or the share of each diagnosis."""
    plain, facets = components.plain, explored.facets
    heads = [name_facet(column), "All"]
    totals = counts.sum(axis=1).to_numpy()
    cells = [[plain(name_value(facets, column, value)) for value in counts.index], [f"{total:,}" for total in totals]]
    if column == "dx":
        heads.append("Share")
        cells.append([f"{share:.1%}" for share in totals / max(totals.sum(), 1)])
        if explored.is_ham10000:
            heads.append("Group")
            cells.append([wording.describe_group(facets.labels.by_code(code), facets.labels) for code in counts.index])
    else:
        across = "sex" if set(counts.columns) <= {"female", "male", "unknown", "other"} else "dx"
        for value in counts.columns:
            name = plain(name_value(facets, across, str(value)))
            # A class may be called like another column.
            heads.append(name if name not in heads else f"{name} ")
            cells.append([f"{count:,}" for count in counts[value]])
    return pd.DataFrame(dict(zip(heads, cells, strict=True)))


def _show_remarks(explored: Explored, unit: str) -> None:
    if explored.is_ham10000 and "dx_type" in explored.facets.columns:
        naevi = explored.facets.count("dx_type").get("nv")
        if naevi is not None and naevi.sum():
            st.caption(wording.METHOD_REMARK.format(share=naevi.get("histo", 0) / naevi.sum()))
    if unit == "lesions":
        st.caption(wording.LESIONS_REMARK)
    if isinstance(explored.facets, SummaryFacets):
        st.caption(wording.COUNTS_ONLY)


def _show_unknown(explored: Explored, filters: Filters) -> None:
    st.subheader(wording.UNKNOWN_TITLE)
    unknown = explored.facets.count_unknown(filters)
    rows = pd.DataFrame(
        {
            "What": [name_facet(column) for column in unknown["column"]],
            "Not known": [f"{count:,}" for count in unknown["unknown"]],
            "Share of the pictures": [f"{share:.1%}" for share in unknown["share"]],
        }
    )
    components.show_table(rows, alt="How often each fact is not known")
    if explored.is_ham10000:
        st.markdown(wording.SKIN_TONE_REMARK)


def _offer_rows(explored: Explored, filters: Filters, unit: str) -> None:
    """Offer the filtered rows, or the counts where there are no rows, as a table to take along."""
    facets = explored.facets
    if isinstance(facets, TableFacets):
        rows = facets.rows(filters)

        def write_rows() -> bytes:
            columns = [column for column in _TABLE_COLUMNS if column in rows.columns]
            plain = rows[columns].astype(object).where(rows[columns].notna(), "")
            return write_table(columns, plain.to_numpy().tolist())

        label = wording.TAKE_ROWS.format(count=len(rows))
        st.download_button(label, write_rows, "pictures.csv", "text/csv", on_click="ignore", key="take_rows")
        return

    def write_counts() -> bytes:
        table = []
        for column in facets.columns:
            counts = facets.count(column, filters=filters, unit=unit)
            if wanted := filters.get(column):
                counts = counts.loc[[value for value in counts.index if value in wanted]]
            table += [[column, value, code, int(counts.loc[value, code])] for value in counts.index for code in counts]
        return write_table(["column", "value", "dx", unit], table)

    st.download_button(wording.TAKE_COUNTS, write_counts, "counts.csv", "text/csv", on_click="ignore", key="take_rows")
