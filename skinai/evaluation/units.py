"""What the pictures of a table belong to: lesions where a class is malignant, and cases where none is.

Figures count and draw whatever is kept together by the split. A label set without a malignant class need not be about
lesions at all: its pictures are kept together by patient or by series.
"""

from __future__ import annotations

import re

from skinai.labels import LabelSet

LESION, CASE, PICTURE = "lesion", "case", "picture"


def name_unit(labels: LabelSet) -> str:
    """Return what is counted besides pictures: ``"lesion"`` or ``"case"``.

    >>> from skinai.labels import HAM10000
    >>> name_unit(HAM10000)
    'lesion'
    """
    return LESION if labels.malignant_codes else CASE


def put_in_units(sentence: str, unit: str) -> str:
    """Return a sentence about lesions as one about `unit`; names in braces, which are yet to be filled in, stay.

    >>> put_in_units("Lesions drawn: {lesions:,} lesions.", "case")
    'Cases drawn: {lesions:,} cases.'
    """
    return re.sub(r"(?<!\{)\b[Ll]esion", lambda found: unit.capitalize() if found[0][0] == "L" else unit, sentence)
