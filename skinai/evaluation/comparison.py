"""Two models on the same pictures: the difference of their figures, with an interval that pairs them by lesion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skinai.artefacts import predictions_file
from skinai.data.predictions import probability_matrix, read_predictions
from skinai.errors import DataError
from skinai.evaluation import metrics
from skinai.evaluation.report import DRAWS, OVERALL, SEED, Estimate
from skinai.labels import HAM10000, LabelSet


def compare_predictions(
    first: Path, second: Path, *, subset: str = "valid", labels: LabelSet = HAM10000
) -> dict[str, tuple[float, float, Estimate]]:
    """Compare the stored predictions of two model folders.

    Parameters
    ----------
    first, second : Path
    subset : str
    labels : LabelSet

    Returns
    -------
    dict
        Figure to its value in `first`, in `second`, and the difference second less first. The bootstrap draws the
        same lesions for both, so the interval is that of the difference.

    Raises
    ------
    DataError
        If a table is missing or damaged, or the two are not about the same pictures and truths.
    """
    tables = [read_predictions(folder / predictions_file(subset), labels) for folder in (first, second)]
    a, b = (table.sort_values("image", ignore_index=True) for table in tables)
    if not a[["image", "truth", "group"]].equals(b[["image", "truth", "group"]]):
        raise DataError(f"{first} and {second} were not validated on the same pictures.")
    truth = np.array([labels.index(code) for code in a["truth"]])
    groups = a["group"].to_numpy()
    probabilities = [probability_matrix(table, labels) for table in (a, b)]
    answers = [values.argmax(axis=1) for values in probabilities]
    plain = [metrics.confusion_matrix(truth, chosen, len(labels)) for chosen in answers]
    drawn = [
        metrics.resample_confusion(truth, chosen, groups, len(labels), draws=DRAWS, seed=SEED) for chosen in answers
    ]
    result: dict[str, tuple[float, float, Estimate]] = {}
    for name, figure in OVERALL.items():
        values = [float(figure(confusion)) for confusion in plain]
        low, high = metrics.percentile_interval(figure(drawn[1]) - figure(drawn[0]))
        result[name] = (values[0], values[1], Estimate(values[1] - values[0], len(truth), float(low), float(high)))
    weights = metrics.resample_weights(groups, draws=DRAWS, seed=SEED)
    losses = [-np.log(np.maximum(values[np.arange(len(truth)), truth], 1e-6)) for values in probabilities]
    draws = weights @ (losses[1] - losses[0]) / weights.sum(axis=1)
    low, high = metrics.percentile_interval(draws)
    means = [float(loss.mean()) for loss in losses]
    result["log_loss"] = (means[0], means[1], Estimate(means[1] - means[0], len(truth), float(low), float(high)))
    return result
