"""Analyse: a picture in, seven class probabilities out."""

import hashlib
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import streamlit as st

from skinai.data.drawing import draw_lesion
from skinai.data.images import decode_picture, encode_preview, frame_picture
from skinai.errors import DataError, ModelError, PictureError
from skinai.evaluation.decision_support import find_cases_like, predict_values
from skinai.evaluation.report import Estimate, EvaluationReport
from skinai.labels import HAM10000, LabelSet
from skinai.model.bundle import Bundle
from skinai.serving.assessment import Assessment, Assessor
from skinai.serving.predictor import Prediction
from skinai.ui import charts, components, resources, wording

SOURCES = ("A file", "The camera", "A drawn example")


def main() -> None:
    st.title("Analyse")
    try:
        assessor = resources.load_assessor()
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    bundle = assessor.predictor.bundle
    picture = ask_for_picture()
    if picture is None:
        show_empty_state(bundle)
    else:
        try:
            assessment = assessor.assess(picture)
        except ModelError as error:
            components.stop_with(wording.MODEL_UNUSABLE, error)
        if not assessment.refused or ask_to_insist(picture, assessment, bundle):
            show_result(picture, assessment, assessor)
    show_limits(bundle.labels)


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


def ask_to_insist(picture: np.ndarray, assessment: Assessment, bundle: Bundle) -> bool:
    """Say why the picture is refused; return whether the visitor wants the answer all the same."""
    reasons = " ".join(sentence for _, sentence in assessment.reasons)
    said = st.empty()
    # Insisting on one picture does not insist on the next.
    insisted = st.toggle(wording.INSIST_LABEL, key=f"insist-{identify(picture)}")
    if insisted:
        said.warning(wording.INSISTED.format(reasons=reasons))
    else:
        said.warning(f"**{wording.REFUSED_TITLE} {reasons}** {wording.REFUSED_NOTE}")
        with st.columns([1, 2])[0]:
            show_picture(picture, bundle)
    return insisted


def identify(picture: np.ndarray) -> str:
    """Return a name of the picture's pixels, for widgets that start anew with every picture."""
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]


def show_result(picture: np.ndarray, assessment: Assessment, assessor: Assessor) -> None:
    """Show the answer: in one line, as a chart and a table, and what to make of it."""
    prediction, bundle = assessment.prediction, assessor.predictor.bundle
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
    if assessor.gates is None:
        st.caption(wording.NO_GATE)
    try:
        report = resources.load_report(bundle)
    except DataError:
        report = None
    left, right = st.columns(2, gap="medium")
    with left:
        if assessor.decision is not None:
            show_plausible(assessment, assessor.decision.coverage, report)
        if assessment.calls and report is not None and "coverage" in report.decision:
            show_call(assessment, report, bundle)
    with right:
        show_why(picture, assessment, assessor)
        show_similar(picture, assessment, assessor)


def show_plausible(assessment: Assessment, coverage: float, report: EvaluationReport | None) -> None:
    """Show the prediction set and the most severe diagnosis in it."""
    st.header(wording.PLAUSIBLE_TITLE)
    names = ", ".join(label.name for label in assessment.plausible)
    st.markdown(f"{wording.PLAUSIBLE_LABEL}: **{names}**.")
    labels = assessment.prediction.labels
    if labels.severity:
        severest = assessment.severest
        name = severest.name if severest else wording.NONE_SEVERE
        share = f" ({assessment.prediction.by_code[severest.code]:.1%})" if severest else ""
        st.markdown(f"{wording.SEVEREST_LABEL}: **{name}**{share}.")
    st.caption(wording.PLAUSIBLE_REMARK.format(coverage=coverage))
    if report is None or "coverage" not in report.decision:
        return
    held = [(label.name, report.decision[f"coverage:{label.code}"]) for label in labels if label.malignant]
    reached = "; ".join(f"{name} {describe(estimate)}" for name, estimate in held)
    overall = describe(report.decision["coverage"])
    st.caption(wording.PLAUSIBLE_REACHED.format(overall=overall, of_malignant=f" ({reached})" if reached else ""))
    slipped = report.decision.get("malignant_without_malignant_set")
    if labels is HAM10000 and assessment.severest is None and slipped is not None and slipped.n:
        st.caption(wording.NONE_SEVERE_REMARK.format(share=describe(slipped), n=slipped.n))


