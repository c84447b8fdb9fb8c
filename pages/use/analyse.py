"""Analyse: pictures of one lesion in, class probabilities and what to make of them out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from skinai import wording
from skinai.errors import DataError, ModelError
from skinai.evaluation.report import EvaluationReport
from skinai.exports.record import CERTAINTIES, SEXES, SITES, OwnAnswer, PatientFacts, build_record
from skinai.labels import HAM10000, LabelSet
from skinai.model.bundle import Bundle
from skinai.serving.assessment import Agreement, Assessment
from skinai.serving.routing import Desk, Routing
from skinai.ui import answer, charts, components, journal, resources, turns, worked
from skinai.ui.intake import SHOWN, GivenPicture, ask_for_pictures, identify


def main() -> None:
    st.title("Analyse")
    try:
        desk = resources.load_desk()
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    bundle = desk.main.predictor.bundle
    # Kept apart from the widget, which a visit to another page forgets.
    kept = st.session_state.get("clinician_first_kept", False)
    first = st.toggle(wording.CLINICIAN_TOGGLE, value=kept, help=wording.CLINICIAN_HELP, key="clinician_first")
    st.session_state["clinician_first_kept"] = first
    pictures = ask_for_pictures(bundle, photographs=desk.router is not None)
    if pictures:
        with turns.turn():
            bundle = answer_for(pictures, desk, first=first)
    else:
        worked.forget()
        show_empty_state(bundle)
    show_limits(bundle.labels)


def answer_for(pictures: list[GivenPicture], desk: Desk, *, first: bool) -> Bundle:
    """Show what the fitting model says of the pictures; return that model, or the one in use where neither fits.

    With `first` the visitor says first what he or she thinks.
    """
    bundle = desk.main.predictor.bundle
    try:
        routing = ask_for_model(desk, pictures)
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    if routing.answered_by is None:
        write_down(pictures, [None] * len(pictures), bundle, routing, insisted=False)
        return bundle
    assessor = desk.assessors[routing.answered_by]
    bundle = assessor.predictor.bundle
    try:
        assessments = worked.recall(
            desk,
            identify(pictures),
            f"answer of {routing.answered_by}",
            lambda: [assessor.assess(picture.pixels) for picture in pictures],
        )
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    insisted = ask_to_insist(pictures, assessments, bundle)
    if any(one.refused for one in assessments) and not insisted:
        write_down(pictures, assessments, bundle, routing, insisted=False)
        return bundle
    own = find_own_answer(pictures)
    late = first and own is None and is_known(pictures)
    if late:
        st.warning(wording.CLINICIAN_TOO_LATE)
    if first and own is None and not late:
        ask_for_own_answer(pictures, bundle)
    else:
        write_down(pictures, assessments, bundle, routing, insisted=insisted)
        remember_shown(pictures)
        show_result(pictures, assessments, desk, routing, insisted=insisted, own=own)
    return bundle


def ask_for_model(desk: Desk, pictures: list[GivenPicture]) -> Routing:
    """Say which model answers and why, and let the visitor choose another."""
    pixels = [picture.pixels for picture in pictures]
    if desk.router is None:
        return desk.route(pixels)
    said, asked = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with asked:
        chosen = st.segmented_control(
            wording.ROUTE_LABEL,
            [wording.ROUTE_AUTO, *desk.assessors],
            default=wording.ROUTE_AUTO,
            format_func=lambda kind: wording.MODEL_NAMES.get(kind, kind),
            required=True,
            help=wording.ROUTE_HELP,
            wrap=True,  # the third choice, on a phone
            # Overruling the router for one lesion does not overrule it for the next.
            key=f"by-{identify(pictures)}",
        )
    routing = worked.recall(desk, identify(pictures), "route", lambda: desk.route(pixels))
    if chosen != wording.ROUTE_AUTO:
        routing = replace(routing, answered_by=chosen)
    with said:
        sentence = wording.say_routing(routing)
        if routing.answered_by is None:
            st.warning(f"**{wording.REFUSED_TITLE}** {sentence} {wording.ROUTE_CHOOSE}")
        elif routing.overruled:
            st.warning(sentence)
        else:
            st.markdown(sentence)
    if routing.answered_by is None:
        for column, picture in zip(st.columns([1] * len(pictures) + [2]), pictures, strict=False):
            with column:
                answer.show_picture(picture.pixels, desk.main.predictor.bundle)
    return routing


def show_empty_state(bundle: Bundle) -> None:
    """Show what to do, and the empty chart, so that the browser has loaded what draws the answer."""
    left, right = st.columns([2, 3], gap="medium")
    left.markdown(wording.EMPTY_STATE)
    with right:
        figure = charts.draw_no_probabilities(bundle.labels, charts.palette())
        components.show_figure(figure, alt="The chart is empty: no picture has been read yet.", key="no_probabilities")


def ask_to_insist(pictures: list[GivenPicture], assessments: list[Assessment], bundle: Bundle) -> bool:
    """Say why pictures are refused; return whether the visitor wants the answer all the same."""
    refused = [number for number, one in enumerate(assessments) if one.refused]
    if not refused:
        return False
    several = len(pictures) > 1
    reasons = " ".join(
        (f"Picture {pictures[number].number}: " if several else "") + sentence
        for number in refused
        for _, sentence in assessments[number].reasons
    )
    said = st.empty()
    # Insisting on one picture does not insist on the next.
    insisted = st.toggle(wording.INSIST_LABEL, key=f"insist-{identify(pictures)}")
    if insisted:
        which = f"{len(refused)} of {len(pictures)} pictures were" if several else "This picture was"
        said.warning(wording.INSISTED.format(refused=which, reasons=reasons))
    else:
        said.warning(f"**{wording.REFUSED_TITLE} {reasons}** {wording.REFUSED_NOTE}")
        for column, number in zip(st.columns([1] * len(refused) + [2]), refused, strict=False):
            with column:
                answer.show_picture(pictures[number].pixels, bundle)
    return insisted


def find_own_answer(pictures: list[GivenPicture]) -> OwnAnswer | None:
    """Return the visitor's own answer, if one was locked for these pictures."""
    # Not a widget's key, so that it outlives the form and a visit to another page.
    locked: dict[str, OwnAnswer] = st.session_state.setdefault("own_answers", {})
    return locked.get(identify(pictures))


