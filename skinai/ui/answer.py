"""The parts of an answer on the page: probabilities, what else is plausible, threshold, map, similar cases, steadiness,
and the documents for the record."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import streamlit as st

from skinai import wording
from skinai.data.images import decode_picture, encode_preview
from skinai.errors import DataError, PictureError
from skinai.evaluation.decision_support import find_cases_like, predict_values
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.exports.fhir import write_fhir
from skinai.exports.pdf import write_pdf
from skinai.exports.record import Record, write_csv, write_json
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle
from skinai.serving.assessment import Agreement, Assessment, Assessor
from skinai.serving.predictor import Prediction
from skinai.ui import components, resources, signin
from skinai.ui.intake import GivenPicture

_THUMBNAIL_PX = 320


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
    components.show_table(rows, alt="The probabilities as a table")


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


def show_certainty(assessment: Assessment, report: EvaluationReport | None) -> None:
    """Show how sure the answer is, in fixed words, and how often that was right on the holdout pictures."""
    said = wording.describe_certainty(assessment)
    if not said or assessment.certainty is None:
        return
    top = assessment.prediction.top
    figures = {"clear_lead": f"clear_lead:right:{top.code}", "undecided": "undecided:either"}
    remark = wording.CERTAINTY_REMARKS[assessment.certainty]
    if assessment.certainty in figures:
        estimate = report.decision.get(figures[assessment.certainty]) if report is not None else None
        remark = remark.format(share=describe(estimate), n=estimate.n, name=top.name) if estimate is not None else ""
    st.markdown(f"**{said}.** {remark}")


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


@signin.fragment
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
    st.markdown(f"**{said.format(sum=wording.say_share(summed), threshold=call.threshold)}**")
    sensitivity, specificity = (report.decision.get(f"{name}:{figure}") for figure in ("sensitivity", "specificity"))
    if sensitivity is None or specificity is None:
        return  # the report was made under other rules
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


@signin.fragment
def show_why(picture: np.ndarray, assessment: Assessment, assessor: Assessor, *, key: str) -> None:
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
        key=f"why-{key}",
    )
    opacity = st.slider(wording.WHY_OPACITY, 0, 100, 60, format="%d %%", key="opacity") / 100
    shown = assessor.draw_overlay(picture, assessment, chosen, opacity=opacity)
    if shown is None:
        st.caption(wording.WHY_NOTHING)
        return
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
    if any(case.method for case in cases):
        rows["Established by"] = [wording.METHODS.get(case.method, case.method) for case in cases]
    if is_isic:
        _show_thumbnails([case.image_id for case in cases], [case.label.name for case in cases])
    components.show_table(rows, alt="The nearest training pictures")
    st.caption(wording.SIMILAR_REMARK)


def _show_thumbnails(image_ids: Sequence[str], names: Sequence[str]) -> None:
    """Show training pictures that lie in the data folder."""
    found = [
        (image_id, name, resources.find_picture(image_id)) for image_id, name in zip(image_ids, names, strict=True)
    ]
    there = [(image_id, name, path) for image_id, name, path in found if path is not None]
    if not there:
        return
    for column, (image_id, name, path) in zip(st.columns(len(there)), there, strict=True):
        try:
            preview = encode_preview(decode_picture(path.read_bytes()), max_side_px=_THUMBNAIL_PX)
        except (OSError, PictureError):
            continue
        column.image(preview, width="stretch", alt=f"Training picture {image_id}: {name}")


def show_steadiness(
    compare: Callable[[], Agreement], picture: np.ndarray, assessment: Assessment, assessor: Assessor, *, at_once: bool
) -> Agreement | None:
    """Show whether the answer holds when the picture is mirrored and turned, and on request under artefacts.

    Returns
    -------
    Agreement or None
        What `compare` returned; None where that was not to be asked at once, and the visitor has not asked.
    """
    st.header(wording.AGREEMENT_TITLE)
    agreement, box = None, st.empty()
    if at_once or box.button(wording.TURNS_BUTTON, help=wording.TURNS_LATER, key="turns"):
        agreement = compare()
        box.markdown(wording.describe_agreement(agreement, assessment.prediction.top))
    _show_stress(picture, assessor)
    return agreement


@signin.fragment
def _show_stress(picture: np.ndarray, assessor: Assessor) -> None:
    if not st.button(wording.STRESS_BUTTON, key="stress"):
        return
    results = assessor.stress(picture)
    given = results[0].assessment.prediction
    rows = []
    for result in results:
        one = result.assessment.prediction
        moved = one.malignant_probability - given.malignant_probability
        refused = "; ".join(sentence for _, sentence in result.assessment.reasons)
        rows.append((wording.STRESS_NAMES[result.name], one.malignant_probability, moved, one.top.name, refused))
    columns = ["With", "Malignant sum", "Change", "Most probable", "Gate"]
    table = pd.DataFrame(rows, columns=columns)
    table["Malignant sum"] = [wording.say_share(value) for value in table["Malignant sum"]]
    table["Change"] = [wording.say_change(value) for value in table["Change"]]
    table.loc[0, "Change"] = ""
    components.show_table(table, alt="The answer for the picture with each artefact drawn over it")
    st.caption(wording.STRESS_REMARK)
    for column, result in zip(st.columns(len(results) - 1), results[1:], strict=True):
        name = wording.STRESS_NAMES[result.name]
        column.image(encode_preview(result.picture, max_side_px=_THUMBNAIL_PX), width="stretch", alt=name, caption=name)


def show_spread(assessments: Sequence[Assessment], pictures: Sequence[GivenPicture]) -> None:
    """Show what the model says of each picture of a lesion on its own."""
    st.header(wording.SEVERAL_TITLE)
    labels = assessments[0].prediction.labels
    sums = [one.prediction.malignant_probability for one in assessments]
    if labels.malignant_codes:
        least, greatest = wording.say_share(min(sums)), wording.say_share(max(sums))
        st.markdown(wording.SPREAD.format(count=len(sums), least=least, greatest=greatest))
    for column, picture, one in zip(st.columns(len(pictures)), pictures, assessments, strict=True):
        number = picture.number
        preview = encode_preview(picture.pixels, max_side_px=_THUMBNAIL_PX)
        column.image(preview, width="stretch", alt=f"Picture {number}")
        top = one.prediction.top
        lines = [f"{number}: {top.name} {wording.say_share(one.prediction.by_code[top.code])}"]
        if labels.malignant_codes:
            lines.append(f"malignant sum {wording.say_share(one.prediction.malignant_probability)}")
        lines += [sentence for _, sentence in one.reasons]
        column.caption("  \n".join(lines))
    st.caption(wording.SEVERAL_REMARK)


def show_record(record: Record, pictures: Sequence[np.ndarray], assessor: Assessor, first: Assessment) -> None:
    """Show the buttons that make documents for the record; `first` is the assessment of the first picture."""

    def write() -> bytes:
        code = record.answer.prediction.top.code
        return write_pdf(record, pictures, assessor.draw_overlay(pictures[0], first, code))

    st.header(wording.RECORD_HEADING)
    st.caption(wording.RECORD_REMARK)
    name = f"skinai-{record.created:%Y%m%dT%H%M%SZ}-{record.pictures[0].pixels_sha256[:8]}"
    documents = (
        ("PDF", ".pdf", "application/pdf", write),
        ("JSON", ".json", "application/json", lambda: write_json(record)),
        ("CSV", ".csv", "text/csv", lambda: write_csv(record)),
        ("FHIR R5", ".fhir.json", "application/fhir+json", lambda: write_fhir(record)),
    )
    for column, (label, ending, mime, build) in zip(st.columns(len(documents)), documents, strict=True):
        column.download_button(
            label, build, file_name=name + ending, mime=mime, on_click="ignore", key=f"record{ending}", width="stretch"
        )


def describe(estimate: Estimate) -> str:
    """Return a share with its interval, for a sentence."""
    if math.isnan(estimate.value):
        return "an unknown share"
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:.0%} to {estimate.high:.0%})"
    return f"{estimate.value:.0%}{interval}"
