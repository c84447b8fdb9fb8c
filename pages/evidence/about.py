"""About: intended use, limits, and where the model in use comes from."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.audit_log import open_audit_log
from skinai.errors import DataError, ModelError
from skinai.exports.facts import list_few, list_unrecorded
from skinai.model.bundle import Bundle
from skinai.ui import components, resources, signin
from skinai.ui.upkeep import find_longest_kept_s


def main() -> None:
    st.title("About")
    st.markdown(f"**{wording.NOTICE}** {wording.NOT_A_DEVICE}")
    try:
        bundle = components.choose_model()
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    show_use(bundle)
    st.header("Your pictures")
    show_privacy()
    st.header("The model in use")
    training, data, calibration = (bundle.facts[part] for part in ("training", "data", "calibration"))
    facts = {
        "Name": bundle.name,
        "Fingerprint": bundle.fingerprint,
        "Made (UTC)": bundle.facts["created_utc"],
        "Network": f"{describe_network(bundle)}, {training['parameters']:,} parameters",
        "Input": f"{bundle.frame.width_px} x {bundle.frame.height_px} pixels",
        "Pictures": f"{data['train']:,} for training, {data['valid']:,} to choose settings (valid)",
        "Calibration": f"temperature {calibration['temperature']:.2f} and class frequencies to the power of "
        f"{calibration['exponent']:.1f}, fitted on valid",
        "Class order": ", ".join(bundle.labels.codes),
        "Licence of the weights": bundle.facts["licence"],
    }
    components.show_table(
        pd.DataFrame({"Fact": list(facts), "Value": list(facts.values())}), alt="Facts about the model in use"
    )


def show_use(bundle: Bundle) -> None:
    """Say what the model is for and what it is not for; of classes that are not HAM10000's, what the folder says."""
    try:
        report = resources.load_report(bundle)
    except DataError:
        report = None
    try:
        unrecorded = list_unrecorded(resources.load_summary(bundle.folder))
    except DataError:
        unrecorded = ()
    data = bundle.facts["data"]
    use = wording.describe_use(
        bundle.labels,
        data=components.plain(data["name"]),
        train=data["train"],
        valid=data["valid"],
        tested=None if report is None else (report.pictures, report.lesions),
    )
    st.markdown(use)
    st.header(wording.NOT_FOR_TITLE)
    few = () if report is None else list_few(report)
    not_for = wording.list_not_for(bundle.labels, few=few, unrecorded=unrecorded)
    st.markdown("\n".join(f"- {sentence}" for sentence in not_for))
    for note in bundle.notes:
        st.markdown(components.plain(note))


def show_privacy() -> None:
    """Say what becomes of a visitor's pictures."""
    sentences, visitor = dict(wording.PRIVACY), signin.find_visitor()
    if open_audit_log() is not None:
        sentences["written"] = wording.PRIVACY_AUDITED
    if visitor is not None and visitor.login is not None:
        sentences["goes"] = wording.PRIVACY_SIGNED_IN
    said = (sentence.format(seconds=find_longest_kept_s()) for sentence in sentences.values())
    st.markdown("\n".join(f"- {sentence}" for sentence in said))


def describe_network(bundle: Bundle) -> str:
    """Return the architecture; for an ensemble those of its members, and how often each looks at a picture."""
    members = bundle.facts.get("members")
    if members is None:
        return str(bundle.facts["training"]["configuration"]["architecture"])
    names = sorted({member["training"]["configuration"]["architecture"] for member in members})
    views = bundle.facts["training"]["views"]
    return f"{len(members)} networks ({', '.join(names)}), each for the views {', '.join(views).replace('_', ' ')}"


main()