def is_known(pictures: list[GivenPicture]) -> bool:
    """Whether the model's answer for one of the pictures has been shown in this session."""
    shown: set[str] = st.session_state.setdefault(SHOWN, set())
    return any(picture.pixels_hash in shown for picture in pictures)


def remember_shown(pictures: list[GivenPicture]) -> None:
    """Note that the model's answer for these pictures is shown."""
    st.session_state.setdefault(SHOWN, set()).update(picture.pixels_hash for picture in pictures)


def write_down(
    pictures: list[GivenPicture],
    assessments: Sequence[Assessment | None],
    bundle: Bundle,
    routing: Routing,
    *,
    insisted: bool,
) -> None:
    """Write the answer into the audit log, where it is switched on."""
    hashes = [picture.pixels_hash for picture in pictures]
    together = {"together_with": hashes} if len(hashes) > 1 else {}
    journal.write_answers(
        zip(hashes, assessments, strict=True), bundle, insisted=insisted, routing=routing, more=together
    )


def ask_for_own_answer(pictures: list[GivenPicture], bundle: Bundle) -> None:
    """Ask what the visitor thinks, once for each lesion, and lock it."""
    key = identify(pictures)
    with st.form(f"own-{key}"):
        st.header(wording.CLINICIAN_TITLE)
        seen, asked = st.columns([3, 4] if len(pictures) == 1 else [4, 3], gap="medium")
        for column, picture in zip(seen.columns(len(pictures)), pictures, strict=True):
            with column:
                answer.show_picture(picture.pixels, bundle)
        with asked:
            code = st.selectbox(
                wording.CLINICIAN_LABEL,
                bundle.labels.codes,
                index=None,
                placeholder="Choose one",
                format_func=lambda code: bundle.labels.by_code(code).name,
                key=f"own_label-{key}",
            )
            certainty = st.segmented_control(
                wording.CLINICIAN_CERTAINTY,
                CERTAINTIES,
                default=CERTAINTIES[0],
                required=True,
                key=f"own_certainty-{key}",
            )
            st.caption(wording.CLINICIAN_REMARK)
            pressed = st.form_submit_button(wording.CLINICIAN_LOCK, type="primary")
    if not pressed:
        return
    if code is None:
        st.error(wording.CLINICIAN_MISSING)
        return
    st.session_state["own_answers"][key] = OwnAnswer(bundle.labels.by_code(code), certainty)
    st.rerun()


