"""What a model card is written from: the parts of a model folder, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinai import wording
from skinai.data.split import SPLIT_FILE, SUBSETS, read_split
from skinai.data.summary import DATASET_FILE, DatasetSummary, read_summary
from skinai.errors import DataError
from skinai.evaluation.checks import Check, check_folder
from skinai.evaluation.decision import Decision, read_decision
from skinai.evaluation.report import EvaluationReport, read_report
from skinai.evaluation.subgroups import FEW_LESIONS
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle, load_bundle
from skinai.model.gates import read_refused_counts
from skinai.model.router import read_routed_counts


@dataclass(frozen=True)
class CardFacts:
    """All that a card, its checklists and its flow diagram say.

    Attributes
    ----------
    bundle : Bundle
    report : EvaluationReport
        Of `test`.
    checks : tuple of Check
    decision : Decision
    summary : DatasetSummary
    flow : DataFrame
        ``subset``, ``pictures`` and ``lesions`` as listed, ``pictures_present`` and ``lesions_present``.
    refused : mapping of str to tuple of int
        What the gate refuses: kind to how many of how many; empty without a gate.
    routed : mapping of str to mapping of str to int
        Where the router sends pictures: kind to ``pictures`` and a count a route; empty without a router.
    """

    bundle: Bundle
    report: EvaluationReport
    checks: tuple[Check, ...]
    decision: Decision
    summary: DatasetSummary
    flow: pd.DataFrame
    refused: Mapping[str, tuple[int, int]]
    routed: Mapping[str, Mapping[str, int]]

    @property
    def is_ham10000(self) -> bool:
        """Whether the pictures are HAM10000's, of which more is known than the files say."""
        return self.bundle.labels is HAM10000

    @property
    def configurations(self) -> list[Mapping[str, Any]]:
        """The training configuration of the network, or of each member."""
        members = self.bundle.facts.get("members")
        runs = [self.bundle.facts["training"]] if members is None else [member["training"] for member in members]
        return [run["configuration"] for run in runs]

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is known of no patient: of age, sex and site."""
        return list_unrecorded(self.summary)

    @property
    def use(self) -> str:
        """What the model is for."""
        data, report = self.bundle.facts["data"], self.report
        return wording.describe_use(
            self.bundle.labels,
            data=data["name"],
            train=data["train"],
            valid=data["valid"],
            tested=(report.pictures, report.lesions),
        )

    @property
    def not_for(self) -> tuple[str, ...]:
        """What the model is not for, a sentence each."""
        return wording.list_not_for(self.bundle.labels, few=list_few(self.report), unrecorded=self.unrecorded)

    def check(self, code: str) -> Check:
        """Return one of the named checks."""
        return next(check for check in self.checks if check.code == code)


def read_facts(folder: Path) -> CardFacts:
    """Read a model folder.

    Raises
    ------
    ModelError
        If the folder is refused.
    DataError
        If its report or another part is missing or belongs to another model.
    """
    folder = Path(folder)
    bundle = load_bundle(folder)
    report = read_report(folder, bundle.labels)
    if (report.fingerprint, report.subset) != (bundle.fingerprint, "test"):
        raise DataError(f"The report in {folder} is about {report.fingerprint} on {report.subset}, not this model.")
    summary = read_summary(folder / DATASET_FILE)
    return CardFacts(
        bundle=bundle,
        report=report,
        checks=check_folder(folder, report, fingerprint=bundle.fingerprint),
        decision=read_decision(folder, fingerprint=bundle.fingerprint, labels=bundle.labels),
        summary=summary,
        flow=_count_flow(read_split(folder / SPLIT_FILE), summary),
        refused=read_refused_counts(folder),
        routed=read_routed_counts(folder),
    )


def list_unrecorded(summary: DatasetSummary) -> tuple[str, ...]:
    """Return what is known of no patient in the data: of age, sex and site."""
    names = {"age_band": "age", "sex": "sex", "localization": "site"}
    known = {column for column in names if set(summary.by_column[column]["value"]) - {"", "unknown"}}
    return tuple(name for column, name in names.items() if column not in known)


def list_few(report: EvaluationReport) -> tuple[str, ...]:
    """Return the names of the classes that were tested on too few lesions to say much."""
    return tuple(label.name for label in report.labels if report.class_lesions[label.code] < FEW_LESIONS)


def _count_flow(split: pd.DataFrame, summary: DatasetSummary) -> pd.DataFrame:
    used = summary.used.groupby("subset")[["pictures", "lesions"]].sum()
    rows = []
    for subset in SUBSETS:
        inside = split[split["subset"] == subset]
        there = used.loc[subset] if subset in used.index else pd.Series({"pictures": 0, "lesions": 0})
        listed = inside["lesion_id"].nunique()
        # Counted by class, so that a patient with two diseases is there twice.
        present = min(int(there["lesions"]), listed)
        rows.append((subset, len(inside), listed, int(there["pictures"]), present))
    return pd.DataFrame(rows, columns=["subset", "pictures", "lesions", "pictures_present", "lesions_present"])
