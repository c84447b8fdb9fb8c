"""Which pictures a model gets wrong: the cells of the confusion matrix, and the most confident mistakes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skinai.data.predictions import probability_matrix
from skinai.labels import HAM10000, LabelSet

MISSED_MELANOMA, MISSED_MALIGNANT, OTHER = "missed melanoma", "missed malignant", "other mistake"
_KINDS = (MISSED_MELANOMA, MISSED_MALIGNANT, OTHER)


def add_answers(table: pd.DataFrame, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Return a table of predictions with ``answer`` (the most probable class) and ``certainty`` (its probability)."""
    probabilities = probability_matrix(table, labels)
    answers = [labels.codes[index] for index in probabilities.argmax(axis=1)]
    return table.assign(answer=answers, certainty=probabilities.max(axis=1))


def list_cell(table: pd.DataFrame, truth: str, answer: str, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Return the pictures of one cell of the confusion matrix, the most certain answer first."""
    answered = add_answers(table, labels)
    inside = answered[(answered["truth"] == truth) & (answered["answer"] == answer)]
    return inside.sort_values(["certainty", "image"], ascending=[False, True], ignore_index=True)


def rank_mistakes(table: pd.DataFrame, labels: LabelSet = HAM10000) -> pd.DataFrame:
    """Return every wrongly answered picture: missed melanomas, other malignant ones called benign, then the rest.

    Within each ``kind`` the most certain mistake comes first.
    """
    answered = add_answers(table, labels)
    wrong = answered[answered["answer"] != answered["truth"]].copy()
    missed = wrong["truth"].isin(labels.malignant_codes) & ~wrong["answer"].isin(labels.malignant_codes)
    melanoma = missed & (wrong["truth"] == "mel")
    rank = np.select([melanoma, missed], [0, 1], default=2)
    wrong["kind"] = [_KINDS[place] for place in rank]
    order = np.lexsort((wrong["image"].to_numpy(), -wrong["certainty"].to_numpy(), rank))
    return wrong.iloc[order].reset_index(drop=True)