def show_result(
    pictures: list[GivenPicture],
    assessments: list[Assessment],
    desk: Desk,
    routing: Routing,
    *,
    insisted: bool,
    own: OwnAnswer | None,
) -> None:
    """Show the answer: in one line, as a chart and a table, and what to make of it."""
    assert routing.answered_by is not None
    assessor = desk.assessors[routing.answered_by]
    bundle, pixels = assessor.predictor.bundle, [picture.pixels for picture in pictures]
    whole = assessor.pool(assessments)
    prediction = whole.prediction
    top, malignant_sum = prediction.top, ""
    if prediction.labels.malignant_codes:
        malignant_sum = f" {wording.MALIGNANT_LABEL}: {wording.say_share(prediction.malignant_probability)}."
    certainty = wording.describe_certainty(whole)
    label = wording.TOP_LABEL.format(count=wording.say_count(prediction.labels))
    st.info(
        f"**{label}: {top.name} ({prediction.by_code[top.code]:.1%}), "
        f"{wording.describe_group(top, prediction.labels)}. {f'{certainty}.' if certainty else ''}{malignant_sum}** "
        f"{answer.say_what_benign_means(prediction, bundle)}{wording.RESULT_NOTE}"
    )
    if remark := wording.say_dermoscopy(whole):
        st.warning(remark)
    if own is not None:
        show_own_answer(own, whole)
    if pictures[0].truth is not None:
        st.markdown(f"**{wording.TRUTH.format(name=pictures[0].truth.name)}**")
    seen, chart, table = st.columns([3, 5, 4], gap="medium")
    with seen:
        answer.show_picture(pixels[0], bundle)
    with chart:
        st.header(wording.CHART_TITLE)
        figure = charts.draw_probabilities(prediction, charts.palette())
        components.show_figure(figure, alt=charts.describe_probabilities(prediction), key="probabilities")
        if prediction.labels is HAM10000:
            st.caption(wording.SHARES_REMARK)
    with table:
        answer.show_table(prediction)
        if malignant_sum:
            st.metric(wording.MALIGNANT_LABEL, wording.say_share(prediction.malignant_probability), border=True)
    if prediction.labels is HAM10000:
        st.markdown(wording.MALIGNANT_HELP)
    if assessor.gates is None:
        st.caption(wording.NO_GATE)
    report = load_report(bundle)
    if whole.refused:
        st.caption(wording.REFUSED_REMARK)
    if len(pictures) > 1:
        answer.show_spread(assessments, pictures)
    left, right = st.columns(2, gap="medium")
    with left:
        if not whole.refused:
            answer.show_certainty(whole, report)
        if assessor.decision is not None:
            answer.show_plausible(whole, assessor.decision.coverage, None if whole.refused else report)
        if whole.calls and not whole.refused and report is not None and "coverage" in report.decision:
            answer.show_call(whole, report, bundle)
    with right:
        # Maps and neighbours belong to one picture; of several the first one's are shown.
        answer.show_why(pixels[0], assessments[0], assessor, key=identify(pictures[:1]))
        answer.show_similar(pixels[0], assessments[0], assessor)
    agreement = show_steadiness(pixels[0], whole, desk, routing, identify(pictures)) if len(pictures) == 1 else None
    patient = ask_for_patient(identify(pictures))
    record = build_record(
        pixels,
        assessments,
        whole,
        insisted=insisted,
        agreement=agreement,
        patient=patient,
        own=own,
        report=report,
        routing=routing,
    )
    answer.show_record(record, pixels, assessor, assessments[0])


def show_steadiness(picture: np.ndarray, whole: Assessment, desk: Desk, routing: Routing, key: str) -> Agreement | None:
    """Show whether the answer is steady; where others wait for theirs, only when asked to."""
    assert routing.answered_by is not None
    assessor, step = desk.assessors[routing.answered_by], f"turns of {routing.answered_by}"

    def compare() -> Agreement:
        return worked.recall(desk, key, step, lambda: assessor.compare_turns(picture, whole.prediction))

    at_once = worked.is_known(desk, key, step) or not turns.others_wait()
    return answer.show_steadiness(compare, picture, whole, assessor, at_once=at_once)


def load_report(bundle: Bundle) -> EvaluationReport | None:
    """Return the holdout report; None where the model was not tested."""
    try:
        return resources.load_report(bundle)
    except DataError:
        return None


def show_own_answer(own: OwnAnswer, whole: Assessment) -> None:
    """Show the visitor's own answer beside the model's."""
    top, shares = whole.prediction.top, whole.prediction.by_code
    sentence = wording.CLINICIAN_SAME if own.label == top else wording.CLINICIAN_OTHER
    st.info(
        sentence.format(
            mine=own.label.name,
            certainty=own.certainty,
            own_share=wording.say_share(shares[own.label.code]),
            top=top.name,
            share=wording.say_share(shares[top.code]),
        )
    )


def ask_for_patient(key: str) -> PatientFacts:
    """Ask for age, sex and site, for the record; anew for every lesion, which may be another patient's."""
    with st.expander(wording.PATIENT_TITLE):
        st.caption(wording.PATIENT_REMARK)
        age, sex, site = st.columns(3)
        years = age.number_input("Age in years", 0, 120, None, key=f"age-{key}")
        chosen_sex = sex.selectbox("Sex", SEXES, index=None, placeholder="not stated", key=f"sex-{key}")
        chosen_site = site.selectbox("Site on the body", SITES, index=None, placeholder="not stated", key=f"site-{key}")
    return PatientFacts(None if years is None else int(years), chosen_sex, chosen_site)


def show_limits(labels: LabelSet) -> None:
    """Say what the model is not for."""
    st.header(wording.NOT_FOR_TITLE)
    if labels is not HAM10000:
        st.markdown(wording.OWN_MODEL_REMARK)
        return
    st.markdown("\n".join(f"- {sentence}" for sentence in wording.NOT_FOR))


main()
