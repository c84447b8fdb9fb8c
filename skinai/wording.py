"""What a visitor reads about a result and its limits, in one place, so that a clinician can review it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from skinai.data.images import MAX_BYTES
from skinai.evaluation.units import LESION, name_unit, put_in_units
from skinai.labels import HAM10000, Label, LabelSet
from skinai.model.router import ROUTES, expect_route

if TYPE_CHECKING:  # importing them costs pandas, which the command line does without
    from skinai.evaluation.comparison import McNemar
    from skinai.evaluation.decision_support import PredictiveValues
    from skinai.serving.assessment import Agreement, Assessment
    from skinai.serving.routing import Routing

MAX_UPLOAD_MB = MAX_BYTES // 1024 // 1024
# What one visit may hold in memory: the files of a batch, six pictures of one lesion, one picture, a camera's, a split.
MAX_BATCH_MB = 250
MAX_SESSION_MB = 420
MAX_SESSION_FILES = 600
UPLOADS_FULL = "A visit holds at most {files} files and {size} MB. Remove some, or load the page anew."
HOST_UNKNOWN = "This server does not answer to that name; server.allowedHosts has those to which it does."
ADDRESS_UNKNOWN = "There is nothing at this address."
SERVER_FAILED = "The server could not answer; its log says why."
SIGNED_IN_ONLY = "Only who is signed in gets an answer here."

SIGN_IN_ON = "Sign-in is on; accounts listed: {accounts}, domains listed: {domains}."
SIGN_IN_TITLE = "skinai"
SIGN_IN_ASKED = "Only accounts that are listed on this server may use it."
SIGN_IN_BUTTON = "Sign in"
SIGN_IN_BUTTON_OF = "Sign in with {provider}"
SIGN_IN_BROKEN = "Sign-in is not set up correctly on this server, so nobody is let in. Its log says why."
SIGN_IN_UNLISTED = "You are signed in as {name}, an account that is not listed on this server."
SIGN_IN_UNVERIFIED = (
    "You are signed in as {name}, and your provider does not say that this e-mail address has been verified, so it is "
    "not let in."
)
SIGN_IN_ENDED = {
    "idle": "You were signed out because nothing was done for a while.",
    "too long": "You were signed out because the longest time of a visit is over.",
    "signed out": "You have signed out.",
}
SIGNED_IN_AS = "{name} ({role})"
SIGN_OUT_BUTTON = "Sign out"
ROLE_TOO_LOW = "This page needs the role {needed}; yours is {role}."
ROLE_NO_PICTURES = "Pictures need the role reviewer."
ROLE_NO_AUDIT = "To make one here needs the role admin."

NOTICE = "Decision aid for research and education. Not a diagnosis."
NOT_A_DEVICE = "skinai is not a medical device and has not been cleared or tested for the care of patients."
RESULT_NOTE = (
    "Not a diagnosis. A spot that is new, changes, bleeds, does not heal or worries needs a doctor, whatever this says."
)
BENIGN_NOTE = "A benign diagnosis on top does not rule out cancer."
MISSED_NOTE = "In its holdout test the model put a benign diagnosis first for {missed} of {n} melanoma pictures."

SOURCE_LABEL = "Where the picture comes from"
UPLOAD_LABEL = f"Dermoscopy picture (JPEG, PNG or DICOM, up to {MAX_UPLOAD_MB} MB)"
UPLOAD_ANY_LABEL = f"Dermoscopy picture or photograph of the skin (JPEG, PNG or DICOM, up to {MAX_UPLOAD_MB} MB)"
UPLOAD_SEVERAL_LABEL = f"2 to 6 pictures of the same lesion (JPEG, PNG or DICOM, up to {MAX_UPLOAD_MB} MB each)"
UPLOAD_HELP = (
    "Drag a file here or choose one. It goes only to the computer that runs this program, which keeps it in memory and "
    "writes no file. Leave out faces, names and labels."
)
SEVERAL_LABEL = "Several pictures of one lesion"
SEVERAL_HELP = "They are taken together into one answer. Pictures of several lesions belong on the Batch page."
TOO_MANY_PICTURES = "{given} pictures were given; at most {most} of one lesion are taken together."
SEVERAL_TITLE = "The pictures one by one"
SEVERAL_REMARK = (
    "The answer above takes them together: the geometric mean of their probabilities. The figures of the holdout test "
    "are those of single pictures."
)
PASTE_LABEL = "Click here and press Ctrl+V (on a Mac: Cmd+V) to paste a picture"
PASTE_NOTHING = "The clipboard holds no picture."
PASTE_TOO_LARGE = "The picture is too large to paste; up to {most} MB can be. Upload it as a file."
PASTE_TAKEN = "Picture pasted. Paste another one to replace it."
CAMERA_TOGGLE = "Turn the camera on"
CAMERA_LABEL = "Take a picture"
CAMERA_REMARK = (
    "Only for a camera with a dermatoscope attached. The model knows dermoscopy only; its answer for an ordinary "
    "photograph means nothing."
)
IDENTIFIERS_LABEL = "Show who the file says the patient is"
IDENTIFIERS_HELP = "Shown here only. Nothing of it is kept or gets into a record."
IDENTIFIERS_NONE = "The file names nobody."
EXAMPLE_LABEL = "Drawing"
HOLDOUT_PICTURE_LABEL = "Holdout picture"
HOLDOUT_PICTURE_REMARK = (
    "Pictures of HAM10000 that the model was not trained on, from the data folder on this computer, three of each "
    "diagnosis (so not as frequent as in the data). The true diagnosis is shown with the answer."
)
HOLDOUT_PICTURE_GONE = "The picture can no longer be read from the data folder."
TRUTH = "What HAM10000 says: {name}."
DRAWN_REMARK = "This picture was drawn by program. It shows no patient and no disease; the answer means nothing."
EMPTY_STATE = (
    "Give a dermoscopy picture of one skin lesion to see how the model divides 100 % among seven diagnoses, always the "
    "same seven in the same order."
)
SHARES_REMARK = (
    "Shares that the model gives, not this patient's risk. They follow HAM10000, where melanoma is far more frequent "
    "than in a practice."
)
FRAME_REMARK = (
    "{width} x {height} pixels as decoded. The model sees the middle of it in the ratio 4:3, brought to {frame_width} "
    "x {frame_height} pixels, a portrait picture turned by a right angle; a lesion at the edge may be cut off."
)

# How sure an answer is, in fixed words beside the figures.
CERTAINTY = {
    "clear_lead": "Clear lead",
    "undecided": "Undecided between {first} and {second}",
    "cannot_assess": "Cannot assess",
}
CERTAINTY_REMARKS = {
    "clear_lead": "Of the {n:,} holdout pictures with a clear lead for {name}, it was right for {share}.",
    "undecided": "Of the {n:,} holdout pictures that it was undecided about, one of the two was right for {share}.",
    "cannot_assess": "No two of them have 60 % together.",
}
REFUSED_REMARK = (
    "The gate refused a picture, so nothing that was measured on holdout pictures holds for this answer, and it is "
    "not set against a threshold."
)

# Documents for the record avoid the word for what a doctor makes.
RECORD_TITLE = "Record of a model's answer for one skin lesion"
_OTHER_RECORD_TITLE = "Record of a model's answer for pictures of the skin"
RECORD_NOTICE = "Decision aid for research and education, not a medical device. It does not say what a patient has."
RECORD_LIMITS = (
    "The shares are those that the model gives, not this patient's risk.",
    "A low summed malignant probability does not rule out cancer.",
    "The model knows seven conditions and must choose among them; others exist.",
    "Nothing is known of how it does on dark skin, and its holdout pictures come from the source of its training ones.",
    "A spot that is new, changes, bleeds, does not heal or worries needs a doctor, whatever this says.",
)
NONE_MALIGNANT_REMARK = "No class of this model is marked malignant, and no answer of it rules out cancer."
RECORD_INSISTED = "The gate refused a picture, and the answer is given because the user insisted. It may mean nothing."


WHY_PDF = "class activation map for {name}, what speaks for it and where; no proof that the answer is right."
OWN_FIRST = "The user's own answer, locked before the model's was shown"
STATED = "Stated by the user"
STATED_UNUSED = "The model does not use it."
SPREAD = (
    "{count} pictures of one lesion, taken together. One by one, their summed malignant probability is {least} to "
    "{greatest}."
)


def say_place(before: int) -> str:
    """Return what somebody reads whose turn it is not yet."""
    if before <= 0:
        return "Other visitors' pictures are being looked at; yours is next."
    people = "1 visitor comes" if before == 1 else f"{before} visitors come"
    return f"Other visitors' pictures are being looked at; {people} before you."


def say_count(labels: LabelSet) -> str:
    """Return how many classes there are, in a word for HAM10000's."""
    return "seven" if labels is HAM10000 else str(len(labels))


