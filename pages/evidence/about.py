"""About: intended use, limits, and where the model in use comes from."""

import pandas as pd
import streamlit as st

from skinai import wording
from skinai.errors import ModelError
from skinai.labels import HAM10000
from skinai.model.bundle import Bundle
from skinai.ui import components, resources


def main() -> None:
    st.title("About")
    st.markdown(f"**{wording.NOTICE}** {wording.NOT_A_DEVICE}")
    try:
        bundle = resources.load_bundle_in_use()
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    if bundle.labels is HAM10000:
        st.markdown(wording.INTENDED_USE)
    st.header(wording.NOT_FOR_TITLE)
    if bundle.labels is HAM10000:
        st.markdown("\n".join(f"- {sentence}" for sentence in wording.NOT_FOR))
    else:
        st.markdown(wording.OWN_MODEL_REMARK)
    st.header("Your pictures")
    st.markdown(wording.PRIVACY)
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


def describe_network(bundle: Bundle) -> str:
    """Return the architecture; for an ensemble those of its members, and how often each looks at a picture."""
    members = bundle.facts.get("members")
    if members is None:
        return str(bundle.facts["training"]["configuration"]["architecture"])
    names = sorted({member["training"]["configuration"]["architecture"] for member in members})
    views = bundle.facts["training"]["views"]
    return f"{len(members)} networks ({', '.join(names)}), each for the views {', '.join(views).replace('_', ' ')}"


main()
