"""Documents: the model card, the checklists and everything else as one file."""

import streamlit as st

from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Placeholder."""
    st.header("Documents")
