"""What the explorer shows: the data, the filters, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from skinai import wording
from skinai.data.facets import Facets, Filters
from skinai.data.metadata import DataFolder
from skinai.model.bundle import Bundle

FILTERS = "filter"


@dataclass(frozen=True)
class Explored:
    """The data that a visitor looks at.

    Attributes
    ----------
    bundle : Bundle
        The model in use.
    facets : TableFacets or SummaryFacets
    data : DataFolder or None
        None where there are only the counts that travel with the model.
    """

    bundle: Bundle
    facets: Facets
    data: DataFolder | None

    @property
    def is_ham10000(self) -> bool:
        return self.facets.is_ham10000


def name_value(facets: Facets, column: str, value: str) -> str:
    """Return what a value of a facet is called on screen."""
    if column == "dx" and value in facets.labels.codes:
        return facets.labels.by_code(value).name
    return wording.METHODS.get(value, value) if column == "dx_type" else value


def name_facet(column: str) -> str:
    """Return what a facet is called on screen."""
    return wording.FACETS.get(column, column)


def choose_unit(facets: Facets) -> str:
    """Show what is counted, where there is a choice, and return it."""
    units = ["pictures", "lesions"] if facets.lesions_known else ["pictures"]
    if st.session_state.get("unit") not in units:
        st.session_state.pop("unit", None)
    return st.segmented_control("Count", units, default="pictures", required=True, key="unit", bind="query-params")


def read_filters() -> dict[str, list[str]]:
    """Return the filters that are set, facet to values."""
    filters: dict[str, list[str]] = {}
    for entry in st.session_state.get(FILTERS, []):
        column, _, value = entry.partition(":")
        filters.setdefault(column, []).append(value)
    return filters


def toggle_filters(pairs: list[tuple[str, str]]) -> None:
    """Set the filters named, or remove them where all of them are set."""
    entries = [f"{column}:{value}" for column, value in pairs]
    now = list(st.session_state.get(FILTERS, []))
    if all(entry in now for entry in entries):
        st.session_state[FILTERS] = [entry for entry in now if entry not in entries]
    else:
        st.session_state[FILTERS] = now + [entry for entry in entries if entry not in now]


def show_filters(explored: Explored) -> Filters:
    """Show the filters as chips that can be removed, and return them; they are kept in the address."""
    facets = explored.facets
    options = [f"{column}:{value}" for column in facets.filterable for value in facets.values(column)]
    if FILTERS in st.session_state:
        kept = [entry for entry in st.session_state[FILTERS] if entry in options]
        if kept != st.session_state[FILTERS]:
            st.session_state[FILTERS] = kept

    def describe(entry: str) -> str:
        column, _, value = entry.partition(":")
        return f"{name_facet(column)}: {name_value(facets, column, value)}"

    st.multiselect(
        wording.FILTER_LABEL,
        options,
        format_func=describe,
        key=FILTERS,
        placeholder=wording.FILTER_EMPTY,
        select_all=False,
        bind="query-params",
    )
    return read_filters()
