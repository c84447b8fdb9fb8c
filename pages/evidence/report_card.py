"""Report card: how the model in use does on lesions that it has not seen, and how far that can be trusted."""

import streamlit as st

from skinai import wording
from skinai.errors import SkinaiError
from skinai.labels import HAM10000
from skinai.ui import components, resources
from skinai.ui.evidence import checks, comparing, curves, documents, leak, mistakes, overview, parts, workbench

SECTIONS = {
    "figures": overview.show,
    "mistakes": mistakes.show,
    "curves": curves.show,
    "parts": parts.show,
    "checks": checks.show,
    "leak": leak.show,
    "compare": comparing.show,
    "thresholds": workbench.show,
    "documents": documents.show,
}


def main() -> None:
    st.title("Report card")
    try:
        bundle = components.choose_model()
        report = resources.load_report(bundle)
    except SkinaiError as error:
        components.stop_with(wording.REPORT_UNUSABLE, error)
    head = wording.speak_of(report.labels, wording.REPORT_HEAD)
    st.markdown(head.format(name=report.model_name, pictures=report.pictures, lesions=report.lesions))
    try:
        voiding = [check for check in resources.load_checks(bundle, report) if check.voiding]
    except SkinaiError as error:
        components.stop_with(wording.REPORT_UNUSABLE, error)
    for check in voiding:
        st.error(f"{wording.CHECK_VOIDS} {check.finding} {check.advice}")
    offered = [name for name in SECTIONS if report.labels is HAM10000 or name != "leak"]
    section = st.segmented_control(
        wording.SECTION_LABEL,
        offered,
        default=offered[0],
        format_func=wording.SECTION_NAMES.__getitem__,
        required=True,
        key="section",
        bind="query-params",
    )
    SECTIONS[section](bundle, report)


main()
