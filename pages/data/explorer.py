"""Explore the data: what the model has seen and whom it has not seen."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.data.metadata import AGE_BANDS
from skinai.data.split import SUBSETS
from skinai.data.summary import DatasetSummary
from skinai.errors import SkinaiError
from skinai.labels import HAM10000, LabelSet
from skinai.ui import charts, components, resources

COLUMNS = {
    "sex": ("Sex", None),
    "age_band": ("Age band (years)", AGE_BANDS),
    "localization": ("Site on the body", None),
    "dx_type": ("How the diagnosis was established", None),
    "subset": ("Subset of the split", SUBSETS),
}


def main() -> None:
    st.title("Explore the data")
    try:
        bundle = resources.load_bundle_in_use()
        summary = resources.load_summary(bundle.folder)
    except SkinaiError as error:
        components.stop_with(wording.DATASET_UNUSABLE, error)
    show_size(summary, bundle.labels)
    unit = st.segmented_control(
        "Count", ["pictures", "lesions"], default="pictures", required=True, key="unit", bind="query-params"
    )
    show_balance(summary, bundle.labels, unit)
    for column, (title, order) in COLUMNS.items():
        show_breakdown(summary, bundle.labels, column, title, order, unit)
    show_remarks(summary)


def show_size(summary: DatasetSummary, labels: LabelSet) -> None:
    """Say how many pictures and lesions there are, and how unequal the classes."""
    by_dx = summary.used.groupby("dx")[["pictures", "lesions"]].sum()
    used, lesions = int(by_dx["pictures"].sum()), int(by_dx["lesions"].sum())
    names = dict(zip(labels.codes, labels.names, strict=True))
    most, least = names[by_dx["pictures"].idxmax()].lower(), names[by_dx["pictures"].idxmin()].lower()
    ratio = by_dx["pictures"].max() / by_dx["pictures"].min()
    kind = "dermoscopy pictures" if labels is HAM10000 else "pictures"
    st.markdown(
        f"{summary.name} lists {summary.pictures:,} {kind} of {summary.lesions:,} lesions. "
        f"The copy used for this model holds **{used:,} pictures of {lesions:,} lesions**, divided into train, valid "
        f"and test below. "
        f"There are {ratio:.0f} times as many pictures of {most} as of {least}."
    )
    if labels is HAM10000:
        st.markdown(wording.SKIN_TONE_REMARK)


def show_balance(summary: DatasetSummary, labels: LabelSet, unit: str) -> None:
    """Show the class balance."""
    counts = summary.used.groupby("dx")[unit].sum().reindex(list(labels.codes), fill_value=0)
    st.header("Class balance")
    chart, table = st.columns(2, gap="medium")
    with chart:
        parts = [f"{label.name} {counts[label.code]:,}" for label in labels]
        alt = f"Bar chart of {unit} by diagnosis: {', '.join(parts)}."
        components.show_figure(charts.draw_counts(counts, labels, charts.palette(), unit=unit), alt=alt, key="balance")
    with table:
        rows = pd.DataFrame(
            {
                "Diagnosis": [f"{label.name} ({label.code})" for label in labels],
                unit.capitalize(): counts.to_numpy(),
                "Share": [f"{share:.1%}" for share in counts / counts.sum()],
                "Group": [wording.describe_group(label, labels) for label in labels],
            }
        )
        components.show_table(rows, alt=f"{unit} by diagnosis")


def show_breakdown(
    summary: DatasetSummary, labels: LabelSet, column: str, title: str, order: tuple[str, ...] | None, unit: str
) -> None:
    """Show the diagnoses within each value of one column, as a chart and as a table."""
    counts = count_by(summary, labels, column, order, unit)
    st.header(title)
    chart, table = st.columns(2, gap="medium")
    with chart:
        share = st.toggle("Show shares", key=f"share_{column}", bind="query-params")
        figure = charts.draw_breakdown(counts, labels, charts.palette(), unit=unit, share=share)
        totals = ", ".join(f"{value} {total:,}" for value, total in counts.sum(axis=1).items())
        alt = f"Stacked bar chart of {unit} by {title.lower()} and diagnosis. Totals: {totals}."
        components.show_figure(figure, alt=alt, key=f"chart_{column}")
    with table:
        rows = counts.rename_axis("value").reset_index()
        rows.insert(1, "all", counts.sum(axis=1).to_numpy())
        components.show_table(rows, alt=f"{unit} by {title.lower()} and diagnosis")
        if column == "dx_type" and labels is HAM10000:
            naevi = summary.by_column[column].query("dx == 'nv'").groupby("value")["pictures"].sum()
            st.caption(wording.METHOD_REMARK.format(share=naevi.get("histo", 0) / naevi.sum()))
        if unit == "lesions":
            st.caption(wording.LESIONS_REMARK)


def count_by(
    summary: DatasetSummary, labels: LabelSet, column: str, order: tuple[str, ...] | None, unit: str
) -> pd.DataFrame:
    """Return counts with one row a value and one column a diagnosis; without an order the greatest comes first."""
    by_column = {"subset": summary.used.rename(columns={"subset": "value"}), **summary.by_column}
    rows = by_column[column]
    counts = rows.pivot_table(index="value", columns="dx", values=unit, aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=list(labels.codes), fill_value=0).astype(int)
    if order is None:
        counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index]
    else:
        counts = counts.reindex([value for value in order if value in counts.index])
    return counts.rename(index=wording.METHODS) if column == "dx_type" else counts


def show_remarks(summary: DatasetSummary) -> None:
    """Say what was missing or odd in the copy of the data that was used."""
    st.header("Gaps in the data, counted over all listed pictures")
    if not summary.remarks:
        st.markdown("Nothing.")
    st.markdown("\n".join(f"- {sentence}" for sentence in summary.remarks))


main()
