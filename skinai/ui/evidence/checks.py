"""Checks: what would make the report a lie, looked for one by one."""

import streamlit as st

from skinai import wording
from skinai.errors import DataError
from skinai.evaluation.checks import ISSUE
from skinai.evaluation.report import EvaluationReport
from skinai.model.bundle import Bundle
from skinai.ui import resources


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show every check with its state, its finding and what to do."""
    st.header(wording.CHECKS_TITLE)
    try:
        found = resources.load_checks(bundle, report)
    except DataError as error:
        st.warning(str(error))
        return
    issues = sum(check.state == ISSUE for check in found)
    st.markdown(wording.CHECKS_REMARK.format(checks=len(found), issues=issues))
    for check in found:
        with st.container(border=True):
            st.markdown(
                f"**{wording.CHECK_STATES[check.state]}** | {wording.CHECK_PROMISE}: {check.title} (`{check.code}`)"
            )
            st.markdown(f"{check.finding} {f'*{check.advice}*' if check.advice else ''}".strip())
