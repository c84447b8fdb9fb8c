"""Analyse: a picture in, seven class probabilities out."""

import numpy as np
import pandas as pd
import streamlit as st

from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, encode_preview
from skinai.errors import DataError, ModelError, PictureError
from skinai.labels import HAM10000, LabelSet
from skinai.model.bundle import Bundle
from skinai.serving.predictor import Prediction
from skinai.ui import charts, components, resources, wording

SOURCES = ("A file", "The camera", "A drawn example")


def main() -> None:
    st.title("Analyse")
    try:
        predictor = resources.load_predictor()
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    picture = ask_for_picture()
    if picture is None:
        show_empty_state(predictor.bundle)
        show_limits(predictor.bundle.labels)
        return
    try:
        prediction = predictor.predict(picture)
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    show_result(picture, prediction, predictor.bundle)
    show_limits(predictor.bundle.labels)


def ask_for_picture() -> np.ndarray | None:
    """Return the visitor's picture, upright, or None while there is none that can be read."""
    source = st.segmented_control(
        "Where the picture comes from", SOURCES, default=SOURCES[0], required=True, key="source"
    )
    if source == SOURCES[2]:
        st.caption(wording.DRAWN_REMARK)
        return draw_lesion(st.number_input("Number of the drawing", 0, 999, 3, key="drawing"))
    if source == SOURCES[1]:
        st.caption(wording.CAMERA_REMARK)
        file = st.camera_input(wording.CAMERA_LABEL, key="camera")
    else:
        file = st.file_uploader(
            wording.UPLOAD_LABEL,
            type=["jpg", "jpeg", "png"],
            help=wording.UPLOAD_HELP,
            max_upload_size=wording.MAX_UPLOAD_MB,
            key="upload",
        )
    if file is None:
        return None
    try:
        return decode_picture(file.getvalue())
    except PictureError as error:
        st.error(f"This file cannot be analysed. {error}")
        return None


def show_empty_state(bundle: Bundle) -> None:
    """Show what to do, and the empty chart, so that the browser has loaded what draws the answer."""
    left, right = st.columns([2, 3], gap="medium")
    left.markdown(wording.EMPTY_STATE)
    with right:
        figure = charts.draw_no_probabilities(bundle.labels, charts.palette())
        components.show_figure(figure, alt="The chart is empty: no picture has been read yet.", key="no_probabilities")


def show_result(picture: np.ndarray, prediction: Prediction, bundle: Bundle) -> None:
    """Show the picture, the probabilities as a chart and as a table, and the summed malignant probability."""
    top, malignant_sum = prediction.top, ""
    if prediction.labels.malignant_codes:
        malignant_sum = f" {wording.MALIGNANT_LABEL}: {prediction.malignant_probability:.1%}."
    st.info(
        f"**{wording.TOP_LABEL}: {top.name} ({prediction.by_code[top.code]:.1%}), "
        f"{wording.describe_group(top, prediction.labels)}.{malignant_sum}** "
        f"{say_what_benign_means(prediction, bundle)}{wording.RESULT_NOTE}"
    )
    seen, chart, table = st.columns([3, 5, 4], gap="medium")
    with seen:
        show_picture(picture, bundle)
    with chart:
        st.header(wording.CHART_TITLE)
        figure = charts.draw_probabilities(prediction, charts.palette())
        components.show_figure(figure, alt=charts.describe_probabilities(prediction), key="probabilities")
        if prediction.labels is HAM10000:
            st.caption(wording.SHARES_REMARK)
    with table:
        show_table(prediction)
        if malignant_sum:
            st.metric(wording.MALIGNANT_LABEL, f"{prediction.malignant_probability:.1%}", border=True)
    if prediction.labels is HAM10000:
        st.markdown(wording.MALIGNANT_HELP)


def show_picture(picture: np.ndarray, bundle: Bundle) -> None:
    """Show the picture as it was decoded, re-encoded small, and say what of it the model sees."""
    st.image(encode_preview(picture), width="stretch", alt="The analysed picture, upright")
    height, width = picture.shape[:2]
    frame = bundle.frame
    st.caption(
        wording.FRAME_REMARK.format(
            width=width, height=height, frame_width=frame.width_px, frame_height=frame.height_px
        )
    )


def say_what_benign_means(prediction: Prediction, bundle: Bundle) -> str:
    """Return the warning that belongs to a benign diagnosis on top, with the model's own record; else nothing."""
    if prediction.top.malignant or not bundle.labels.malignant_codes:
        return ""
    if bundle.labels is not HAM10000:
        return f"{wording.BENIGN_NOTE} "
    try:
        missed, n = resources.load_report(bundle).count_benign_first("mel")
    except DataError:
        return f"{wording.BENIGN_NOTE} "
    return f"{wording.BENIGN_NOTE} {wording.MISSED_NOTE.format(missed=missed, n=n)} "


def show_table(prediction: Prediction) -> None:
    """Show the probabilities as a table, in the fixed order."""
    rows = pd.DataFrame(
        {
            "Diagnosis": [
                f"**{label.name}** (most probable)" if label == prediction.top else label.name
                for label in prediction.labels
            ],
            "Probability": [f"{value:.1%}" for value in prediction.probabilities],
            "Group": [wording.describe_group(label, prediction.labels) for label in prediction.labels],
        }
    )
    components.show_table(rows, alt="The seven probabilities as a table")


def show_limits(labels: LabelSet) -> None:
    """Say what the model is not for."""
    st.header(wording.NOT_FOR_TITLE)
    if labels is not HAM10000:
        st.markdown(wording.OWN_MODEL_REMARK)
        return
    st.markdown("\n".join(f"- {sentence}" for sentence in wording.NOT_FOR))


main()
