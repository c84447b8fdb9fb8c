"""Mistakes: the confusion matrix, the pictures of each of its cells, and the most confident mistakes."""

import math

import numpy as np
import pandas as pd
import streamlit as st

from skinai import wording
from skinai.access import Role
from skinai.data.cases import NEAREST, read_cases
from skinai.data.images import decode_picture, encode_preview
from skinai.data.predictions import probability_matrix
from skinai.errors import DataError, ModelError, PictureError
from skinai.evaluation.mistakes import list_cell, rank_mistakes
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.units import name_unit
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle
from skinai.ui import charts, components, resources, signin

_GALLERY = 12
# With more classes than these, chart and table of the matrix stand below each other.
_BESIDE = 8
_THUMBNAIL_PX = 240


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the matrix, the pictures of one cell, and the gallery."""
    show_confusion(report)
    try:
        table = resources.load_holdout(bundle, report)
    except DataError as error:
        st.warning(str(error))
        return
    show_cell(table, bundle, report)
    show_gallery(table, bundle, report)


def show_confusion(report: EvaluationReport) -> None:
    """Show the confusion matrix in counts or shares, as a chart to click on and as a table."""
    st.header("Confusion matrix")
    st.caption(wording.CONFUSION_REMARK if report.labels.malignant_codes else wording.OTHER_CONFUSION_REMARK)
    unit = st.segmented_control(
        "Show",
        ["counts", "rows", "columns"],
        default="counts",
        format_func=wording.CONFUSION_UNITS.__getitem__,
        required=True,
        key="confusion",
        bind="query-params",
    )
    codes = list(report.labels.codes)
    beside = len(codes) <= _BESIDE
    chart, table = st.columns(2, gap="medium") if beside else (st.container(), st.container())
    with chart:
        where = "beside" if beside else "below"
        alt = f"Confusion matrix, {wording.CONFUSION_UNITS[unit]}; the table {where} it holds the same numbers."
        figure = report.figure("confusion", colours=charts.palette(), option=unit)
        components.show_figure(figure, alt=alt, key="confusion_chart", on_select=_take_click)
    with table:
        cells = report.frame("confusion")
        column = {"counts": "pictures", "rows": "share_of_row", "columns": "share_of_column"}[unit]
        rows = cells.pivot(index="truth", columns="answer", values=column).loc[codes, codes]
        if unit != "counts":
            rows = rows.map(lambda value: "not applicable" if math.isnan(value) else f"{value:.1%}")
        rows = rows.reset_index().rename_axis(None, axis="columns")
        rows.insert(1, "n", report.confusion.sum(axis=1))
        components.show_table(rows, alt=f"Confusion matrix, {wording.CONFUSION_UNITS[unit]}")
        named = [f"{label.code}: {label.name}" for label in report.labels if label.code != label.name]
        if named:
            st.caption(", ".join(named) + ".")


def _take_click() -> None:
    """Turn a click on a cell into the choice below the matrix."""
    points = st.session_state["confusion_chart"].selection.points
    if points:
        st.session_state["cell_truth"], st.session_state["cell_answer"] = points[0]["y"], points[0]["x"]


def show_cell(table: pd.DataFrame, bundle: Bundle, report: EvaluationReport) -> None:
    """Show the pictures of one cell, and one of them in full."""
    st.header(wording.CELL_TITLE)
    codes = list(report.labels.codes)
    first, second = _pick_cell(report)
    left, right = st.columns(2)
    names = {label.code: label.name for label in report.labels}
    truth = left.selectbox("Truth", codes, index=codes.index(first), format_func=names.__getitem__, key="cell_truth")
    answer = right.selectbox(
        "Answer", codes, index=codes.index(second), format_func=names.__getitem__, key="cell_answer"
    )
    cell = list_cell(table, truth, answer, report.labels)
    if cell.empty:
        st.markdown(wording.CELL_EMPTY)
        return
    lesions = cell["lesion"].nunique()
    st.markdown(wording.speak_of(report.labels, wording.CELL_COUNT).format(pictures=len(cell), lesions=lesions))
    _show_list(cell, report)
    _show_one(cell, bundle, report, key="cell_picture")


def _pick_cell(report: EvaluationReport) -> tuple[str, str]:
    """Return truth and answer of the cell that is shown first: missed melanomas, or else the most frequent mistake."""
    codes = report.labels.codes
    if {"mel", "nv"} <= set(codes):
        return "mel", "nv"
    mistakes = report.confusion * (1 - np.eye(len(codes), dtype=int))
    truth, answer = np.unravel_index(mistakes.argmax(), mistakes.shape)
    return codes[truth], codes[answer]


def show_gallery(table: pd.DataFrame, bundle: Bundle, report: EvaluationReport) -> None:
    """Show the most confident mistakes, missed melanomas first."""
    st.header(wording.GALLERY_TITLE)
    wrong = rank_mistakes(table, report.labels)
    if report.labels.malignant_codes:
        chosen = _pick_kind(wrong)
    else:
        chosen = wrong
        st.markdown(wording.OTHER_GALLERY_REMARK.format(count=len(wrong), pictures=len(table)))
    if chosen.empty:
        return
    chosen = chosen.head(_GALLERY).reset_index(drop=True)
    _show_thumbnails(chosen, report)
    _show_list(chosen, report)
    _show_one(chosen, bundle, report, key="gallery_picture")


def _pick_kind(wrong: pd.DataFrame) -> pd.DataFrame:
    """Say how many mistakes of each kind there are, and return those of the kind that the visitor chooses."""
    kinds = wrong["kind"].value_counts()
    counted = ", ".join(f"{kinds[kind]:,} {wording.MISTAKE_KINDS[kind]}" for kind in wrong["kind"].unique())
    st.markdown(wording.GALLERY_REMARK.format(counted=counted or "none"))
    if wrong.empty:
        return wrong
    kind = st.segmented_control(
        "Kind",
        list(wrong["kind"].unique()),
        default=wrong["kind"].iloc[0],
        format_func=wording.MISTAKE_KINDS.__getitem__,
        required=True,
        key="mistake_kind",
    )
    return wrong[wrong["kind"] == kind]


def _show_thumbnails(rows: pd.DataFrame, report: EvaluationReport) -> None:
    if report.labels is not HAM10000 or not signin.has_role(Role.REVIEWER):
        return
    found = [(row, resources.find_picture(row.image)) for row in rows.itertuples()]
    there = [(row, path) for row, path in found if path is not None]
    for start in range(0, len(there), 4):
        for column, (row, path) in zip(st.columns(4), there[start : start + 4], strict=False):
            try:
                preview = encode_preview(decode_picture(path.read_bytes()), max_side_px=_THUMBNAIL_PX)
            except (OSError, PictureError):
                continue
            text = f"{row.image}: {row.truth}, called {row.answer} ({row.certainty:.0%})"
            column.image(preview, width="stretch", alt=text, caption=text)


def _show_list(rows: pd.DataFrame, report: EvaluationReport) -> None:
    """Show pictures with all their probabilities and what is known of them; nothing of it can be edited."""
    shown = rows[["image", "lesion", "truth", "answer"]].rename(columns={"lesion": name_unit(report.labels)})
    for label in report.labels:
        shown[label.code] = rows[label.isic_code].map("{:.1%}".format)
    for column, title in _list_known(rows).items():
        shown[title] = rows[column]
    if "gate" in rows.columns and rows["gate"].astype(bool).any():
        shown["Refused by the gate"] = rows["gate"].map(lambda reason: reason or "")
    st.dataframe(shown, hide_index=True, width="stretch", alt=f"{len(shown)} pictures with their probabilities")


def _list_known(rows: pd.DataFrame) -> dict[str, str]:
    """Return the columns that say something of these pictures' patients, and what they are called."""
    return {
        column: title
        for column, title in wording.PART_COLUMNS.items()
        if column in rows.columns and not rows[column].isin(["", "unknown"]).all()
    }


