"""CLEAR Derm and TRIPOD+AI, filled from a run; what a run cannot know stays visible as a gap.

The items are named in our own words. Sources: Daneshjou et al. 2022, doi:10.1001/jamadermatol.2021.4915 (25 items;
their numbers here are from memory of the paper's order and may be off by one or two), and Collins et al. 2024, BMJ
385:e078378 (27 items in 52 parts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from skinai import wording
from skinai.evaluation.units import name_unit, put_in_units
from skinai.exports.facts import CardFacts


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes
    ----------
    number : str
    subject : str
    answer : str
        Empty where there is a gap.
    gap : str
        What is missing; empty where the item is answered in full.
    """

    number: str
    subject: str
    answer: str
    gap: str = ""


def fill_clear_derm(facts: CardFacts) -> list[Item]:
    """Return the 25 items of CLEAR Derm."""
    common, unit = _answers(facts), name_unit(facts.bundle.labels)
    others = wording.OTHER_LESIONS_GAP if facts.is_ham10000 else wording.OTHER_PICTURES_GAP
    rows = [
        ("1", "Kind of pictures", "pictures", ""),
        ("2", "Artefacts in the pictures", "artefacts", "Hair, ink and rulers are not annotated."),
        ("3", "How the pictures were taken", "acquisition", "Device and settings of each picture are not recorded."),
        ("4", "Preparation of the pictures", "preparation", ""),
        ("5", "Synthetic pictures made public", "synthetic", ""),
        ("6", "Public pictures referenced", "source", ""),
        ("7", "What is known of the patients", "patients", _tell_recorded(facts)),
        ("8", "Skin colour, and how it was assessed", "", wording.SKIN_TONE_GAP),
        ("9", "Bias from what is known of the patients", "metadata_bias", ""),
        ("10", "Division of the data", "split", ""),
        ("11", f"Number of pictures and {unit}s of each part", "flow", ""),
        ("12", "Test on data from elsewhere", "", "No data from another source were tested."),
        ("13", "Pictures from several makers of devices", "", "The device of each picture is not recorded."),
        ("14", "Frequency of the classes", "classes", "Of train and valid see the table under Data."),
        ("15", "Pictures that are none of the classes", "gate", others),
        ("16", "How and by whom the labels were made", "labels", f"Who labelled each {unit} is not recorded."),
        ("17", "Labels in common use", "label_names", ""),
        ("18", "Histopathology of the malignant lesions", "histology", ""),
        ("19", "How the algorithm was made", "development", ""),
        ("20", "How others can evaluate it", "public", ""),
        ("21", "Measures of performance", "performance", ""),
        ("22", "Comparison with others", "benchmark", "No comparison with clinicians on these pictures."),
        ("23", "Assessment of bias", "bias", wording.SKIN_TONE_GAP),
        ("24", "Use and conditions aimed at", "use", ""),
        ("25", "Consequences for patients and staff", "consequences", "No study of its use in a clinic."),
    ]
    return [_fill(common, *row) for row in rows]


