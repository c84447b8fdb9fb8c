"""Count pictures and lesions by what is known of them, under filters: what the explorer draws.

There are two sources. The table of a data folder can be filtered by every column. The counts that travel with a model
(``dataset.json``) hold each column by diagnosis and subset only, so they can be filtered by these two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from skinai.data.metadata import AGE_BANDS, DataFolder
from skinai.data.split import SUBSETS
from skinai.data.summary import COLUMNS, DatasetSummary
from skinai.labels import HAM10000, LabelSet

NOT_SPLIT = "not split"
SIZES = ("1", "2", "3", "4 or more")
UNITS = {"pictures": "image_id", "lesions": "lesion_id"}
_ORDERS = {"age_band": AGE_BANDS, "subset": (*SUBSETS, NOT_SPLIT), "lesion_size": SIZES}
Filters = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class TableFacets:
    """The rows of a data folder.

    Attributes
    ----------
    labels : LabelSet
    table : DataFrame
        One row a picture: `image_id`, `lesion_id`, `path`, `age` and one column of str a facet.
    columns : tuple of str
        The facets, of which each can be filtered by and crossed with each other one.
    lesions_known : bool
        Whether `lesion_id` says which pictures show the same lesion.
    is_ham10000 : bool
    """

    labels: LabelSet
    table: pd.DataFrame
    columns: tuple[str, ...]
    lesions_known: bool = True
    is_ham10000: bool = False

    @property
    def filterable(self) -> tuple[str, ...]:
        """The facets that can be filtered by."""
        return self.columns

    def values(self, column: str) -> list[str]:
        """Return the values of a facet, in their order or else the most frequent first."""
        return _in_order(column, self.table[column].value_counts().index, self.labels)

    def rows(self, filters: Filters, *, without: str = "") -> pd.DataFrame:
        """Return the rows that pass every filter, but the one of the facet `without`."""
        mask = pd.Series(True, index=self.table.index)
        for column, wanted in filters.items():
            if column != without and wanted:
                mask &= self.table[column].isin(list(wanted))
        return self.table[mask]

    def count(
        self, down: str, across: str = "dx", *, filters: Filters | None = None, unit: str = "pictures"
    ) -> pd.DataFrame:
        """Count by two facets.

        Parameters
        ----------
        down, across : str
        filters : mapping of facet to values
            The filter of `down` itself is left out, so that its other values stay to be seen.
        unit : str
            ``"pictures"`` or ``"lesions"``; a lesion recorded under two values counts under both.

        Returns
        -------
        DataFrame
            One row a value of `down` that occurs at all, one column a value of `across`.
        """
        rows = self.rows(filters or {}, without=down)
        counted = rows.groupby([down, across], observed=True)[UNITS[unit]].nunique()
        return _as_grid(counted, self.values(down), self.values(across))

    def total(self, filters: Filters, unit: str = "pictures") -> int:
        """Return how many pictures or lesions pass all filters."""
        return int(self.rows(filters)[UNITS[unit]].nunique())

    def count_unknown(self, filters: Filters) -> pd.DataFrame:
        """Return ``column``, ``unknown`` and ``share`` of the facets in which something is missing."""
        rows = self.rows(filters)
        found = [(column, int((rows[column] == "unknown").sum())) for column in COLUMNS]
        table = pd.DataFrame(found, columns=["column", "unknown"])
        return table.assign(share=table["unknown"] / max(len(rows), 1))


@dataclass(frozen=True)
class SummaryFacets:
    """The counts that travel with a model; the interface of :class:`TableFacets`, less the rows."""

    labels: LabelSet
    summary: DatasetSummary

    @property
    def is_ham10000(self) -> bool:
        return self.labels is HAM10000

    @property
    def lesions_known(self) -> bool:
        return self.summary.lesions < self.summary.pictures

    @property
    def columns(self) -> tuple[str, ...]:
        return ("dx", "sex", "age_band", "localization", "dx_type", "subset")

    @property
    def filterable(self) -> tuple[str, ...]:
        return ("dx", "subset")

    def values(self, column: str) -> list[str]:
        counted = self._cells(column).groupby("value")["pictures"].sum().sort_values(ascending=False)
        return _in_order(column, counted.index, self.labels)

    def count(
        self, down: str, across: str = "dx", *, filters: Filters | None = None, unit: str = "pictures"
    ) -> pd.DataFrame:
        """Count by two facets, of which at least one is ``dx`` or ``subset``; see :meth:`TableFacets.count`."""
        if across not in self.filterable:
            return self.count(across, down, filters=filters, unit=unit).T
        cells = self._cells(down)
        for column, wanted in (filters or {}).items():
            if wanted and column != down and column in self.filterable:
                cells = cells[cells[column].isin(list(wanted))]
        counted = cells.assign(by=cells[across]).groupby(["value", "by"])[unit].sum()
        return _as_grid(counted, self.values(down), self.values(across))

    def total(self, filters: Filters, unit: str = "pictures") -> int:
        used = self.summary.used
        for column in self.filterable:
            if filters.get(column):
                used = used[used[column].isin(list(filters[column]))]
        return int(used[unit].sum())

    def count_unknown(self, filters: Filters) -> pd.DataFrame:
        total = max(self.total(filters), 1)
        rows = []
        for column in COLUMNS:
            counted = self.count(column, filters=filters).sum(axis=1)
            rows.append((column, int(counted.get("unknown", 0))))
        table = pd.DataFrame(rows, columns=["column", "unknown"])
        return table.assign(share=table["unknown"] / total)

    def _cells(self, column: str) -> pd.DataFrame:
        """Return ``value``, ``dx``, ``subset``, ``pictures`` and ``lesions``, a row a cell."""
        if column in COLUMNS:
            return self.summary.by_column[column]
        return self.summary.used.assign(value=self.summary.used[column])


Facets = TableFacets | SummaryFacets
OTHER = "other"
_MOST_VALUES = 30


def build_facets(data: DataFolder, split: pd.DataFrame | None = None) -> TableFacets:
    """Return the rows of a data folder as facets.

    Parameters
    ----------
    data : DataFolder
    split : DataFrame, optional
        `image_id` and `subset`; without it no facet `subset`.
    """
    table = data.table.copy()
    there = table["path"].notna() if data.pixels is None else pd.Series(True, index=table.index)
    table["picture"] = there.map({True: "present", False: "absent"})
    sizes = table["lesion_id"].map(table["lesion_id"].value_counts())
    table["lesion_size"] = sizes.clip(upper=len(SIZES)).map(dict(enumerate(SIZES, start=1)))
    if split is not None:
        subsets = table["image_id"].map(split.set_index("image_id")["subset"])
        table["subset"] = subsets.where(subsets.notna(), NOT_SPLIT)
    wanted = ["dx", "sex", "age_band", "localization", "dx_type"]
    wanted += [column for column in ("dataset", "subset") if column in table]
    if data.lesions_known:
        wanted.append("lesion_size")
    if not there.all():
        wanted.append("picture")
    for column in wanted:
        table[column] = _keep_frequent(table[column].astype(str).replace({"": "unknown", "nan": "unknown"}), column)
    # A facet with one value says nothing that the total does not.
    kept = [column for column in wanted if column == "dx" or table[column].nunique() > 1]
    return TableFacets(data.labels, table, tuple(kept), data.lesions_known, data.is_ham10000)


def _keep_frequent(values: pd.Series, column: str) -> pd.Series:
    """Return the values of a facet, the rare ones of very many as one: a chart shows some thirty bars."""
    counts = values.value_counts()
    if column == "dx" or len(counts) <= _MOST_VALUES:
        return values
    frequent = {*counts.index[: _MOST_VALUES - 1], "unknown"}
    return values.where(values.isin(frequent), OTHER)


def _in_order(column: str, found: Sequence[str], labels: LabelSet) -> list[str]:
    names = [str(value) for value in found]
    if column == "dx":
        return [code for code in labels.codes if code in names] + [name for name in names if name not in labels.codes]
    if column in _ORDERS:
        return [value for value in _ORDERS[column] if value in names]
    return [name for name in names if name != "unknown"] + [name for name in names if name == "unknown"]


def _as_grid(counted: pd.Series, down: list[str], across: list[str]) -> pd.DataFrame:
    return counted.unstack(fill_value=0).reindex(index=down, columns=across, fill_value=0).astype(int)
