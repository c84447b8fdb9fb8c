"""Every sentence that a visitor reads about a result or its limits, in one place, so that a clinician can review it."""

from __future__ import annotations

NOTICE = "Decision aid for research and education. Not a diagnosis."
NOT_A_DEVICE = "skinai is not a medical device and has not been cleared or tested for the care of patients."
RESULT_NOTE = "Not a diagnosis. A spot that changes, bleeds or worries needs a doctor, whatever this says."

UPLOAD_LABEL = "Dermoscopy picture (JPEG or PNG, up to 20 MB)"
UPLOAD_HELP = (
    "Drag a file here or choose one. The picture is decoded in memory, is not written to disk and is not sent anywhere "
    "by this program."
)
CAMERA_LABEL = "Take a picture"
CAMERA_REMARK = "A phone picture is no dermoscopy: the model was trained on pictures taken through a dermatoscope only."
DRAWN_REMARK = "This picture was drawn by program. It shows no patient and no disease; the answer means nothing."
EMPTY_STATE = "Upload a dermoscopy picture of one skin lesion to see how probable each of seven diagnoses is."

MALIGNANT_LABEL = "Summed malignant probability"
MALIGNANT_HELP = (
    "The probabilities of melanoma, basal cell carcinoma and actinic keratosis / Bowen's disease added up. "
    "The last one is malignant or pre-malignant."
)
GROUPS = {True: "malignant or pre-malignant", False: "benign"}

NOT_FOR_TITLE = "What this model is not for"
NOT_FOR = (
    "Deciding about a patient, ruling out cancer, or putting off a biopsy.",
    "Pictures taken without a dermatoscope, and rashes such as acne, psoriasis or eczema.",
    "Nails, mucosa, the palms and soles, scars, tattoos and wounds: HAM10000 has few or none of them.",
    "Any diagnosis outside the seven: the model must choose one of them and cannot say that none fits. "
    "Squamous cell carcinoma, for one, is not among them.",
    "Dark skin: HAM10000 records no skin tone and comes from clinics in Austria and Australia, "
    "so nothing is known of how the model does there.",
)

MODEL_UNUSABLE = "The model cannot be used, so no picture is analysed."
REPORT_UNUSABLE = "There is no report card to show."
DATASET_UNUSABLE = "There are no counts to show."

CLAIM_TITLE = "The claim that started this project"
CLAIM_REMARK = (
    "Claimed, not reproduced under a lesion-grouped split. The figures were given without a split by lesion, n or "
    "intervals. A melanoma F1 above the naevus F1 is what a model shows when it is trained in one class order and "
    "displayed in another."
)
# What the original description of the convolutional network states.
CLAIM = {"accuracy": 0.875, "F1": 0.869, "melanoma F1": 0.937, "benign keratosis F1": 0.628, "dermatofibroma F1": 0.755}

FIGURE_HELP = {
    "accuracy": "The share of pictures whose most probable class is the right one. Naevi dominate it: two in three "
    "pictures are naevi.",
    "balanced_accuracy": "The mean over the seven classes of the share found, so a rare class counts as much as naevi.",
    "macro_f1": "The mean F1 of the seven classes, each counting the same.",
    "weighted_f1": "The mean F1 of the seven classes, each counting as often as it occurs.",
}
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
}
INTERVAL_REMARK = (
    "Intervals are 95 %, from a bootstrap that draws whole lesions. Classes with few lesions have wide ones: "
    "read them before the figure."
)
HOLDOUT_REMARK = (
    "The holdout (test) pictures belong to lesions that the model has never seen: the split is by lesion, and "
    "near-identical pictures under different lesion numbers are kept together. It is looked at once for each model "
    "that is meant to ship."
)
SKIN_TONE_REMARK = "No skin-tone label exists in HAM10000; nothing here says how the model does on dark skin."

INTENDED_USE = (
    "skinai is for people who look at skin lesions with a dermatoscope and for those who review such programs. It "
    "shows how a small network, trained on HAM10000, spreads its belief over seven diagnoses, and how far that can "
    "be trusted."
)
PRIVACY = (
    "An uploaded picture is decoded in the memory of the computer that runs this program, shown back without its "
    "metadata, and forgotten when the session ends. Nothing is written to disk, and the program contacts no other "
    "computer."
)