@st.fragment
def show_call(assessment: Assessment, report: EvaluationReport, bundle: Bundle) -> None:
    """Show the summed malignant probability against a threshold, and what the threshold does in the user's clinic."""
    st.header(wording.CALL_TITLE)
    calls = {call.name: call for call in assessment.calls}
    name = st.segmented_control(
        wording.POINT_LABEL,
        list(calls),
        default=next(iter(calls)),
        format_func=lambda name: wording.POINT_NAMES.get(name, name),
        required=True,
        key="operating_point",
    )
    call, summed = calls[name], assessment.prediction.malignant_probability
    said = wording.CALL_ABOVE if call.above else wording.CALL_BELOW
    st.markdown(f"**{said.format(sum=summed, threshold=call.threshold)}**")
    sensitivity, specificity = (report.decision[f"{name}:{figure}"] for figure in ("sensitivity", "specificity"))
    kind, _, wanted = name.partition("_")
    remark = wording.CALL_REMARK if kind == "sensitivity" else wording.CALL_REMARK_SPECIFICITY
    st.caption(
        remark.format(
            wanted=float(wanted),
            malignant=wording.name_malignant(report.labels),
            sensitivity=describe(sensitivity),
            specificity=describe(specificity),
        )
    )
    show_cases_like(summed, report, bundle)
    if math.isnan(sensitivity.value) or math.isnan(specificity.value):
        return
    of_1000 = st.slider(wording.PREVALENCE_LABEL, 1, 500, 50, key="prevalence")
    values = predict_values(sensitivity.value, specificity.value, of_1000 / 1000)
    st.markdown(wording.describe_predictive_values(values))
    st.caption(wording.PREVALENCE_NOTE + (wording.KERATOSIS_NOTE if report.labels is HAM10000 else ""))


def show_cases_like(malignant_probability: float, report: EvaluationReport, bundle: Bundle) -> None:
    """Show how many of the holdout lesions with a score like this were malignant."""
    try:
        table = resources.load_holdout(bundle, report)
    except DataError:
        return  # the report is shown without the predictions that it was made from
    like = find_cases_like(table, malignant_probability, report.labels)
    share = table.loc[table["truth"].isin(report.labels.malignant_codes), "lesion"].nunique() / report.lesions
    st.markdown(
        wording.CASES_REMARK.format(**asdict(like), share=share, malignant_name=wording.name_malignant(report.labels))
    )


@st.fragment
def show_why(picture: np.ndarray, assessment: Assessment, assessor: Assessor) -> None:
    """Show the class activation map of the chosen class over the frame; its controls do not predict again."""
    st.header(wording.WHY_TITLE)
    labels = assessment.prediction.labels
    if assessor.kernel is None:
        st.caption(wording.WHY_NONE)
        return
    # Each picture starts at its own most probable class.
    chosen = st.selectbox(
        wording.WHY_CLASS,
        labels.codes,
        index=labels.index(assessment.prediction.top.code),
        format_func=lambda code: labels.by_code(code).name,
        key=f"why-{identify(picture)}",
    )
    opacity = st.slider(wording.WHY_OPACITY, 0, 100, 60, format="%d %%", key="opacity") / 100
    drawn = assessor.draw_map(assessment, chosen)
    frame = frame_picture(picture, assessor.predictor.bundle.frame)
    shown = None if drawn is None else charts.overlay_map(frame, drawn, opacity=opacity)
    if shown is None:
        st.caption(wording.WHY_NOTHING)
        return
    if picture.shape[0] > picture.shape[1]:
        shown = np.ascontiguousarray(np.rot90(shown, -1))  # a portrait picture was turned to be framed
    alt = f"Class activation map for {labels.by_code(chosen).name}, laid over the picture"
    st.image(encode_preview(shown), width="stretch", alt=alt)
    st.caption(wording.WHY_REMARK + (wording.WHY_VIEWS if len(assessor.predictor.bundle.views) > 1 else ""))


def show_similar(picture: np.ndarray, assessment: Assessment, assessor: Assessor) -> None:
    """Show the nearest training pictures by id and diagnosis."""
    cases = assessor.find_similar(assessment)
    if not cases:
        return
    st.header(wording.SIMILAR_TITLE)
    known = assessor.find_same(picture)
    if known is not None:
        st.warning(wording.SIMILAR_KNOWN.format(image=known))
    is_isic = assessment.prediction.labels is HAM10000
    rows = pd.DataFrame(
        {
            "Diagnosis": [case.label.name for case in cases],
            "Picture": [
                f"[{case.image_id}]({wording.ISIC_ADDRESS.format(image=case.image_id)})" if is_isic else case.image_id
                for case in cases
            ],
            "Similarity": [f"{case.similarity:.2f}" for case in cases],
        }
    )
    components.show_table(rows, alt="The nearest training pictures")
    st.caption(wording.SIMILAR_REMARK)


def describe(estimate: Estimate) -> str:
    """Return a share with its interval, for a sentence."""
    if math.isnan(estimate.value):
        return "an unknown share"
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:.0%} to {estimate.high:.0%})"
    return f"{estimate.value:.0%}{interval}"


def show_picture(picture: np.ndarray, bundle: Bundle) -> None:
    """Show the picture as it was decoded, re-encoded small, and say what of it the model sees."""
    st.image(encode_preview(picture), width="stretch", alt="The given picture, upright")
    height_px, width_px = picture.shape[:2]
    frame = bundle.frame
    st.caption(
        wording.FRAME_REMARK.format(
            width=width_px, height=height_px, frame_width=frame.width_px, frame_height=frame.height_px
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
