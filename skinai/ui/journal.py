"""What the pages write into the audit log, where it is switched on: each answer once a session, before it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from skinai import wording
from skinai.audit_log import open_audit_log
from skinai.errors import AuditError
from skinai.model.bundle import Bundle
from skinai.model.router import NEITHER, NEITHER_SENTENCE
from skinai.serving.assessment import Assessment
from skinai.serving.files import FileAnswer
from skinai.serving.routing import Routing
from skinai.ui import components

_WRITTEN = "audit_written"


def write_answers(
    answers: Iterable[tuple[str, Assessment | None]],
    bundle: Bundle,
    *,
    insisted: bool,
    routing: Routing | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write answers down; end the page with a sentence where that cannot be done.

    Parameters
    ----------
    answers : iterable of (str, Assessment or None)
        Each with the SHA-256 of its picture's pixels; None where neither model is fit for it.
    bundle : Bundle
        Of the model that answered.
    insisted : bool
        Whether the answer is shown for a refused picture too.
    routing : Routing, optional
    more : mapping, optional
        What else is noted with each.
    """
    log = open_audit_log()
    if log is None:
        return
    written: set[str] = st.session_state.setdefault(_WRITTEN, set())
    for pixels_hash, assessment in answers:
        reasons = ((NEITHER, NEITHER_SENTENCE),) if assessment is None else assessment.reasons
        answer = FileAnswer(Path(), bundle.name, bundle.fingerprint, assessment, reasons, insisted, routing).describe()
        noted = dict(more or {})
        # The script runs anew with every click.
        one = json.dumps([pixels_hash, answer, noted], sort_keys=True)
        if one in written:
            continue
        try:
            log.append(find_account(), pixels_hash, answer, **noted)
        except AuditError as error:
            components.stop_with(wording.AUDIT_BROKEN, error)
        written.add(one)


def find_account() -> str:
    """Return who is signed in; empty where nobody has to."""
    return str(st.user.get("email") or st.user.get("sub") or "")
