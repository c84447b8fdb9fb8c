"""Analyse: a picture in, seven class probabilities out."""

import numpy as np
import pandas as pd
import streamlit as st

from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, encode_preview
from skinai.errors import ModelError, PictureError
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
        show_limits()
        return
    prediction = predictor.predict(picture)
    show_result(picture, prediction)
    show_limits()


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
            max_upload_size=20,
            key="upload",
        )
    if file is None:
        st.markdown(wording.EMPTY_STATE)
        return None
    try:
        return decode_picture(file.getvalue())
    except PictureError as error:
        st.error(f"This file cannot be analysed. {error}")
        return None


def show_result(picture: np.ndarray, prediction: Prediction) -> None:
    """Show the picture, the probabilities as a chart and as a table, and the summed malignant probability."""
    top = prediction.top
    st.info(
        f"**Most probable of the seven: {top.name} ({prediction.by_code[top.code]:.1%}).** "
        f"{wording.MALIGNANT_LABEL}: **{prediction.malignant_probability:.1%}**. {wording.RESULT_NOTE}"
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.image(encode_preview(picture), width="stretch", alt="The uploaded picture, upright")
        st.caption(f"{picture.shape[1]} x {picture.shape[0]} pixels as decoded")
    with right:
        st.subheader("Probability of each diagnosis")
        figure = charts.draw_probabilities(prediction, charts.palette())
        components.show_figure(figure, alt=charts.describe_probabilities(prediction), key="probabilities")
    table, malignant = st.columns([3, 2], gap="medium")
    with table:
        show_table(prediction)
    with malignant:
        st.metric(
            wording.MALIGNANT_LABEL,
            f"{prediction.malignant_probability:.1%}",
            help=wording.MALIGNANT_HELP,
            border=True,
        )
        st.caption(wording.MALIGNANT_HELP)


def show_table(prediction: Prediction) -> None:
    """Show the probabilities as a table, in the fixed order."""
    rows = pd.DataFrame(
        {
            "Diagnosis": [
                f"**{label.name}** (most probable)" if label == prediction.top else label.name
                for label in prediction.labels
            ],
            "Probability": [f"{value:.1%}" for value in prediction.probabilities],
            "Group": [wording.GROUPS[label.malignant] for label in prediction.labels],
        }
    )
    components.show_table(rows, alt="The seven probabilities as a table")


def show_limits() -> None:
    """Say what the model is not for."""
    st.subheader(wording.NOT_FOR_TITLE)
    st.markdown("\n".join(f"- {sentence}" for sentence in wording.NOT_FOR))


main()
