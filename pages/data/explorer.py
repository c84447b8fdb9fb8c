"""Explore the data: what the model has seen and whom it has not seen, and whether a split is honest."""

import streamlit as st

from skinai import wording
from skinai.errors import SkinaiError
from skinai.model.router import DERMOSCOPY
from skinai.ui import components, resources
from skinai.ui.exploring import auditing, crossing, gallery, overview, splits
from skinai.ui.exploring.explored import Explored

SECTIONS = {
    "overview": overview.show,
    "columns": crossing.show,
    "gallery": gallery.show,
    "audit": auditing.show,
    "split": splits.show,
}


def main() -> None:
    st.title("Explore the data")
    try:
        bundle = components.choose_model()
        data = resources.load_data()
        # What is at hand is shown with the model in use; the other model's own counts stand for its data.
        of_model = bundle.folder == resources.list_models()[DERMOSCOPY]
        if data is not None and not of_model and data.labels.codes != bundle.labels.codes:
            data = None
        by_model = choose_counts(data is not None)
        facets = resources.load_summary_facets(bundle) if by_model else resources.load_table_facets(bundle)
    except SkinaiError as error:
        components.stop_with(wording.DATASET_UNUSABLE, error)
    explored = Explored(bundle, facets, None if by_model else data)
    show_source(explored)
    section = st.segmented_control(
        wording.SECTION_LABEL,
        list(SECTIONS),
        default="overview",
        format_func=wording.EXPLORER_SECTIONS.__getitem__,
        required=True,
        key="part",
        bind="query-params",
    )
    SECTIONS[section](explored)


def choose_counts(has_folder: bool) -> bool:
    """Return whether the counts that travel with the model are to be shown, and not the data folder."""
    if not has_folder:
        return True
    chosen = st.segmented_control(
        wording.DATA_LABEL,
        list(wording.SOURCES),
        default="folder",
        format_func=wording.SOURCES.__getitem__,
        required=True,
        key="data",
        bind="query-params",
    )
    return chosen == "model"


def show_source(explored: Explored) -> None:
    """Say what is being looked at."""
    if explored.data is None:
        summary = resources.load_summary(explored.bundle.folder)
        used = summary.used[["pictures", "lesions"]].sum()
        st.markdown(
            wording.EXPLORER_MODEL.format(
                name=components.plain(summary.name),
                listed=summary.pictures,
                lesions=summary.lesions,
                used=used["pictures"],
                used_lesions=used["lesions"],
            )
        )
        with st.expander(wording.REMARKS_TITLE):
            st.markdown(
                "\n".join(f"- {components.plain(sentence)}" for sentence in summary.remarks) or wording.AUDIT_NOTHING
            )
        return
    data = explored.data
    there = len(data.present)
    lesions = data.table["lesion_id"].nunique()
    text = wording.EXPLORER_FOLDER if data.lesions_known else wording.EXPLORER_FOLDER_ONLY
    name = components.plain(data.labels.name)
    st.markdown(text.format(name=name, listed=len(data.table), lesions=lesions, present=there))


main()