def fill_tripod(facts: CardFacts) -> list[Item]:
    """Return the 52 parts of TRIPOD+AI's 27 items."""
    common, unit = _answers(facts), name_unit(facts.bundle.labels)
    no_study = "Not a study of patients; nothing was registered."
    rows = [
        ("1", "Title", "title", ""),
        ("2", "Abstract", "", "There is no separate abstract."),
        (
            "3a",
            "Background and existing models",
            "benchmark",
            f"Published models are not compared by the run{', but in docs/' if facts.is_ham10000 else ''}.",
        ),
        ("3b", "Who it is for", "use", ""),
        ("3c", "Known inequalities in health", "", wording.SKIN_TONE_GAP),
        ("4", "Objectives", "objective", ""),
        ("5a", "Sources of the data", "source", ""),
        ("5b", "Dates of the data", "", "When each picture was taken is not recorded."),
        ("6a", "Setting", "acquisition", ""),
        ("6b", "Who was included", "included", f"Why a {unit} was photographed is not recorded."),
        ("6c", "Treatments", "", "Not recorded; a diagnosis is not an outcome of treatment."),
        ("7", "Preparation of the data", "preparation", ""),
        ("8a", "Outcome and how it was established", "labels", ""),
        ("8b", "Who assessed the outcome", "", "Not recorded."),
        ("8c", "Blinding of the assessment", "", "Not recorded."),
        ("9a", "Choice of predictors", "predictors", ""),
        ("9b", "Definition of predictors", "preparation", ""),
        ("9c", "Who assessed the predictors", "", "Nobody: pixels are read by program."),
        ("10", "Sample size", "flow", "The size was given, not planned."),
        ("11", "Missing data", "missing", ""),
        ("12a", "Use and division of the data", "split", ""),
        ("12b", "Handling of predictors", "preparation", ""),
        ("12c", "Kind of model and how it was made", "development", ""),
        ("12d", "Differences between clusters", "", "The clinic of each picture is not recorded."),
        ("12e", "Measures and charts", "performance", ""),
        ("12f", "Updating of the model", "", "The model was not updated after development."),
        ("12g", "How predictions were calculated", "calculation", ""),
        ("13", "Imbalance of the classes", "imbalance", ""),
        ("14", "Fairness", "bias", wording.SKIN_TONE_GAP),
        ("15", "Output and thresholds", "thresholds", ""),
        ("16", "Development against evaluation data", "split", "Both are from the same source."),
        ("17", "Ethics", "ethics", "The approval of the data collection is not recorded here."),
        ("18a", "Funding", "", "Not stated by the run."),
        ("18b", "Conflicts of interest", "", "Not stated by the run."),
        ("18c", "Protocol", "", no_study),
        ("18d", "Registration", "", no_study),
        ("18e", "Data sharing", "source", ""),
        ("18f", "Code sharing", "public", ""),
        ("19", "Patients' involvement", "", "None."),
        ("20a", "Flow of participants", "flow", ""),
        (
            "20b",
            "Characteristics of participants",
            "patients",
            "Counts by subset are in dataset.json, not in this table.",
        ),
        ("20c", "Comparison with the development data", "compared", "Figures are compared, not the patients."),
        ("21", "Numbers in each analysis", "counts", ""),
        ("22", "The whole model", "public", ""),
        ("23a", "Performance with intervals", "performance", ""),
        ("23b", "Differences between clusters", "", "The clinic of each picture is not recorded."),
        ("24", "Results of updating", "", "The model was not updated after development."),
        ("25", "Interpretation", "interpretation", "Earlier studies are not weighed by the run."),
        ("26", "Limitations", "limits", ""),
        ("27a", "Poor or missing input", "gate", ""),
        ("27b", "What users need to know and do", "use", ""),
        ("27c", "Next steps and applicability", "", "Test on data from elsewhere and with clinicians."),
    ]
    return [_fill(common, *row) for row in rows]


def _fill(answers: dict[str, str], number: str, subject: str, key: str, gap: str) -> Item:
    answer = answers.get(key, "") if key else ""
    return Item(number, subject, answer, gap if answer or gap else "The run does not say.")


def _tell_recorded(facts: CardFacts) -> str:
    """Return what is not known of the patients."""
    known = [name for name in ("age", "sex", "site") if name not in facts.unrecorded]
    if not known:
        return "Nothing is recorded of the patients."
    *first, last = known
    return f"Nothing but {', '.join(first)}{' and ' if first else ''}{last} is recorded."


