"""Thresholds: rules tried out on valid, and written down as the rules in force by who runs the server."""

import logging
import os

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.access import Role
from skinai.artefacts import holding, predictions_file
from skinai.data.predictions import read_predictions
from skinai.errors import DataError, SkinaiError
from skinai.evaluation.decision import Decision, fit_decision, read_decision
from skinai.evaluation.estimate import Estimate
from skinai.evaluation.report import EvaluationReport
from skinai.evaluation.rules import estimate_on, try_rules
from skinai.model.bundle import Bundle, renew_seal
from skinai.ui import components, signin

WORKBENCH = "SKINAI_WORKBENCH"
LOG = logging.getLogger("skinai.ui")


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show the rules in force and what others would reach on valid."""
    st.header(wording.WORKBENCH_TITLE)
    st.markdown(wording.WORKBENCH_REMARK)
    try:
        decision = read_decision(bundle.folder, fingerprint=bundle.fingerprint, labels=bundle.labels)
        valid = read_predictions(bundle.folder / predictions_file("valid"), bundle.labels)
    except DataError as error:
        st.warning(str(error))
        return
    if not decision.operating_points:
        st.markdown(wording.WORKBENCH_NOTHING)
        return
    _show_in_force(decision, valid, bundle)
    st.subheader(wording.WORKBENCH_TRY)
    kind = st.segmented_control(
        wording.WORKBENCH_KIND,
        ["sensitivity", "specificity"],
        default="sensitivity",
        required=True,
        key="wanted_kind",
    )
    share = st.slider(wording.WORKBENCH_SHARE.format(kind=kind), 0.70, 0.99, 0.90, 0.01, key="wanted_share")
    coverage = st.slider(wording.WORKBENCH_COVERAGE, 0.80, 0.99, decision.coverage, 0.01, key="wanted_coverage")
    names = [f"{kind}_{share:.2f}"]
    names += [point.name for point in decision.operating_points if point.name not in names]
    _show_rules(*try_rules(valid, bundle.labels, names=names[:1], coverage=coverage))
    if os.environ.get(WORKBENCH) != "1":
        points = " ".join(f"--point {name}" for name in names)
        st.caption(wording.WORKBENCH_LOCKED)
        st.code(
            f"python -m skinai decide {components.name_folder(bundle)} {points} --coverage {coverage:.2f}",
            language="bash",
        )
        return
    if not signin.has_role(Role.ADMIN):
        st.caption(wording.WORKBENCH_ADMIN)
        return
    st.button(wording.WORKBENCH_WRITE, key="write_rules", on_click=_write, args=(bundle, names, coverage))
    if said := st.session_state.pop("rules_written", None):
        st.info(said)


def _write(bundle: Bundle, names: list[str], coverage: float) -> None:
    """Put rules in force, before the page is drawn again, and so before anything else asks who is there."""
    if not signin.has_role(Role.ADMIN):
        return
    try:
        with holding(bundle.folder, wait=False) as free:
            if not free:
                raise DataError(wording.WORKBENCH_BUSY)
            written = fit_decision(
                bundle.folder,
                fingerprint=bundle.fingerprint,
                labels=bundle.labels,
                calibration=bundle.facts.get("calibration"),
                names=names,
                coverage=coverage,
            )
            renew_seal(bundle.folder)
    except (SkinaiError, OSError) as error:
        LOG.exception("The rules were not written.")
        st.session_state["rules_written"] = wording.WORKBENCH_FAILED.format(error=error)
        return
    path = components.name_folder(bundle)
    st.session_state["rules_written"] = wording.WORKBENCH_WRITTEN.format(version=written.version, folder=path)


def _show_in_force(decision: Decision, valid: pd.DataFrame, bundle: Bundle) -> None:
    st.subheader(wording.WORKBENCH_IN_FORCE.format(version=decision.version))
    _show_rules(decision, estimate_on(decision, valid, bundle.labels))


def _show_rules(decision: Decision, reached: dict[str, Estimate]) -> None:
    rows = [
        {
            "Fixed for": point.name.replace("_", " "),
            "Threshold": f"{point.threshold:.2%}",
            "Sensitivity on valid": f"{reached[f'{point.name}:sensitivity']}",
            "Specificity on valid": f"{reached[f'{point.name}:specificity']}",
            "n": f"{reached[f'{point.name}:sensitivity'].n:,} and {reached[f'{point.name}:specificity'].n:,}",
        }
        for point in decision.operating_points
    ]
    components.show_table(pd.DataFrame(rows), alt="Thresholds and what they reach on valid")
    st.markdown(
        wording.WORKBENCH_SETS.format(
            coverage=decision.coverage, reached=reached["coverage"], size=reached["set_size"], n=reached["coverage"].n
        )
    )
