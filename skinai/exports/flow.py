"""The flow diagram: from the listed pictures to lesions, or what else is kept together, and subsets, with counts."""

from __future__ import annotations

from html import escape

from skinai.evaluation.units import name_unit
from skinai.exports.facts import CardFacts

_WIDTH, _BOX, _HIGH, _GAP = 760, 230, 74, 34


def draw_flow(facts: CardFacts) -> bytes:
    """Return the diagram as SVG; its text is in its title, for who cannot see it."""
    summary, report, flow = facts.summary, facts.report, facts.flow
    present = int(flow["pictures_present"].sum())
    unit = name_unit(report.labels)
    first = ["Listed", f"{summary.pictures:,} pictures", f"{summary.lesions:,} {unit}s"]
    missing = summary.pictures - int(flow["pictures"].sum())
    absent = int(flow["pictures"].sum()) - present
    second = ["Present and readable", f"{present:,} pictures", f"{int(flow['lesions_present'].sum()):,} {unit}s"]
    aside = ["Left out", f"{absent:,} absent or unreadable", f"{missing:,} not in the split"]
    columns = []
    for row in flow.itertuples():
        lines = [row.subset, f"{row.pictures_present:,} pictures", f"{row.lesions_present:,} {unit}s"]
        columns.append(lines)
    refused = report.decision.get("refused")
    last = ["Answered for", f"{report.pictures:,} pictures", f"{report.lesions:,} {unit}s"]
    if refused is not None:
        last.append(f"gate would refuse {refused.value:.1%}")
    middle = (_WIDTH - _BOX) / 2
    boxes = [(middle, 10, first), (middle, 10 + _HIGH + _GAP, second), (_WIDTH - _BOX - 5, 10 + _HIGH + _GAP, aside)]
    top = 10 + 2 * (_HIGH + _GAP)
    places = [5, middle, _WIDTH - _BOX - 5]
    boxes += [(x, top, lines) for x, lines in zip(places, columns, strict=True)]
    below = top + _HIGH + _GAP
    boxes.append((places[2], below, last))
    uses = {"train": "weights", "valid": "every choice", "test": "reported"}
    lines = [_line(_WIDTH / 2, 10 + _HIGH, _WIDTH / 2, 10 + _HIGH + _GAP)]
    lines.append(_line(middle + _BOX, 10 + 1.5 * _HIGH + _GAP, _WIDTH - _BOX - 5, 10 + 1.5 * _HIGH + _GAP))
    for x in places:
        lines.append(_line(_WIDTH / 2, 10 + 2 * _HIGH + _GAP, x + _BOX / 2, top))
    lines.append(_line(places[2] + _BOX / 2, top + _HIGH, places[2] + _BOX / 2, below))
    heads = [f"{one[0]}: {uses[one[0]]}" if one[0] in uses else one[0] for _, _, one in boxes]
    drawn = [_draw_box(x, y, [head, *one[1:]]) for head, (x, y, one) in zip(heads, boxes, strict=True)]
    title = "; ".join(", ".join(one) for _, _, one in boxes)
    height = below + _HIGH + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img"><title>{escape(title)}</title><rect width="100%" height="100%" fill="#FFFFFF"/>'
        f"{''.join(lines)}{''.join(drawn)}</svg>\n"
    ).encode()


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#7A929A" stroke-width="1.5"/>'


def _draw_box(x: float, y: float, lines: list[str]) -> str:
    high = _HIGH if len(lines) < 4 else _HIGH + 18
    text = "".join(
        f'<text x="{x + _BOX / 2}" y="{y + 22 + 19 * place}" text-anchor="middle" font-family="sans-serif" '
        f'font-size="14" fill="#1B2428"{" font-weight=" + chr(34) + "600" + chr(34) if place == 0 else ""}>'
        f"{escape(line)}</text>"
        for place, line in enumerate(lines)
    )
    box = f'<rect x="{x}" y="{y}" width="{_BOX}" height="{high}" rx="6" fill="#F1F5F6" stroke="#0F5C6E"/>'
    return box + text