def speak_of(labels: LabelSet, sentence: str) -> str:
    """Return a sentence about lesions as it is said of a model; see :mod:`skinai.evaluation.units`."""
    return put_in_units(sentence, name_unit(labels))


def name_record(labels: LabelSet) -> str:
    """Return the title of a document about one answer."""
    return RECORD_TITLE if name_unit(labels) == LESION else _OTHER_RECORD_TITLE


def name_aid(labels: LabelSet) -> str:
    """Return what kind of program a document is from."""
    return f"Decision aid for {'dermoscopy' if labels is HAM10000 else 'pictures of the skin'}, research and education"


def name_shares(labels: LabelSet) -> str:
    """Return what a document about one answer holds."""
    of_what = "pictures of one skin lesion" if name_unit(labels) == LESION else "pictures of the skin"
    return f"Shares that a model gives for {of_what}"


def list_limits(labels: LabelSet) -> tuple[str, ...]:
    """Return what a document says of a model's limits, a sentence each."""
    if labels is HAM10000:
        return RECORD_LIMITS
    shares, low_sum, _, unknown, doctor = RECORD_LIMITS
    classes = f"The model knows {say_count(labels)} classes and must choose among them; others exist."
    return shares, low_sum if labels.malignant_codes else NONE_MALIGNANT_REMARK, classes, unknown, doctor


def say_share(value: float) -> str:
    """Return a probability in words that never round a small one to nothing.

    >>> say_share(0.0001), say_share(0.25)
    ('under 0.1%', '25.0%')
    """
    return "under 0.1%" if 0 < value < 0.001 else f"{value:.1%}"


def say_change(value: float) -> str:
    """Return a change of a probability in percentage points.

    >>> say_change(0.1), say_change(-0.0001)
    ('+10.0 points', 'under 0.1 points')
    """
    return f"{100 * value:+.1f} points" if abs(value) >= 0.001 else "under 0.1 points"


def describe_certainty(assessment: Assessment) -> str:
    """Return how sure an answer is, in fixed words; empty where the model has no rules."""
    if assessment.certainty is None:
        return ""
    first, second = assessment.leaders
    return CERTAINTY[assessment.certainty].format(first=first.name, second=second.name)


def describe_agreement(agreement: Agreement, label: Label) -> str:
    """Return how steady the answer is when the picture is mirrored and turned, in words with the figure."""
    count, versions = agreement.count_for(label), len(agreement.tops)
    word = "Steady" if count == versions else "Nearly steady" if count >= versions - 1 else "Unsteady"
    said = (
        f"{word}: {label.name} is the most probable in {count} of {versions} versions "
        "(as given, mirrored, upside down, both)"
    )
    if any(malignant > 0 for malignant in agreement.malignant):
        low, high = say_share(min(agreement.malignant)), say_share(max(agreement.malignant))
        said += f"; the summed malignant probability is {low}" + (f" to {high}" if low != high else " in all")
    return said + "."


def summarise(answer: Assessment, *, shown: bool, insisted: bool) -> str:
    """Return an answer in one or two sentences for a document."""
    if not shown:
        return f"{CERTAINTY['cannot_assess']}. The gate refused the picture, so no condition is named."
    top, labels = answer.prediction.top, answer.prediction.labels
    said = f"Most probable: {top.name} ({answer.prediction.by_code[top.code]:.1%})."
    if certainty := describe_certainty(answer):
        said += f" {certainty}."
    if labels.malignant_codes:
        said += f" {MALIGNANT_LABEL}: {say_share(answer.prediction.malignant_probability)}."
    return f"{RECORD_INSISTED} {said}" if insisted else said


CLINICIAN_TOGGLE = "Clinician first"
CLINICIAN_HELP = "You state your own answer and lock it before the model's answer is shown."
CLINICIAN_TITLE = "Your own answer first"
CLINICIAN_REMARK = "Once it is locked it cannot be changed for this picture, and the model's answer is shown beside it."
CLINICIAN_LABEL = "Most probable in your view"
CLINICIAN_CERTAINTY = "How sure you are"
CLINICIAN_LOCK = "Lock my answer and show the model's"
CLINICIAN_TOO_LATE = (
    "The model's answer for this picture has been shown in this session, so an answer of your own can no longer come "
    "first."
)
CLINICIAN_MISSING = "Choose one first."
CLINICIAN_SAME = "You said {mine} ({certainty}); the model puts the same first ({share})."
CLINICIAN_OTHER = "You said {mine} ({certainty}); the model gives that {own_share} and puts {top} first ({share})."
PATIENT_TITLE = "About the patient (optional)"
PATIENT_REMARK = "For the record only: the model does not use age, sex or site, and the answer is the same without."

AGREEMENT_TITLE = "How steady it is"
TURNS_BUTTON = "Ask for the mirrored and the upside-down picture"
TURNS_LATER = "Other visitors are waiting, so this was left for later."
STRESS_BUTTON = "Stress it: hair, ruler, ink, dark corners, blur, tint, rotation"
STRESS_REMARK = (
    "The same picture with each drawn over it by program. A change of the summed malignant probability says that the "
    "answer hangs on more than the lesion."
)
STRESS_NAMES = {
    "as_given": "As given",
    "hair": "Hair",
    "ruler": "Ruler",
    "ink": "Ink",
    "dark_corners": "Dark corners",
    "blur": "Slight blur",
    "tint": "Warm tint",
    "rotation": "Turned by 30 degrees",
}
RECORD_HEADING = "For the record"
RECORD_REMARK = (
    "Pictures are encoded anew, without the metadata and the name of your file. The JSON, CSV and FHIR documents hold "
    "no picture."
)

BATCH_TITLE = "Batch"
BATCH_REMARK = (
    "Many pictures, one row each, every picture on its own. "
    "A zip archive is opened in memory; its folders are searched."
)
BATCH_LABEL = (
    f"Dermoscopy pictures (JPEG, PNG or DICOM) or zip archives, up to {MAX_UPLOAD_MB} MB each and {MAX_BATCH_MB} MB "
    "together"
)
BATCH_FOLDER_LABEL = "Choose a whole folder"
BATCH_START = "Analyse {count} pictures"
BATCH_START_ONE = "Analyse 1 picture"
BATCH_STOP = "Stop"
BATCH_OLD = "These are the answers for the files that were analysed last, not for those chosen now."
BATCH_CLEAR = "Clear the table"
BATCH_STOPPED = "Stopped after {done} of {count}."
BATCH_DONE = "{answered} of {count} answered, {refused} refused by the gate, {unreadable} not readable."
BATCH_INSIST = "Show answers for refused pictures too"
BATCH_CERTAINTY = {"clear_lead": "clear lead", "undecided": "undecided", "cannot_assess": "cannot assess"}
BATCH_EMPTY = "Give some pictures, a folder or a zip archive. Nothing is analysed before you press the button."
BATCH_NOTHING = "There is no picture in these files."
BATCH_OTHER_MODEL = "The table below is by the model {name}, not by the one chosen now."
BATCH_TOO_MANY = "There are {count} pictures; at most {most} are analysed at once. The first {most} are taken."