def _answers(facts: CardFacts) -> dict[str, str]:
    """Return what the run says, by subject."""
    report, bundle, summary, flow = facts.report, facts.bundle, facts.summary, facts.flow
    parts = ", ".join(f"{row.subset} {row.pictures_present:,} ({row.lesions_present:,})" for row in flow.itertuples())
    classes = ", ".join(f"{label.name} {report.class_lesions[label.code]:,}" for label in report.labels)
    named = [f"{point.name.replace('_', ' ')}: {point.threshold:.4f}" for point in facts.decision.operating_points]
    points = ", ".join(named)
    tried = {kind: counts for kind, counts in facts.refused.items() if kind not in ("valid", "drawn_lesions")}
    kinds, stopped = (sum(counts[place] for counts in tried.values()) for place in (1, 0))
    configurations = facts.configurations
    unit, malignant = name_unit(report.labels), bool(report.labels.malignant_codes)
    columns = sorted({put_in_units(group.column, unit).replace("_", " ") for group in report.subgroups})
    figures = {"Melanoma recall": report.classes["mel"]["recall"]} if "mel" in report.classes else {}
    figures |= {"Malignant AUC": report.scores["malignant_auc"]} if malignant else {}
    figures |= {wording.FIGURE_NAMES[name]: report.overall[name] for name in ("accuracy", "balanced_accuracy")}
    figures |= {
        wording.SCORES[name][0]: report.scores[name] for name in ("top3_accuracy", "expected_calibration_error")
    }
    performance = ", ".join(f"{name} {one}" for name, one in figures.items() if not math.isnan(one.value))
    answers = {
        "preparation": f"Decoded once, turned upright, framed to {bundle.frame.width_px} x {bundle.frame.height_px} "
        f"pixels ({bundle.frame.filter}); the same code for training and use.",
        "split": f"{facts.check('lesion_leakage').finding} {facts.check('near_duplicate_leakage').finding}",
        "flow": f"Listed {summary.pictures:,} pictures of {summary.lesions:,} {unit}s; used, pictures ({unit}s): "
        f"{parts}.",
        "classes": f"{unit.capitalize()}s tested: {classes}.",
        "label_names": f"{bundle.labels.name}: {', '.join(bundle.labels.names)}.",
        "development": f"{len(configurations)} network(s), {configurations[0]['architecture']}, started from "
        f"{configurations[0]['init']} weights; each configuration and seed is in bundle.json.",
        "public": "Split, predictions and hashes lie in the model folder; `python -m skinai evaluate` makes every "
        "figure again from the stored predictions, and `--predictions` with `--truth` scores any other set.",
        "performance": f"{performance}; each figure with n and 95 % interval by {unit}.",
        "benchmark": f"Always {report.baseline_code}: accuracy {report.baseline['accuracy']}, balanced accuracy "
        f"{report.baseline['balanced_accuracy']}.",
        "bias": f"Figures by {', '.join(columns)}. {facts.check('subgroup_gap').finding}" if columns else "",
        "title": f"{bundle.name}: {len(bundle.labels)} diagnoses from one picture, developed and tested on "
        f"{bundle.labels.name}.",
        "objective": f"To develop and to test, on {unit}s that were held out.",
        "predictors": "The pixels of one picture; age, sex and site are not used.",
        "missing": " ".join(summary.remarks),
        "calculation": "With the exported network that is served, once for every test picture.",
        "imbalance": f"Logit adjustment {configurations[0]['logit_adjustment']:g} in training; probabilities "
        "calibrated to the frequencies of valid afterwards.",
        "thresholds": f"Fitted on valid: {points or 'no threshold'}; prediction sets for a coverage of "
        f"{facts.decision.coverage:.0%}.",
        "counts": f"{report.pictures:,} pictures of {report.lesions:,} {unit}s; every figure states its own n.",
        "compared": facts.check("valid_test_gap").finding,
        "gate": f"A gate before the answer: of {kinds:,} pictures of {len(tried)} kinds that cannot be judged, held "
        f"out from its fit, it refused {stopped:,}."
        if tried
        else "",
        "interpretation": f"{facts.check('better_than_baseline').finding} {facts.check('calibrated').finding}",
        "use": f"{facts.use} {wording.NOT_A_DEVICE}",
        "limits": " ".join(facts.not_for),
    }
    if facts.is_ham10000:
        answers |= {
            "synthetic": "None among the data; lesions drawn by program serve as examples and tests only.",
            "pictures": "Dermoscopy of pigmented lesions, one lesion a picture.",
            "artefacts": "Present as in the clinic; what drawn hair, ink, rulers and dark corners change can be tried.",
            "acquisition": "Two sites, in Austria and in Australia (HAM10000).",
            "source": "HAM10000, doi:10.7910/DVN/DBW86T, CC BY-NC 4.0.",
            "patients": "Age, sex and site; counts by subset are in dataset.json.",
            "metadata_bias": "How a diagnosis was established tells the diagnosis, so it is never an input; nor are "
            "age, sex and site.",
            "labels": "Histopathology, follow-up, expert consensus or confocal microscopy, as HAM10000 states for "
            "each lesion.",
            "histology": "Every melanoma, basal cell carcinoma and actinic keratosis was proven by histopathology.",
            "included": "All listed pictures that were present and readable.",
            "ethics": "No patient was examined for this.",
            "consequences": wording.CONSEQUENCES,
        }
    elif not malignant:
        answers["histology"] = wording.NONE_MALIGNANT_REMARK
    return answers
