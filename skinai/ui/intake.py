"""Where the visitor's pictures come from: files, the clipboard, the camera, examples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import streamlit as st

from skinai import wording
from skinai.data.dicom import decode_dicom, is_dicom, read_identifiers
from skinai.data.images import SUFFIXES, decode_picture, hash_pixels
from skinai.errors import PictureError
from skinai.labels import Label
from skinai.model.bundle import Bundle
from skinai.serving.assessment import MOST_PICTURES
from skinai.ui import resources
from skinai.ui.examples import DRAWN, PHOTOGRAPHS
from skinai.ui.paste import MAX_PASTED_MB, ask_for_pasted

FILE, PASTE, CAMERA, EXAMPLE, HOLDOUT = ("A file", "Paste", "The camera", "A drawn example", "A holdout picture")
# Where the session keeps which pictures the model has answered for, so that an own answer cannot come after.
SHOWN = "shown_pictures"
UPLOAD_TYPES = [suffix.removeprefix(".") for suffix in SUFFIXES]
# So that a screen shows the whole view and the button below it.
_CAMERA_PX = 640
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class GivenPicture:
    """One picture as it was given.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
        Upright RGB.
    facts : mapping of str to str
        What a DICOM file says of the picture; names nobody.
    truth : Label or None
        The diagnosis of a holdout picture.
    number : int
        Which of the given files it is, from 1.
    """

    pixels: np.ndarray
    facts: Mapping[str, str] = field(default_factory=dict)
    truth: Label | None = None
    number: int = 1

    @cached_property
    def pixels_hash(self) -> str:
        """SHA-256 of shape and pixels, worked out once."""
        return hash_pixels(self.pixels)


def ask_for_pictures(bundle: Bundle, *, photographs: bool) -> list[GivenPicture]:
    """Return the visitor's pictures of one lesion; empty while there is none that can be read.

    Parameters
    ----------
    bundle : Bundle
        The model whose holdout pictures are offered.
    photographs : bool
        Whether a model for clinical photographs is at hand too.
    """
    holdout = resources.list_holdout_pictures(bundle)
    sources = [FILE, PASTE, CAMERA, EXAMPLE, *([HOLDOUT] if holdout else [])]
    source = st.segmented_control(wording.SOURCE_LABEL, sources, default=FILE, required=True, key="source")
    if source == EXAMPLE:
        offered = {**DRAWN, **(PHOTOGRAPHS if photographs else {})}
        name = st.selectbox(wording.EXAMPLE_LABEL, list(offered), key="drawing")
        st.caption(wording.DRAWN_REMARK)
        return [GivenPicture(offered[name]())]
    if source == HOLDOUT:
        return _ask_for_holdout(holdout, bundle)
    if source == FILE:
        return _ask_for_files(wording.UPLOAD_ANY_LABEL if photographs else wording.UPLOAD_LABEL)
    if source == PASTE:
        content = ask_for_pasted(
            label=wording.PASTE_LABEL,
            nothing=wording.PASTE_NOTHING,
            too_large=wording.PASTE_TOO_LARGE.format(most=MAX_PASTED_MB),
            taken=wording.PASTE_TAKEN,
            key="pasted",
        )
        return _decode([content]) if content is not None else []
    st.caption(wording.CAMERA_REMARK)
    # The browser asks for the camera as soon as the widget is there, so it is there only once it is wanted.
    if not st.toggle(wording.CAMERA_TOGGLE, key="camera_on"):
        return []
    # With a resolution the widget opens the camera once. Without one it opens it again as soon as it knows its width: a
    # press in between takes nothing, and the picture is as small as the screen shows it.
    file = st.camera_input(wording.CAMERA_LABEL, key="camera", resolution="1080p", width=_CAMERA_PX)
    return _decode([file.getvalue()]) if file is not None else []


def identify(pictures: Sequence[GivenPicture]) -> str:
    """Return a name of the pictures' pixels, for widgets that start anew with every lesion."""
    return hashlib.sha256("".join(picture.pixels_hash for picture in pictures).encode()).hexdigest()[:16]


def _ask_for_files(label: str) -> list[GivenPicture]:
    several = st.toggle(wording.SEVERAL_LABEL, help=wording.SEVERAL_HELP, key="several")
    files = st.file_uploader(
        wording.UPLOAD_SEVERAL_LABEL if several else label,
        type=UPLOAD_TYPES,
        help=wording.UPLOAD_HELP,
        max_upload_size=wording.MAX_UPLOAD_MB,
        accept_multiple_files=several,
        key="uploads" if several else "upload",
    )
    chosen: list[Any] = list(files or []) if several else [files] if files is not None else []
    if len(chosen) > MOST_PICTURES:
        st.error(wording.TOO_MANY_PICTURES.format(given=len(chosen), most=MOST_PICTURES))
        return []
    contents: list[bytes] = [file.getvalue() for file in chosen]
    pictures = _decode(contents)
    _show_dicom(contents, pictures)
    return pictures


def _decode(contents: Sequence[bytes]) -> list[GivenPicture]:
    pictures = []
    for number, content in enumerate(contents, 1):
        which = "This file" if len(contents) == 1 else f"File {number}"
        try:
            if is_dicom(content):
                dicom = decode_dicom(content)
                pictures.append(GivenPicture(dicom.pixels, dicom.facts, number=number))
            else:
                pictures.append(GivenPicture(decode_picture(content), number=number))
        except PictureError as error:
            st.error(f"{which} cannot be analysed. {_plain(str(error), kept=':')}")
    return pictures


def _show_dicom(contents: Sequence[bytes], pictures: Sequence[GivenPicture]) -> None:
    """Show what DICOM files say of their pictures, and of the patient only on request."""
    told = [picture.facts for picture in pictures if picture.facts]
    if not told:
        return
    for facts in told:
        st.caption(f"DICOM: {'; '.join(f'{name}: {_plain(value)}' for name, value in facts.items())}.")
    if st.toggle(wording.IDENTIFIERS_LABEL, help=wording.IDENTIFIERS_HELP, key=f"identifiers-{identify(pictures)}"):
        for content in contents:
            found = read_identifiers(content) if is_dicom(content) else _NOTHING
            said = "; ".join(f"{name}: {_plain(value)}" for name, value in found.items())
            st.text(said or wording.IDENTIFIERS_NONE)


def _plain(value: str, kept: str = "") -> str:
    """Return text of a file without what Markdown would make something of."""
    odd = set("<>[]!*_`$|\\#~:") - set(kept)
    return "".join(" " if letter in odd else letter for letter in value if letter.isprintable())


def _ask_for_holdout(holdout: Sequence[resources.HoldoutPicture], bundle: Bundle) -> list[GivenPicture]:
    st.caption(wording.HOLDOUT_PICTURE_REMARK)
    number = st.selectbox(
        wording.HOLDOUT_PICTURE_LABEL,
        range(len(holdout)),
        format_func=lambda number: f"Number {number + 1} ({holdout[number].image_id})",
        key="holdout",
    )
    one = holdout[number]
    try:
        pixels = decode_picture(one.path.read_bytes())
    except (OSError, PictureError):
        st.error(wording.HOLDOUT_PICTURE_GONE)
        return []
    return [GivenPicture(pixels, truth=bundle.labels.by_code(one.code))]