TOP_LABEL = "Most probable of the {count}"
CHART_TITLE = "Probability of each diagnosis"
MALIGNANT_LABEL = "Summed malignant probability"
MALIGNANT_HELP = (
    "The probabilities of melanoma, basal cell carcinoma and actinic keratosis / Bowen's disease added up. Actinic "
    "keratosis is pre-malignant, Bowen's disease is carcinoma in situ. A low sum does not rule out cancer."
)
REFUSED_TITLE = "Not analysed."
REFUSED_NOTE = (
    "The gate refuses pictures that the model cannot judge, so no diagnosis is named. It is wrong now and then: a good "
    "dermoscopy picture can be refused, and a bad one can pass."
)
INSIST_LABEL = "Show the answer all the same"
INSISTED = "{refused} refused, and the answer is shown because you insisted. It may mean nothing. {reasons}"
GATE_PASSED = "The gate let every picture pass."
GATE_REFUSED = "The gate refused a picture."
NO_GATE = "No gate was fitted for this model: it answers for every picture that can be read, lesion or not."

PLAUSIBLE_TITLE = "What else it may be"
PLAUSIBLE_LABEL = "In the prediction set"
PLAUSIBLE_REMARK = (
    "Each diagnosis has its own limit, set on the valid subset so that about {coverage:.0%} of its pictures get it "
    "into their set. Limits of rare diagnoses are low, so a more probable frequent one can be left out."
)
PLAUSIBLE_REACHED = "On the holdout pictures the true diagnosis was in the set for {overall}{of_malignant}."
SEVEREST_LABEL = "Most severe one in it"
NONE_SEVERE = "none of the malignant ones"
NONE_SEVERE_REMARK = (
    "This does not rule out cancer: of the {n} malignant or pre-malignant holdout pictures, {share} had no malignant "
    "diagnosis in their set."
)

CALL_TITLE = "Against a threshold"
CALL_ABOVE = "The summed malignant probability, {sum}, reaches the threshold of {threshold:.1%}: to be looked at."
CALL_BELOW = "The summed malignant probability, {sum}, stays below the threshold of {threshold:.1%}."
CALL_REMARK = (
    "The threshold was fixed on the valid subset to find {wanted:.0%} of the {malignant} pictures. Of the holdout "
    "pictures it found {sensitivity} of those (sensitivity) and left out {specificity} of the others (specificity)."
)
CALL_REMARK_SPECIFICITY = (
    "The threshold was fixed on the valid subset to leave out {wanted:.0%} of the pictures that are not {malignant}. "
    "Of the holdout pictures it found {sensitivity} of the {malignant} ones (sensitivity) and left out {specificity} "
    "of the others (specificity)."
)
POINT_LABEL = "Threshold fixed for"
POINT_NAMES = {
    "sensitivity_0.90": "sensitivity .90",
    "sensitivity_0.95": "sensitivity .95",
    "specificity_0.80": "specificity .80",
}
PREVALENCE_LABEL = "Malignant ones among 1,000 that you photograph"
PREVALENCE_REMARK = (
    "Of 1,000 such pictures this threshold misses {missed} malignant ones and sends on {needless} others. Of those "
    "sent on, {positive} are malignant; of those not sent on, {negative} are not."
)
PREVALENCE_NOTE = (
    "Computed from the sensitivity and specificity above, without their intervals; in another clinic, with another "
    "camera, both will differ."
)
KERATOSIS_NOTE = " Actinic keratosis counts as malignant here."
CASES_REMARK = (
    "Of the {lesions} holdout lesions with the nearest sums ({least:.1%} to {greatest:.1%}), {malignant} were "
    "{malignant_name} (95 %: {low:.0%} to {high:.0%}). Of all holdout lesions {share:.0%} were, which is more than in "
    "most practices."
)


def name_malignant(labels: LabelSet) -> str:
    """Return what the group with the summed probability is called."""
    return "malignant or pre-malignant" if labels is HAM10000 else "malignant"


def describe_predictive_values(values: PredictiveValues) -> str:
    """Return what a threshold does to 1,000 pictures; small numbers are never rounded to none, nor shares to all."""

    def count(number: float) -> str:
        return f"{number:.0f}" if number >= 1 or number == 0 else "fewer than 1"

    def share(value: float) -> str:
        if math.isnan(value):
            return "none there are"
        return f"{value:.1%}" if value <= 0.999 or value == 1 else "more than 99.9%"

    return PREVALENCE_REMARK.format(
        missed=count(values.missed),
        needless=count(values.needless),
        positive=share(values.positive),
        negative=share(values.negative),
    )


WHY_TITLE = "What speaks for a diagnosis, and where"
WHY_REMARK = (
    "Class activation map: what speaks for the chosen diagnosis, against the mean of all, in the picture as the model "
    "sees it. Yellow is the most for this diagnosis, however improbable it is, so maps of two diagnoses cannot be "
    "compared. It shows where, not why, and is no proof that the answer is right."
)
WHY_VIEWS = " The model averages its answers for several views of the picture; the map is that of the first one."
WHY_CLASS = "Diagnosis"
WHY_OPACITY = "Opacity"
WHY_NOTHING = "Nothing in the picture speaks for this diagnosis more than for the others."
WHY_NONE = "This network has no class activation map."

SIMILAR_TITLE = "Similar training pictures"
SIMILAR_REMARK = (
    "The training pictures that the model describes by the most similar numbers, one a lesion. It does not use them "
    "for its answer, and they are no evidence about this lesion."
)
SIMILAR_KNOWN = (
    "This picture, or a copy of it, is among the training pictures ({image}), so the figures of the holdout test do "
    "not apply to it."
)
METHODS = {
    "histo": "histopathology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
    "unknown": "not stated",
}
ISIC_ADDRESS = "https://api.isic-archive.com/images/{image}/"
GROUPS = {
    "akiec": "pre-malignant or in situ",
    "bcc": "malignant",
    "bkl": "benign",
    "df": "benign",
    "mel": "malignant",
    "nv": "benign",
    "vasc": "benign",
}


def describe_group(label: Label, labels: LabelSet) -> str:
    """Return the risk group in words; of a user's own classes only what the user said."""
    if labels is HAM10000:
        return GROUPS[label.code]
    if not labels.malignant_codes:
        return "not stated"
    return "malignant" if label.malignant else "not marked malignant"


NOT_FOR_TITLE = "What this model is not for"
OWN_MODEL_REMARK = (
    "What this model is not for depends on the pictures that it was trained on: it knows nothing of patients, devices, "
    "conditions and skin tones that were not among them."
)
NOT_FOR = (
    "Deciding about a patient, ruling out cancer, or putting off a biopsy.",
    "Pictures taken without a dermatoscope, and rashes such as acne, psoriasis or eczema.",
    "Nails, mucosa, the palms and soles, scars, tattoos and wounds: HAM10000 has few or none of them.",
    "Lesions without pigment, such as amelanotic melanoma, and children: HAM10000 collects pigmented lesions and, of "
    "people under 20, almost only naevi.",
    "Any diagnosis outside the seven: the model must choose one of them and cannot say that none fits. "
    "Invasive squamous cell carcinoma and Merkel cell carcinoma, for two, are not among them.",
    "Dark skin: HAM10000 records no skin tone and comes from clinics in Austria and Australia, "
    "so nothing is known of how the model does on dark skin.",
)