def _show_one(rows: pd.DataFrame, bundle: Bundle, report: EvaluationReport, *, key: str) -> None:
    image = st.selectbox(wording.ONE_LABEL, rows["image"].tolist(), index=None, key=key, placeholder=wording.ONE_EMPTY)
    if image is None:
        return
    row = rows[rows["image"] == image]
    known, nearest = st.columns(2, gap="medium")
    with known:
        values = probability_matrix(row, report.labels)[0]
        facts = {label.name: f"{value:.1%}" for label, value in zip(report.labels, values, strict=True)}
        facts |= {title: str(row[column].iloc[0]) for column, title in _list_known(row).items()}
        unit = name_unit(report.labels).capitalize()
        facts |= {unit: row["lesion"].iloc[0], "Truth": report.labels.by_code(row["truth"].iloc[0]).name}
        table = pd.DataFrame({"Fact": list(facts), "Value": list(facts.values())})
        components.show_table(table, alt=f"What is known of {image}")
    with nearest:
        _show_nearest(image, bundle, report)
        _show_map(image, bundle, report)


def _show_nearest(image: str, bundle: Bundle, report: EvaluationReport) -> None:
    try:
        cases = read_cases(bundle.folder)
    except DataError as error:
        st.warning(str(error))
        return
    if cases is None or image not in cases.index:
        st.caption(wording.NO_CASES.format(folder=components.name_folder(bundle)))
        return
    case = cases.loc[image]
    rows = [
        {
            "Nearest training case": case[f"nearest_{rank}_image"],
            "Diagnosis": report.labels.by_code(case[f"nearest_{rank}_truth"]).name,
            "Similarity": f"{case[f'nearest_{rank}_similarity']:.2f}",
        }
        for rank in range(1, NEAREST + 1)
        if isinstance(case[f"nearest_{rank}_image"], str)
    ]
    components.show_table(pd.DataFrame(rows), alt=f"The training cases nearest to {image}")


def _show_map(image: str, bundle: Bundle, report: EvaluationReport) -> None:
    """Show the picture and its class activation map where the pictures are present."""
    if report.labels is not HAM10000:
        st.caption(wording.NO_OTHER_PICTURE)
        return
    if not signin.has_role(Role.REVIEWER):
        st.caption(wording.ROLE_NO_PICTURES)
        return
    path = resources.find_picture(image)
    if path is None:
        st.caption(wording.NO_PICTURE)
        return
    try:
        picture = decode_picture(path.read_bytes())
        assessor = resources.load_assessor(bundle.folder)
    except (OSError, PictureError, ModelError) as error:
        st.warning(str(error))
        return
    assessment = assessor.assess(picture)
    top = assessment.prediction.top
    overlay = assessor.draw_overlay(picture, assessment, top.code)
    shown = [(picture, f"{image}, as it is")]
    if overlay is not None:
        shown.append((overlay, wording.MAP_CAPTION.format(name=top.name)))
    for column, (pixels, text) in zip(st.columns(len(shown)), shown, strict=True):
        column.image(encode_preview(pixels, max_side_px=480), width="stretch", alt=text, caption=text)
    if overlay is None:
        st.caption(wording.WHY_NONE if assessor.kernel is None else wording.WHY_NOTHING)
