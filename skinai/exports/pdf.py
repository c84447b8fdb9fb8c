"""The record as one page of PDF: picture, map, bars, decision line, gate, model, thresholds, limits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from skinai import __version__, wording
from skinai.exports.record import Record

_INK, _PLAIN, _HIGHLIGHT, _AMBER = "#1B2428", "#7A929A", "#0F5C6E", "#C77700"
_MARGIN_MM = 16
_MAX_SIDE_PX = 700


def write_pdf(record: Record, pictures: Sequence[np.ndarray], overlay: np.ndarray | None = None) -> bytes:
    """Return the record as a PDF of one A4 page.

    Parameters
    ----------
    record : Record
    pictures : sequence of ndarray of shape (height, width, 3), uint8
        Those of the record; they are encoded anew, so nothing of their files gets in.
    overlay : ndarray of shape (height, width, 3), uint8, optional
        The first picture with its class activation map.
    """
    from reportlab.lib.pagesizes import A4  # a quarter of a second, and most answers become no PDF
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable, KeepInFrame, Paragraph, Spacer, Table
    from reportlab.platypus import Image as Figure

    width, height = A4
    inner = width - 2 * _MARGIN_MM * mm
    text = ParagraphStyle("text", fontName="Helvetica", fontSize=8.6, leading=11.2, textColor=_INK)
    bold = ParagraphStyle("bold", parent=text, fontName="Helvetica-Bold", fontSize=10.5, leading=13.5)
    title = ParagraphStyle("title", parent=bold, fontSize=14, leading=18)
    small = ParagraphStyle("small", parent=text, fontSize=7.4, leading=9.4)
    warning = ParagraphStyle(
        "warning", parent=text, borderColor=_AMBER, borderWidth=1, borderPadding=4, spaceBefore=4, spaceAfter=6
    )

    def say(sentence: str, style: ParagraphStyle = text) -> Paragraph:
        return Paragraph(escape(sentence), style)

    def place(picture: np.ndarray, across: float) -> Figure:
        image = Image.fromarray(picture)
        image.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
        buffer.seek(0)
        share = min(across / image.width, 62 * mm / image.height)
        return Figure(buffer, image.width * share, image.height * share)

    class Bars(Flowable):
        """The probabilities as bars, in the fixed order."""

        def wrap(self, *available: float) -> tuple[float, float]:
            self.width = available[0]
            return self.width, 12.5 * len(prediction.labels)

        def draw(self) -> None:
            pen, left, full = self.canv, 150.0, self.width - 200.0
            for row, (label, value) in enumerate(zip(prediction.labels, prediction.probabilities, strict=True)):
                y = 12.5 * (len(prediction.labels) - 1 - row) + 3
                top = label == prediction.top
                pen.setFont("Helvetica-Bold" if top else "Helvetica", 8)
                pen.setFillColor(_INK)
                pen.drawString(0, y, label.name[:38])
                pen.setFillColor(_HIGHLIGHT if top else _PLAIN)
                pen.rect(left, y - 1.5, max(full * value, 0.4), 8.5, stroke=0, fill=1)
                pen.setFillColor(_INK)
                pen.drawString(left + full * value + 4, y, wording.say_share(value))

    prediction, facts = record.answer.prediction, record.as_dict()
    story: list[Flowable] = [say(wording.name_record(prediction.labels), title), say(wording.RECORD_NOTICE, warning)]
    if record.reasons:
        refusal = " ".join(record.reasons)
        story.append(say(refusal if not record.insisted else f"{wording.RECORD_INSISTED} {refusal}", warning))
    shown = [place(picture, inner / max(len(pictures) + (overlay is not None), 2) - 6) for picture in pictures]
    if overlay is not None and record.shown:
        shown.append(place(overlay, inner / max(len(pictures) + 1, 2) - 6))
    story.append(Table([shown], hAlign="LEFT", style=[("LEFTPADDING", (0, 0), (-1, -1), 0)]))
    if overlay is not None and record.shown:
        story.append(say(f"Last: {wording.WHY_PDF.format(name=prediction.top.name)}", small))
    story += [Spacer(1, 6), say(wording.summarise(record.answer, shown=record.shown, insisted=False), bold)]
    if record.shown:
        story += [Spacer(1, 3), Bars(), Spacer(1, 4)]
        story += [say(sentence) for sentence in _describe_answer(record)]
    if record.own is not None:
        own = f"{record.own.label.name}, {record.own.certainty}"
        story.append(say(f"{wording.OWN_FIRST}: {own}."))
    patient = record.patient
    age = f"age {patient.age_years} years" if patient.age_years is not None else None
    stated = [text for text in (age, patient.sex, patient.site) if text]
    if stated:
        story.append(say(f"{wording.STATED}: {', '.join(stated)}. {wording.STATED_UNUSED}"))
    story += [Spacer(1, 5), say("Limits", bold), *(say(f"- {limit}", small) for limit in facts["limits"])]
    story += [
        Spacer(1, 5),
        say(
            f"Made {facts['created_utc']} (UTC) by skinai {__version__}, model {prediction.model_name}, fingerprint "
            f"{prediction.fingerprint}.",
            small,
        ),
    ]
    for number, one in enumerate(record.pictures, 1):
        size = f"{one.width_px} x {one.height_px} pixels"
        story.append(say(f"Picture {number}: {size}, SHA-256 of its pixels {one.pixels_sha256}.", small))
    buffer = io.BytesIO()
    pen = Canvas(buffer, pagesize=A4, invariant=1)
    pen.setTitle(wording.name_record(prediction.labels))
    pen.setAuthor("skinai")
    pen.setSubject(wording.RECORD_NOTICE)
    room = height - 2 * _MARGIN_MM * mm
    page = KeepInFrame(inner, room, story, mode="shrink")
    _, used = page.wrapOn(pen, inner, room)
    page.drawOn(pen, _MARGIN_MM * mm, height - _MARGIN_MM * mm - used)
    pen.showPage()
    pen.save()
    return buffer.getvalue()


def _describe_answer(record: Record) -> list[str]:
    """Return what belongs below the bars, a sentence each."""
    answer = record.answer
    said = []
    if remark := wording.say_dermoscopy(answer):
        said.append(remark)
    if record.routing is not None:
        said.append(wording.say_routing(record.routing))
    if answer.plausible:
        said.append(f"{wording.PLAUSIBLE_LABEL}: {', '.join(label.name for label in answer.plausible)}.")
    if answer.plausible and answer.prediction.labels.severity:
        severest = answer.severest.name if answer.severest else wording.NONE_SEVERE
        said.append(f"{wording.SEVEREST_LABEL}: {severest}.")
    if answer.calls and not answer.refused:
        call = answer.calls[0]
        sentence = wording.CALL_ABOVE if call.above else wording.CALL_BELOW
        said.append(
            sentence.format(sum=wording.say_share(answer.prediction.malignant_probability), threshold=call.threshold)
        )
        figures = [(name, record.holdout.get(f"{call.name}:{name}")) for name in ("sensitivity", "specificity")]
        reached = ", ".join(f"{name} {estimate} (n {estimate.n})" for name, estimate in figures if estimate)
        if reached:
            said.append(f"On holdout pictures this threshold reached {reached}; 95 % intervals by lesion.")
    if record.agreement is not None:
        said.append(wording.describe_agreement(record.agreement, answer.prediction.top))
    gates = {one.assessment.gate for one in record.pictures}
    said.append(
        wording.NO_GATE if "none" in gates else wording.GATE_REFUSED if "refused" in gates else wording.GATE_PASSED
    )
    if len(record.pictures) > 1:
        if answer.prediction.labels.malignant_codes:
            sums = [one.assessment.prediction.malignant_probability for one in record.pictures]
            least, greatest = wording.say_share(min(sums)), wording.say_share(max(sums))
            said.append(wording.SPREAD.format(count=len(sums), least=least, greatest=greatest))
        said.append(wording.SEVERAL_REMARK)
    return said