OTHER_USE = (
    "This model is for those who want to see what a small network makes of pictures like those that it was trained on. "
    "It divides 100 % among {count} classes: {names}. It was trained on {train:,} pictures of the data called {data}; "
    "{valid:,} others were used to choose settings."
)
OTHER_TESTED = (
    " Its report says how often it was right on {pictures:,} pictures of {lesions:,} lesions that it had not seen."
)
OTHER_UNTESTED = " It has not been tested on pictures that were held out."


def describe_use(labels: LabelSet, *, data: str, train: int, valid: int, tested: tuple[int, int] | None) -> str:
    """Return what a model is for: HAM10000's as it was written down, any other from what its folder says.

    Parameters
    ----------
    labels : LabelSet
    data : str
        What the training pictures are called.
    train, valid : int
        How many pictures.
    tested : tuple of two int, or None
        Pictures, and what they belong to, of the holdout run; None where there was none.
    """
    if labels is HAM10000:
        return INTENDED_USE
    names = ", ".join(labels.names)
    use = OTHER_USE.format(count=say_count(labels), names=names, data=data, train=train, valid=valid)
    if tested is None:
        return use + OTHER_UNTESTED
    return use + speak_of(labels, OTHER_TESTED).format(pictures=tested[0], lesions=tested[1])


