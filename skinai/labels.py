"""The label sets: code, order, full name, risk group. Typed here once and imported everywhere.

Four class orders circulate for HAM10000, and a model trained on one and shown with another looks plausible while it
is wrong. The order below is alphabetical by code; a model folder states the order it was trained with and is
refused if it differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One diagnosis of a label set.

    Attributes
    ----------
    code : str
        The data set's own code, such as ``"mel"``.
    name : str
        The name shown on screen.
    malignant : bool
        Whether its probability counts towards the summed malignant probability.
    isic_code : str
        The column name in ISIC challenge tables.
    dermoscopy : bool
        To be looked at with a dermatoscope before anything is said of naevus or melanoma.
    """

    code: str
    name: str
    malignant: bool
    isic_code: str
    dermoscopy: bool = False


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of labels; position is the index of a model's output.

    Attributes
    ----------
    name : str
    labels : tuple of Label
    isic_order : tuple of str
        The columns of ISIC challenge tables, in their order.
    severity : tuple of str
        The malignant codes from the most severe on; empty where nobody stated it.

    Raises
    ------
    ValueError
        If two labels share a code, or an order does not cover what it orders.
    """

    name: str
    labels: tuple[Label, ...]
    isic_order: tuple[str, ...]
    severity: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.codes)) != len(self.labels):
            raise ValueError(f"Label set {self.name!r} repeats a code. Received: {list(self.codes)}")
        if set(self.isic_order) != {label.isic_code for label in self.labels}:
            raise ValueError(f"Label set {self.name!r} has an ISIC order that does not cover its labels.")
        if self.severity and set(self.severity) != set(self.malignant_codes):
            raise ValueError(f"Label set {self.name!r} has an order of severity that is not of its malignant labels.")

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes in model order."""
        return tuple(label.code for label in self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The full names in model order."""
        return tuple(label.name for label in self.labels)

    @property
    def malignant_codes(self) -> tuple[str, ...]:
        """The codes whose probabilities make the summed malignant probability."""
        return tuple(label.code for label in self.labels if label.malignant)

    @property
    def dermoscopy_codes(self) -> tuple[str, ...]:
        """The codes that are to be looked at with a dermatoscope before more is said."""
        return tuple(label.code for label in self.labels if label.dermoscopy)

    def index(self, code: str) -> int:
        """Return the position of `code` in a model's output.

        >>> HAM10000.index("mel")
        4
        """
        return self.codes.index(code)

    def by_code(self, code: str) -> Label:
        """Return the label called `code`.

        >>> HAM10000.by_code("mel").name
        'Melanoma'
        """
        return self.labels[self.index(code)]

    def by_isic_code(self, isic_code: str) -> Label:
        """Return the label whose ISIC column is `isic_code`.

        >>> HAM10000.by_isic_code("NV").name
        'Melanocytic naevus'
        """
        return next(label for label in self.labels if label.isic_code == isic_code)


HAM10000 = LabelSet(
    name="HAM10000",
    labels=(
        Label("akiec", "Actinic keratosis / Bowen's disease", True, "AKIEC"),
        Label("bcc", "Basal cell carcinoma", True, "BCC"),
        Label("bkl", "Benign keratosis-like lesion", False, "BKL"),
        Label("df", "Dermatofibroma", False, "DF"),
        Label("mel", "Melanoma", True, "MEL"),
        Label("nv", "Melanocytic naevus", False, "NV"),
        Label("vasc", "Vascular lesion", False, "VASC"),
    ),
    isic_order=("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    severity=("mel", "bcc", "akiec"),
)

# The class orders in circulation for these pictures: a network trained in one and shown in another looks plausible.
CIRCULATING_ORDERS = {
    "alphabetical codes": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "Kaggle's hmnist tables": ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"),
    "pandas categories of the full names": ("akiec", "bcc", "bkl", "df", "nv", "mel", "vasc"),
    "ISIC challenge tables": ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"),
}


def build_label_set(
    name: str,
    codes: Sequence[str],
    *,
    names: Mapping[str, str] | None = None,
    malignant: Sequence[str] = (),
    dermoscopy: Sequence[str] = (),
) -> LabelSet:
    """Return the label set of a user's own classes.

    Parameters
    ----------
    name : str
    codes : sequence of str
        In model order.
    names : mapping of str to str, optional
        Code to the name shown on screen; the name of a class without one is its code.
    malignant : sequence of str
        Codes of the malignant classes.
    dermoscopy : sequence of str
        Codes of the classes that are to be looked at with a dermatoscope before more is said.

    Raises
    ------
    ValueError
        If a named, malignant or dermoscopy class is none of the classes, two classes differ in upper and lower case
        only or have the same name, or a code or name has characters that mean something in Markdown or HTML.
    """
    names = names or {}
    for what, given in (("named", names), ("malignant", malignant), ("dermoscopy", dermoscopy)):
        unknown = sorted(set(given) - set(codes))
        if unknown:
            raise ValueError(f"Unknown {what} classes: {unknown}. The classes are: {list(codes)}.")
    shown = [names.get(code, code) for code in codes]
    texts = list(dict.fromkeys([*codes, *shown]))
    odd = [text for text in texts if not text.isprintable() or set(text) & set("<>[]!*$`|\\")]
    if odd or not all(texts):
        raise ValueError(f"Names of classes are printable and without any of <>[]!*$`|\\. Received: {odd or ['']}.")
    if len({code.upper() for code in codes}) < len(codes):
        raise ValueError(f"Two classes differ in upper and lower case only. The classes are: {list(codes)}.")
    if len(set(shown)) < len(shown):
        raise ValueError(f"Two classes have the same name. The names are: {shown}.")
    labels = tuple(
        Label(code, title, code in malignant, code.upper(), code in dermoscopy)
        for code, title in zip(codes, shown, strict=True)
    )
    return LabelSet(name, labels, tuple(label.isic_code for label in labels))
