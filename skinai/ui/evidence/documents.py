"""Documents: the model card, the checklists and everything else as one file."""

from pathlib import Path

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import SkinaiError
from skinai.evaluation.report import EvaluationReport
from skinai.exports.card import write_card
from skinai.exports.checklists import Item, fill_clear_derm, fill_tripod
from skinai.exports.facts import CardFacts, read_facts
from skinai.exports.flow import draw_flow
from skinai.model.bundle import Bundle
from skinai.ui import components


def show(bundle: Bundle, report: EvaluationReport) -> None:
    """Show flow diagram and checklists, and offer the card and the zip."""
    st.header(wording.DOCUMENTS_TITLE)
    st.markdown(wording.DOCUMENTS_REMARK)
    try:
        facts = read_facts(bundle.folder)
    except SkinaiError as error:
        st.warning(str(error))
        return
    _offer(facts, bundle.folder)
    flow = draw_flow(facts).decode()
    text = flow.split("<title>")[1].split("</title>")[0]
    st.image(flow, width=760, alt=wording.speak_of(report.labels, wording.FLOW_ALT).format(text=text))
    for name, items in (("CLEAR Derm", fill_clear_derm(facts)), ("TRIPOD+AI", fill_tripod(facts))):
        _show_checklist(name, items)


def _offer(facts: CardFacts, folder: Path) -> None:
    name = f"skinai-{facts.bundle.name}-{facts.bundle.fingerprint}"

    # Drawing takes matplotlib, which only who asks for a document waits for.
    def write() -> bytes:
        from skinai.exports.evidence import draw_figures, render_html

        return render_html(write_card(facts), draw_figures(facts), title=f"Model card: {facts.bundle.name}").encode()

    def pack() -> bytes:
        from skinai.exports.evidence import build_evidence

        return build_evidence(folder)

    left, right = st.columns(2)
    left.download_button(
        wording.DOCUMENTS_CARD, write, file_name=f"{name}.html", mime="text/html", on_click="ignore", width="stretch"
    )
    right.download_button(
        wording.DOCUMENTS_ALL,
        pack,
        file_name=f"{name}.zip",
        mime="application/zip",
        on_click="ignore",
        width="stretch",
    )


def _show_checklist(name: str, items: list[Item]) -> None:
    st.subheader(name)
    gaps = sum(bool(item.gap) for item in items)
    answered = sum(bool(item.answer) for item in items)
    st.markdown(wording.CHECKLISTS_REMARK.format(name=name, answered=answered, items=len(items), gaps=gaps))
    rows = pd.DataFrame(
        {
            "Item": item.number,
            "Subject": item.subject,
            "Answer": f"{item.answer} {f'**Gap: {item.gap}**' if item.gap else ''}".strip(),
        }
        for item in items
    )
    components.show_table(rows, alt=f"The items of {name} with their answers and gaps")