def list_not_for(labels: LabelSet, *, few: Sequence[str] = (), unrecorded: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what a model is not for, a sentence each.

    Parameters
    ----------
    labels : LabelSet
    few : sequence of str
        Names of classes that were tested on few cases.
    unrecorded : sequence of str
        What is not known of any patient, such as ``"age"``.
    """
    if labels is HAM10000:
        return NOT_FOR
    unit = name_unit(labels)
    said = ["Deciding about a patient, or putting off an examination."]
    if labels.malignant_codes:
        said.append("Ruling out cancer: a low summed malignant probability does not.")
    else:
        said.append(
            "Ruling out cancer: no class of this model is marked malignant, and a cancer gets one of its classes like "
            "anything else."
        )
    if labels.dermoscopy_codes:
        names = ", ".join(labels.by_code(code).name for code in labels.dermoscopy_codes)
        said.append(f"Saying more of what it calls {names}: that is to be looked at with a dermatoscope.")
    said += [
        f"Whatever is none of the {say_count(labels)} classes: the model must choose one of them.",
        "Pictures of another kind than those that it was trained on: other devices, parts of the body or patients.",
    ]
    if few:
        said.append(f"{', '.join(few)}: tested on too few {unit}s to say much.")
    if unrecorded:
        said.append(
            f"Comparing patients: nothing is recorded of their {', '.join(unrecorded)}, so nothing is known of how the "
            "model does by them."
        )
    return (*said, f"Dark skin: {SKIN_TONE_GAP[0].lower()}{SKIN_TONE_GAP[1:]}")


MODEL_UNUSABLE = "The model cannot be used, so no picture is analysed."
AUDIT_BROKEN = "What is answered cannot be written down, so nothing is answered."
REPORT_UNUSABLE = "There is no report card to show."
DATASET_UNUSABLE = "There are no counts to show."

EXPLORER_SECTIONS = {
    "overview": "Overview",
    "columns": "Two columns",
    "gallery": "Gallery",
    "audit": "Audit",
    "split": "Split",
}
DATA_LABEL = "Data"
SOURCES = {"folder": "The data folder here", "model": "What the model was trained and tested on"}
EXPLORER_MODEL = (
    "{name} lists {listed:,} pictures of {lesions:,} lesions. The copy used for this model holds **{used:,} pictures "
    "of {used_lesions:,} lesions**, divided into train, valid and test by lesion."
)
EXPLORER_FOLDER = "{name}: {listed:,} listed pictures of {lesions:,} lesions; **{present:,} pictures are here**."
EXPLORER_FOLDER_ONLY = (
    "{name}: {listed:,} listed pictures, of which nothing says which show the same lesion; **{present:,} pictures are "
    "here**."
)
EXPLORER_TOTALS_ONLY = "**{pictures:,} pictures.**"
EXPLORER_TOTALS = "**{pictures:,} pictures of {lesions:,} lesions.**"
EXPLORER_RATIO = " {ratio:.0f} times as many pictures of {most} as of {least}."
REMARKS_TITLE = "Gaps in the data, counted over all listed pictures"
FACETS = {
    "dx": "Diagnosis",
    "sex": "Sex",
    "age_band": "Age band (years)",
    "localization": "Site on the body",
    "dx_type": "How the diagnosis was established",
    "dataset": "Where it comes from",
    "subset": "Subset of the split",
    "lesion_size": "Pictures of the same lesion",
    "picture": "Picture",
    "age": "Age",
}
FILTER_LABEL = "Filters"
FILTER_EMPTY = "None: click a bar, or choose here"
FILTER_NOTHING = "No picture passes these filters."
SHOW_TABLES = "Show the numbers as tables"
PYRAMID_TITLE = "Age and sex"
PYRAMID_REST = "{count:,} {unit} of another or unknown sex are not drawn."
UNKNOWN_TITLE = "What is not known"
COUNTS_ONLY = (
    "These counts travel with the model and can be filtered by diagnosis and subset. With the data folder at hand "
    "(`skinai app --data DIR`), every chart filters every other one, and there are a gallery and an audit."
)
TAKE_ROWS = "Take these {count:,} rows along (CSV)"
TAKE_COUNTS = "Take these counts along (CSV)"
CROSS_DOWN = "Down"
CROSS_ACROSS = "Across"
CROSS_KINDS = {"counts": "Counts", "rows": "Shares of the row", "columns": "Shares of the column"}
CROSS_ONE = "There is no second column to set against it."
GALLERY_NO_DATA = "The gallery needs the data folder: start with `skinai app --data DIR`, or set `SKINAI_DATA`."
GALLERY_COUNT = (
    "{pictures:,} pictures of {lesions:,} lesions, the pictures of a lesion together; {absent:,} are absent."
)
GALLERY_COUNT_ONLY = "{pictures:,} pictures; {absent:,} are absent."
GALLERY_RIGHT = "Model: {answer} ({certainty:.0%}), right"
GALLERY_WRONG = "Model: {answer} ({certainty:.0%}), WRONG"
GALLERY_UNREADABLE = "It cannot be read: {reason}"
AUDIT_NO_DATA = "The audit needs the data folder: start with `skinai app --data DIR`, or set `SKINAI_DATA`."
AUDIT_SOURCE = "Read as: {source}."
AUDIT_COMMAND = (
    "Near-duplicates are looked for on the command line, which takes some minutes: "
    "`python -m skinai data audit --data DIR`. What it finds is shown here afterwards."
)
AUDIT_QUICK = "Read every picture now"
AUDIT_BUSY = "An audit is running; what it finds is shown here once it is done."
AUDIT_READING = "Reading the pictures"
AUDIT_REMARKS = "Told by the table"
AUDIT_NOTHING = "Nothing."
AUDIT_FINDINGS = "Findings"
AUDIT_SIZES = "Sizes"
AUDIT_MORE_SIZES = "And {count:,} more sizes."
AUDIT_PAIRS = "The same picture, or nearly, under different lesions"
AUDIT_NO_PAIRS = "No two lesions share a picture, nor nearly one."
AUDIT_NO_COPIES = "No two lesions share a file or its pixels. Near-duplicates were not looked for."
AUDIT_PAIRS_REMARK = (
    "{count:,} pairs, {known:,} of them published. A split by lesion alone can put the two on different sides. Look at "
    "each: a pair can be two lesions that look alike. Saved as `near_duplicates.csv` in the data folder, the list "
    "keeps each pair on one side of every split made from it."
)
AUDIT_TAKE_PAIRS = "Take the list along (CSV)"
AUDIT_PAIR = "{kind}, {matches} matching features  \n{known}"
AUDIT_KNOWN = "published"
AUDIT_NEW = "not in the published list"
SPLIT_REMARK = (
    "A picture held out has leaked if its lesion, or a near-identical picture of another lesion, is in train: a "
    "network can then recognise the lesion in place of the disease."
)
SPLIT_UPLOAD = "Your own split: a table with a picture and a subset (train, valid, test) a row"
SPLIT_OWN = "The split of {name}"
SPLIT_GIVEN = "Your split"
SPLIT_CLEAN = "No lesion and no listed near-identical pair lies on two sides."
SPLIT_FOUND = (
    "Of the {count:,} further pairs that the audit of this folder has found, {divided:,} lie on two sides: {names}. "
    "Look at them under Audit: some may be different lesions."
)
SPLIT_UNKNOWN = (
    "Nothing says which pictures show the same lesion, so only near-identical pairs were looked for; none lies on two "
    "sides."
)
SPLIT_LEAKS = "{lesions:,} lesions and {pairs:,} near-identical pairs lie on two sides."
SPLIT_ALL = "all"
SPLIT_EXPECTED = (
    "Expected: the share that would leak if pictures, not lesions, were drawn at random into subsets of these sizes; "
    "computed from the number of pictures of each lesion."
)
SPLIT_NO_TABLE = "By diagnosis with the data folder, whose table names the diagnoses."
SPLIT_LESIONS = "{count:,} lesions on two sides"
SPLIT_PAIRS = "{count:,} near-identical pairs on two sides"
SPLIT_NOT_LISTED = "{count:,} pictures of the split are not in the data folder's table; left out."
SPLIT_NOT_SPLIT = "{count:,} pictures of the data folder are not in the split."

CLAIM_TITLE = "The claim that started this project"
CLAIM_REMARK = (
    "Claimed, not reproduced under a lesion-grouped split. This is what the first description of the project's network "
    "(seed-cnn here) stated, without n, interval or kind of split; the other classes were given as .8 to .9, naevi "
    "among them. A melanoma F1 above the naevus F1 is unusual. The likeliest reason, not proven, is training in one "
    "class order and display in another. Split by picture, seed-cnn finds clearly more melanomas and benign keratoses "
    "here: about 68 % of the melanoma test pictures then have a sister picture of the same lesion in train (mean of "
    "200 random 80/20 splits), and that run was longer too (54 against 46 epochs). Neither reaches what was claimed, "
    "but for the naevi."
)
# What the original description of the convolutional network states, by the figure that is set beside it.
CLAIM = {
    "accuracy": ("Accuracy", 0.875),
    "weighted_f1": ("F1 (here: weighted F1)", 0.869),
    "mel": ("Melanoma F1", 0.937),
    "bkl": ("Seborrhoeic keratosis F1 (here: benign keratosis-like)", 0.628),
    "df": ("Dermatofibroma F1", 0.755),
}
CLAIM_OTHERS = ("Melanocytic naevus F1", ".8 to .9")
CLAIM_SPLITS = {"lesion": "seed-cnn, lesion-grouped", "picture": "seed-cnn, split by picture (leaks)"}

FIGURE_HELP = {
    "accuracy": "The share of pictures whose most probable class is the right one. The most frequent class dominates "
    "it: "
    "compare it with the baseline below.",
    "balanced_accuracy": "The mean over the classes of the share found: a rare class counts as much as a frequent one.",
    "macro_f1": "The mean F1 of the classes, each counting the same.",
    "weighted_f1": "The mean F1 of the classes, each counting as often as it occurs.",
    "melanoma_recall": "The share of melanoma pictures for which melanoma was the most probable class.",
    "cohens_kappa": "Agreement with the truth beyond what chance gives: 1 is perfect, 0 is chance.",
    "top3_accuracy": "The share of pictures whose right class is among the three most probable ones. Below it stands "
    "the share of the three most frequent classes.",
}
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "melanoma_recall": "Melanoma recall",
    "cohens_kappa": "Cohen's kappa",
    "top3_accuracy": "Top-3 accuracy",
    "recall": "Recall (sensitivity)",
    "precision": "Precision",
    "specificity": "Specificity",
    "f1": "F1",
    "auc": "AUC",
    "log_loss": "Log loss (less is better)",
    "brier_score": "Brier score (less is better)",
    "malignant_auc": "Malignant AUC",
}
GROUP_ERRORS = (
    "Of {malignant:,} pictures of malignant or pre-malignant lesions, {missed:,} got a benign diagnosis as the most "
    "probable one; of {benign:,} pictures of benign lesions, {alarmed:,} got a malignant or pre-malignant one."
)
THREE_MOST_FREQUENT = "The three most frequent"
BASELINE_OF_THREE = "Beside the top-3 accuracy stands the share of the three most frequent classes."
SCORES_TITLE = "The probabilities themselves"
_AT_SPECIFICITY = (
    "The share of malignant pictures above the threshold that {share} % of the benign ones stay below; the threshold "
    "is chosen on these very pictures, so it flatters."
)
_AT_SENSITIVITY = (
    "The share of benign pictures below the threshold that {share} % of the malignant ones reach; chosen on these very "
    "pictures, too."
)
SCORES = {
    "top3_accuracy": (
        FIGURE_NAMES["top3_accuracy"],
        f"How often the right class is among the three most probable ones. {BASELINE_OF_THREE}",
    ),
    "malignant_auc": (
        "Malignant AUC",
        "How often a malignant or pre-malignant lesion gets a greater summed malignant probability than a benign one.",
    ),
    "malignant_average_precision": (
        "Malignant average precision",
        "Precision averaged over all sensitivities; its chance level is the share of malignant pictures.",
    ),
    "malignant_sensitivity_at_specificity_80": (
        "Sensitivity at specificity .80",
        _AT_SPECIFICITY.format(share=80),
    ),
    "malignant_sensitivity_at_specificity_90": (
        "Sensitivity at specificity .90",
        _AT_SPECIFICITY.format(share=90),
    ),
    "malignant_sensitivity_at_specificity_95": (
        "Sensitivity at specificity .95",
        _AT_SPECIFICITY.format(share=95),
    ),
    "malignant_specificity_at_sensitivity_80": (
        "Specificity at sensitivity .80",
        _AT_SENSITIVITY.format(share=80),
    ),
    "malignant_specificity_at_sensitivity_90": (
        "Specificity at sensitivity .90",
        _AT_SENSITIVITY.format(share=90),
    ),
    "malignant_specificity_at_sensitivity_95": (
        "Specificity at sensitivity .95",
        _AT_SENSITIVITY.format(share=95),
    ),
    "expected_calibration_error": (
        "Calibration error (ECE)",
        "By how much the top probability and the share of right answers differ on average, in 15 bins. Its interval is "
        "rough: the error is never below 0 and greater for few pictures.",
    ),
    "log_loss": (
        "Log loss",
        "0 is perfect; always giving the classes' shares among these pictures scores about {by_shares:.1f}, and one "
        "wrong answer given with certainty scores without bound.",
    ),
    "brier_score": (
        "Brier score",
        "The squared distance of the probabilities from the truth, summed over the classes: 0 is perfect, 2 the worst.",
    ),
}
MELANOMA_AUC = ("Melanoma AUC", "How often a melanoma gets a greater melanoma probability than another lesion.")
SCORES_MEANING = "What these mean"
CALIBRATION_BEFORE = (
    "Calibration error before",
    "The same without the calibration that was fitted on the valid subset.",
)
CERTAINTY_NAMES = {
    "clear_lead": "Clear lead",
    "undecided": "Undecided between two (right: one of them)",
    "cannot_assess": "Cannot assess",
}
CERTAINTY_REPORT = (
    "The margin of a clear lead was fixed on the valid subset; a benign diagnosis never has one while a malignant one "
    "is plausible. Refused pictures are counted here by their probabilities."
)
OTHER_CERTAINTY_REPORT = (
    "The margin of a clear lead was fixed on the valid subset. Refused pictures are counted here by their "
    "probabilities."
)
CERTAINTY_MISSED = "Of the {n:,} malignant or pre-malignant pictures, {share} got a clear lead for a benign diagnosis."
RULES_CHANGED = (
    "decision.json was changed after this report was made, so what its rules reach is not shown. "
    "`python -m skinai evaluate {folder}` makes the report anew from the stored predictions."
)
RULES_TITLE = "Rules fixed on valid, tried here"
RULES_REMARK = (
    "A threshold on the summed malignant probability was fixed on the valid subset for the share named; these are the "
    "shares that it reaches on pictures it was not fitted to."
)
SETS_REMARK = (
    "Prediction sets, one quantile a class, are to hold the true diagnosis for {coverage:.0%} of the pictures. Here "
    "they hold it for {reached}, with {size} diagnoses in a set on average; by diagnosis: {by_class}."
)
GATE_TITLE = "What the gate refuses"
GATE_REMARK = (
    "Before the model answers, a gate looks whether a picture is dermoscopy that can be judged. It was fitted on "
    "training pictures and on what people upload instead; its threshold on valid. Holdout pictures are to pass, the "
    "other kinds to be refused. But for valid, the pictures counted here were not used to fit it; they are of the same "
    "kinds, and kinds that it never saw may fare worse. All other figures on this page count refused pictures as "
    "answered."
)
OTHER_GATE_REMARK = (
    "Before the model answers, a gate looks whether a picture is of the kind that it was trained on and can be judged. "
    "It was fitted on training pictures and on what people upload instead; its threshold on valid. Holdout pictures "
    "are to pass, the other kinds to be refused. But for valid, the pictures counted here were not used to fit it; "
    "they are of the same kinds, and kinds that it never saw may fare worse. All other figures on this page count "
    "refused pictures as answered."
)
GATE_KINDS = {
    "test": "Holdout dermoscopy (test)",
    "valid": "Dermoscopy that the threshold was fitted on (valid)",
    "drawn_lesions": "Lesions drawn by program, as in the examples (let pass on purpose)",
    "enlarged": "Enlarged from 16 to 44 pixels",
    "blurred": "Strongly blurred",
    "absent": "Skin without the lesion, put together from a corner",
    "cut_off": "Lesion moved to an edge or a corner",
    "channels_swapped": "Colour channels swapped",
    "contrast": "Contrast wrecked",
    "light": "Far too dark or too bright",
    "inverted": "Colours inverted",
    "natural": "Natural and technical pictures, 16 parts of each",
    "documents_and_patterns": "Documents and patterns drawn by program",
    "photographs": "Photographs of skin without a dermatoscope",
    "drawn_photographs": "Photographs drawn by program, as in the examples (let pass on purpose)",
    "dermoscopy": "Dermoscopy",
}
_OTHER_GATE_KINDS = {
    "test": "Holdout pictures (test)",
    "valid": "Pictures that the threshold was fitted on (valid)",
}


def name_gate_kind(kind: str, labels: LabelSet) -> str:
    """Return what a kind of picture that a gate was tried on is called."""
    names = GATE_KINDS if labels is HAM10000 else GATE_KINDS | _OTHER_GATE_KINDS
    return names.get(kind, kind.replace("_", " "))


_CASE_REMARK = "A case is what the split keeps together, such as the pictures of one patient or of one series."
SAME_SOURCE_REMARK = (
    "The holdout (test) pictures come from the same source as the training pictures; on other sources such models do "
    "worse."
)
INTERVAL_REMARK = (
    "Intervals are 95 %, from a bootstrap that draws whole lesions. Read the interval before the figure: classes with "
    "few lesions have wide ones. An interval without width, at 0 or 1, is no certainty: with n lesions the true share "
    "may lie up to about 3 / n away."
)


def explain_intervals(labels: LabelSet) -> str:
    """Return how the intervals of a report are to be read."""
    remark = speak_of(labels, INTERVAL_REMARK)
    return remark if name_unit(labels) == LESION else f"{remark} {_CASE_REMARK}"


SOURCE_REMARK = (
    "The holdout (test) pictures come from the same source as the training pictures; on other sources such models do "
    "much worse (DermaSense reports .803 balanced accuracy on HAM10000 and .453 on the rest of ISIC 2019)."
)
HOLDOUT_REMARK = (
    "Every look at an answer for holdout pictures is logged in models/TEST_LOG.md; the default ensemble is the "
    "second of two candidates of its kind that were shown them, so its figures are flattered a little."
)
SKIN_TONE_REMARK = "No skin-tone label exists in HAM10000; nothing here says how the model does on dark skin."
METHOD_REMARK = (
    "Every melanoma, basal cell carcinoma and actinic keratosis was proven by histopathology, but only {share:.0%} of "
    "the naevi: the benign labels are less certain."
)
LESIONS_REMARK = "A lesion recorded under two values counts under both."

INTENDED_USE = (
    "skinai is for people who look at skin lesions with a dermatoscope and for those who review such programs. It "
    "shows how a small network, trained on HAM10000, divides 100 % among seven diagnoses, and how often it was right "
    "on lesions that it had not seen."
)
# A test proves each of these sentences: tests/browser/test_privacy.py.
PRIVACY = {
    "goes": "An uploaded picture goes only to the computer that runs this program, and that one contacts no other.",
    "written": "Nothing of it is written to disk: not the picture, not its name, not the answer.",
    "trained": "The model does not learn from it.",
    "logged": "The program's log holds no picture, no file's name and nothing that a file says of patient or place.",
    "shown": "It is shown back, on your page alone, as a smaller copy without the file's metadata.",
    "taken": (
        "What you download holds none of the metadata either; only the table of a batch lists the names of your files."
    ),
    "ends": (
        "Once you have closed the page, the program lets go of the picture and of all it has worked out from it, after "
        "at most {seconds:.0f} s."
    ),
}
PRIVACY_SIGNED_IN = (
    "An uploaded picture goes only to the computer that runs this program. You are signed in: that computer has asked "
    "your provider who you are, and contacts no other. The provider learned that you use this page, and nothing of "
    "your pictures; your browser keeps a cookie until you sign out."
)
PRIVACY_AUDITED = (
    "Whoever runs this program has switched on a log of answers: for each it keeps the time, who was signed in, a hash "
    "by which the picture can be recognised but not seen, the model, and the answer."
)

# ---- the sections of the report card --------------------------------------------------------------------------------

OTHER_LESIONS_GAP = "A lesion that is none of the classes passes the gate and gets one of them; none was tested."
OTHER_PICTURES_GAP = "What is none of the classes gets one of them all the same; none was tested."
SKIN_TONE_GAP = "No skin-tone label exists, so nothing is known of how the model does on dark skin."
CONSEQUENCES = (
    "A wrong answer misleads everyone, experts included, and a benign answer can put off a biopsy; the page therefore "
    "offers to ask for the clinician's own answer first, names the most severe diagnosis still plausible, and refuses."
)
REPORT_HEAD = (
    "Holdout run of **{name}**: {pictures:,} pictures of {lesions:,} lesions. Brackets hold 95 % intervals, from a "
    "bootstrap that draws whole lesions."
)
SECTION_LABEL = "Section"
SECTION_NAMES = {
    "figures": "Figures",
    "mistakes": "Mistakes",
    "curves": "Curves",
    "parts": "Subgroups",
    "checks": "Checks",
    "leak": "The leak",
    "compare": "Compare models",
    "thresholds": "Thresholds",
    "documents": "Documents",
}
CONFUSION_REMARK = (
    "Each row is what the lesion was, each column what the model held most probable; the brighter a cell, the greater "
    "its share of the row (or of the column). Click on a number to see its "
    "pictures below, or choose truth and answer there."
)
CONFUSION_UNITS = {"counts": "counts", "rows": "share of each row", "columns": "share of each column"}
OTHER_CONFUSION_REMARK = (
    "Each row is the truth, each column what the model held most probable; the brighter a cell, the greater its share "
    "of the row (or of the column). Click on a number to see its pictures below, or choose truth and answer there."
)
CELL_TITLE = "The pictures of one cell"
CELL_EMPTY = "No picture is in this cell."
CELL_COUNT = "{pictures:,} pictures of {lesions:,} lesions, the most certain answer first."
ONE_LABEL = "One of them in full"
ONE_EMPTY = "Choose a picture"
GALLERY_TITLE = "The most confident mistakes"
GALLERY_REMARK = "All mistakes on these pictures: {counted}. Of each kind the twelve most confident ones are shown."
OTHER_GALLERY_REMARK = "{count:,} of {pictures:,} pictures are answered wrongly; at most twelve are shown."
MISTAKE_KINDS = {
    "missed melanoma": "melanomas called benign",
    "missed malignant": "other malignant ones called benign",
    "other mistake": "other mistakes",
}
NO_CASES = "The nearest training cases are not known: `python -m skinai cases {folder} --data DIR` finds them."
NO_PICTURE = (
    "The picture itself and the map of where the model looked are shown where the data folder is present (SKINAI_DATA)."
)
NO_OTHER_PICTURE = "The pictures that this model was tested on are not shown here."
MAP_CAPTION = "What the network saw, under the class activation map of {name}"
PART_COLUMNS = {
    "age_band": "Age band",
    "sex": "Sex",
    "localization": "Site",
    "dx_type": "Established by",
}
MORE_PART_COLUMNS = {
    "lesion_pictures": "Pictures of the lesion",
    "sharpness": "Sharpness",
    "dark_corners": "Dark corners",
    "black_areas": "Black areas",
}
CURVES_TITLE = "Curves"
TARGET_LABEL = "Of what"
TARGET_NAMES = {"*malignant": "Summed malignant probability", "*top": "The most probable diagnosis"}
THRESHOLD_LABEL = "Threshold to look at"
THRESHOLD_REMARK = (
    "Moving this marks a point on the curves and writes nothing: thresholds of the summed malignant probability are "
    "fixed on the valid subset (in force: {fixed}). A threshold that is picked here has seen the holdout pictures."
)
OTHER_THRESHOLD_REMARK = (
    "Moving this marks a point on the curves and writes nothing. No class of this model is marked malignant, so no "
    "threshold is in force. One that is picked here has seen the holdout pictures."
)
CURVE_FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision (positive predictive value here)",
    "negative_predictive_value": "Negative predictive value here",
    "net_benefit": "Net benefit",
}
CURVES = {
    "roc": ("ROC", "How many more are found as more false alarms are allowed; the diamond is the threshold above."),
    "precision_recall": (
        "Precision and recall",
        "How many of the alarms are right as more are found. Precision depends on how frequent the class is here.",
    ),
    "calibration": (
        "Calibration",
        "On the line, what is said comes true as often as it is said. The numbers are the pictures of each bin; a bin "
        "with few has a wide interval.",
    ),
    "coverage_risk": (
        "Coverage against risk",
        "The share of wrong answers if only the pictures with the most certain answers were answered.",
    ),
    "decision_curve": (
        "Decision curve",
        "Net benefit: malignant lesions found, less benign ones called suspicious, weighed by the odds of the "
        "threshold, for each picture. Above both dashed lines the model is worth more than acting on everybody or on "
        "nobody; it holds for the share of malignant lesions among these pictures, which is higher than in a practice.",
    ),
}
TABLE_LABEL = "The numbers as a table"
PARTS_TITLE = "Subgroups"
PARTS_EMPTY = (
    "There are no subgroups: the report was made under other rules, or its pictures all belong to one. "
    "`python -m skinai evaluate {folder}` makes it anew."
)
PARTS_REMARK = (
    "Sensitivity and specificity are of the first threshold fixed on valid. A lesion with pictures in two parts counts "
    "in both."
)
OTHER_PARTS_REMARK = "A lesion with pictures in two parts counts in both."
PARTS_HOLLOW = "Hollow points rest on fewer than 30 lesions: too few to say much."
PARTS_FEW = "too few lesions to say much"


def explain_parts(labels: LabelSet, *, thresholds: bool) -> str:
    """Return how the subgroups are to be read, with or without a threshold in force."""
    return speak_of(labels, PARTS_REMARK if thresholds else OTHER_PARTS_REMARK)


def name_parts(labels: LabelSet) -> dict[str, str]:
    """Return what the columns are called that pictures are divided by."""
    return {name: speak_of(labels, title) for name, title in (PART_COLUMNS | MORE_PART_COLUMNS).items()}


PARTS_METHOD = (
    "How a diagnosis was established tells the diagnosis itself: every malignant lesion was proven by histopathology, "
    "so there is no sensitivity for the others, and the benign lesions that were cut out are the difficult ones."
)
PART_FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "calibration_gap": "Predicted less observed malignant share",
    "accuracy": "Accuracy",
}
CHECKS_TITLE = "What would make this report a lie"
CHECKS_REMARK = (
    "{checks} named checks, run on the files as they are now; {issues} found an issue. docs/evaluation.md says what "
    "each of them does."
)
DOCUMENTS_TITLE = "Documents"
DOCUMENTS_REMARK = (
    "The model card and the two checklists are written from the run: what it does not know stays visible as a gap. The "
    "zip holds the card as HTML and Markdown, the figures as SVG, the tables as CSV, split, predictions and hashes; "
    "open index.html in it, without the app and without a network."
)
DOCUMENTS_CARD, DOCUMENTS_ALL = "Model card (HTML)", "Everything (zip)"
CHECKLISTS_REMARK = "{name}: {answered} of {items} items answered, {gaps} with a gap."
FLOW_ALT = "Flow diagram from the listed pictures to lesions and subsets: {text}"
CHECK_STATES = {"passed": "✓ passed", "issue": "! issue", "not applicable": "- not applicable"}
CHECK_PROMISE = "promise"
CHECK_VOIDS = "The figures of this report do not hold:"
LEAK_TITLE = "What a split by picture does"
LEAK_REMARK = (
    "The same network, the same configuration and seed, trained and tested twice: once with whole lesions on one side "
    "of the split, once with pictures divided as they come, as many published runs do. The two test sets share "
    "pictures, which the intervals of the difference take no notice of: they are rather too wide."
)
ORDERS_TITLE = "The same predictions under four class orders"
ORDERS_REMARK = (
    "F1 as it would be shown if the network had been trained in each of the class orders in circulation and displayed "
    "in the alphabetical one: every figure right, every name possibly wrong. Accuracy and weighted F1 do not change, "
    "so nothing looks amiss. With two of the orders the naevi's F1 stands beside melanoma, which is what the claim "
    "looks like; seed-cnn under the split by lesion."
)
ORDER_NAMES = {
    "alphabetical codes": "Alphabetical (right)",
    "Kaggle's hmnist tables": "Kaggle's hmnist",
    "pandas categories of the full names": "Full names in pandas",
    "ISIC challenge tables": "ISIC tables",
}
COMPARE_TITLE = "Two models on the same lesions"
COMPARE_EMPTY = "There is no second model beside this one that was tested on the same pictures."
COMPARE_FIRST, COMPARE_SECOND = "First model", "Second model"
COMPARE_SAME = "Choose two different models."
COMPARE_WAIT = "Drawing the same lesions for both, 2,000 times"
COMPARE_REMARK = (
    "Second less first on {pictures:,} pictures. The bootstrap draws the same lesions for both, so the interval is "
    "that of the difference; where it holds 0, these pictures do not tell the two apart."
)
WORKBENCH_TITLE = "Thresholds, tried out on valid"
WORKBENCH_REMARK = (
    "Rules are fitted on the valid subset alone, and what they reach there flatters them a little, because they were "
    "fitted to it; what the rules in force reach on the holdout pictures stands under Figures."
)
WORKBENCH_NOTHING = "No class of this model is marked malignant, so there is no threshold to fit."
WORKBENCH_IN_FORCE = "In force: version {version} of decision.json"
WORKBENCH_TRY = "Try another"
WORKBENCH_KIND = "Fix the threshold for a"
WORKBENCH_SHARE = "Least {kind} on valid"
WORKBENCH_COVERAGE = "How often a prediction set is to hold the truth"
WORKBENCH_SETS = (
    "Prediction sets that are to hold the truth for {coverage:.0%} hold it for {reached} of the {n:,} pictures of "
    "valid, with {size} diagnoses in a set on average."
)
WORKBENCH_LOCKED = (
    "Only who runs this server can put rules in force: start it with `python -m skinai app --workbench`, or run this, "
    "then `evaluate`, which shows what they reach on the holdout pictures."
)
WORKBENCH_ADMIN = "To put rules in force needs the role admin."
WORKBENCH_WRITE = "Write these as a new version of decision.json"
WORKBENCH_FAILED = "The rules were not written: {error}"
WORKBENCH_BUSY = "Somebody else is writing into this model's folder. Try again in a moment."
WORKBENCH_WRITTEN = (
    "Version {version} of decision.json is in force from the next answer on. The report still describes the former "
    "rules: `python -m skinai evaluate {folder}` makes it anew."
)


def say_of(part: int, whole: int) -> str:
    """Return a share with its 95 % interval (Wilson), for pictures made independently of each other.

    >>> say_of(399, 400), say_of(0, 0)
    ('99.8% (98.6% to 100.0%)', 'not applicable')
    """
    if not whole:
        return "not applicable"
    share, z = part / whole, 1.959964
    middle = (share + z**2 / (2 * whole)) / (1 + z**2 / whole)
    reach = z * math.sqrt(share * (1 - share) / whole + z**2 / (4 * whole**2)) / (1 + z**2 / whole)
    return f"{share:.1%} ({max(middle - reach, 0):.1%} to {min(middle + reach, 1):.1%})"


def describe_mcnemar(test: McNemar, first: str, second: str, *, unit: str = LESION) -> str:
    """Return the test of two models lesion by lesion as a sentence."""
    said = "p under .001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return (
        f"Of {test.lesions:,} {unit}s, only {first} is right on {test.only_first:,} and only {second} on "
        f"{test.only_second:,}; chance alone would divide them as unequally with {said} (McNemar, exact; a {unit}'s "
        "pictures are averaged)."
    )


# ---- two models -----------------------------------------------------------------------------------------------------

MODEL_LABEL = "Model"
MODEL_NAMES = {"dermoscopy": "Dermoscopy", "clinical": "Clinical photographs"}
ROUTE_NAMES = {
    "dermoscopy": "a dermoscopy picture",
    "clinical": "a clinical photograph, taken without a dermatoscope",
    "neither": "neither a dermoscopy picture nor a photograph of diseased skin",
}
ROUTE_LABEL = "Which model answers"
ROUTE_AUTO = "As the router says"
ROUTE_HELP = (
    "A router looks at the picture first and sends it to the model for its kind. It is wrong now and then. Whoever "
    "chooses a model by hand gets its answer marked in every document."
)
ROUTE_SAID = "The model for **{model}** answers: the router takes {what} for {kind} ({share})."
ROUTE_OVERRULED = (
    "You chose the model for {model}, and the router takes {what} for {kind}. The answer may mean nothing, and every "
    "document says so."
)
ROUTE_NEITHER = "The router takes {what} for {kind}, so neither model answers."
ROUTE_MIXED = "The router takes the pictures for different kinds ({kinds}), so no model answers for all of them."
ROUTE_CHOOSE = "It is wrong now and then: choose a model by hand to see its answer all the same."
DERMOSCOPY_FIRST = (
    "{name} is among what this may be ({share}). This model cannot tell a naevus from a melanoma: look at it with a "
    "dermatoscope and come back with that picture."
)


ROUTER_TITLE = "What the router makes of pictures"
ROUTER_REMARK = (
    "Counted on pictures that were held out from its fit: 600 holdout (test) pictures of each model, and other "
    "pictures. The atlas that the photographs come from prints its mark on them; it was learned and laid over pictures "
    "of the other kinds too, to show that it decides nothing."
)
ROUTER_KINDS = {
    "dermoscopy": "Dermoscopy",
    "dermoscopy_marked": "Dermoscopy with the atlas mark laid over it",
    "clinical_as_it_is": "Clinical photographs as they are, with the mark",
    "clinical_covered": "Clinical photographs, the mark covered",
    "clinical_part": "A part of each clinical photograph, without the mark",
    "natural": "Natural and technical pictures, 16 parts of each",
    "natural_marked": "The same with the mark",
    "documents_and_patterns": "Documents and patterns drawn by program",
    "documents_and_patterns_marked": "The same with the mark",
    "other_pictures": "Landscapes, animals, plants and things",
    "other_pictures_marked": "The same with the mark",
    "drawn_lesions": "Lesions drawn by program, as in the examples",
    "drawn_photographs": "Photographs drawn by program, as in the examples",
}


ROUTER_COLUMNS = ("Pictures", "n", "Belong to", "Sent there", "Elsewhere")


def spell_routes(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, str, str, str]]:
    """Return a row of `ROUTER_COLUMNS` for each kind of picture that the fit of a router counted."""
    rows = []
    for name, one in counts.items():
        belongs = expect_route(name)
        others = [f"{one[kind]:,} {kind}" for kind in ROUTES if kind != belongs and one[kind]]
        there = say_of(one[belongs], one["pictures"])
        rows.append((ROUTER_KINDS.get(name, name), f"{one['pictures']:,}", belongs, there, ", ".join(others) or "none"))
    return rows


def say_routing(routing: Routing) -> str:
    """Return in one or two sentences which model answers for pictures and why, without Markdown."""
    what = "this" if len(routing.routes) == 1 else "these pictures"
    if routing.overruled and routing.answered_by is not None:
        kinds = _join(ROUTE_NAMES[kind] for kind in dict.fromkeys(route.kind for route in routing.routes))
        return ROUTE_OVERRULED.format(model=MODEL_NAMES[routing.answered_by].lower(), what=what, kind=kinds)
    if routing.answered_by is not None:
        share = say_share(min(route.shares[routing.answered_by] for route in routing.routes))
        kind = ROUTE_NAMES[routing.answered_by]
        model = MODEL_NAMES[routing.answered_by].lower()
        return ROUTE_SAID.format(model=model, what=what, kind=kind, share=share).replace("**", "")
    found = [route.kind for route in routing.routes]
    if set(found) == {"neither"}:
        return ROUTE_NEITHER.format(what=what, kind=ROUTE_NAMES["neither"])
    return ROUTE_MIXED.format(kinds="; ".join(f"{n}: {ROUTE_NAMES[kind]}" for n, kind in enumerate(found, 1)))


def say_dermoscopy(answer: Assessment) -> str | None:
    """Return what is to be said where a dermatoscope has to be held to the spot first; None where it need not."""
    if not answer.needs_dermoscopy:
        return None
    shares = answer.prediction.by_code
    label = max((label for label in answer.prediction.labels if label.dermoscopy), key=lambda label: shares[label.code])
    return DERMOSCOPY_FIRST.format(name=label.name, share=say_share(shares[label.code]))


def _join(names: Iterable[str]) -> str:
    return " and ".join(names)
