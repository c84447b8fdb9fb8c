"""A box that takes a picture from the clipboard, which Streamlit's own uploader does not."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any

import streamlit as st

# The browser sends the picture as text of 4/3 its size in one message, and the server takes up to 25 MB of those.
MAX_PASTED_MB = 15

_HTML = """
<div id="box" tabindex="0" role="button"></div>
<div id="said" role="status"></div>
"""
_CSS = """
#box {
  border: 1px dashed var(--st-border-color);
  border-radius: 0.5rem;
  padding: 1.4rem 1rem;
  text-align: center;
  color: var(--st-text-color);
  background: var(--st-secondary-background-color);
  font-family: var(--st-font);
}
#said { min-height: 1.5rem; font-family: var(--st-font); color: var(--st-text-color); }
#box:focus { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
"""
_JS = """
export default function (component) {
  const { data, parentElement, setStateValue } = component
  const box = parentElement.querySelector("#box")
  const said = parentElement.querySelector("#said")
  box.textContent = data.label
  const take = (event) => {
    const items = [...(event.clipboardData?.items ?? [])]
    const item = items.find((one) => one.kind === "file" && one.type.startsWith("image/"))
    if (!item) {
      said.textContent = data.nothing
      return
    }
    event.preventDefault()
    const file = item.getAsFile()
    if (file.size > data.max_bytes) {
      said.textContent = data.too_large
      return
    }
    const reader = new FileReader()
    reader.onload = () => {
      said.textContent = data.taken
      setStateValue("picture", String(reader.result).split(",")[1])
    }
    reader.readAsDataURL(file)
  }
  box.addEventListener("paste", take)
  box.focus({ preventScroll: true })
  return () => box.removeEventListener("paste", take)
}
"""


@lru_cache(maxsize=1)
def _component() -> Any:
    return st.components.v2.component("skinai_paste", html=_HTML, css=_CSS, js=_JS)


def ask_for_pasted(*, label: str, nothing: str, too_large: str, taken: str, key: str) -> bytes | None:
    """Show the box; return the bytes of the pasted picture, or None while there is none.

    Parameters
    ----------
    label, nothing, too_large, taken : str
        What the box says before, when the clipboard holds no picture, when it is too large, and afterwards.
    key : str
    """
    data = {
        "label": label,
        "nothing": nothing,
        "too_large": too_large,
        "taken": taken,
        "max_bytes": MAX_PASTED_MB * 1024 * 1024,
    }
    result = _component()(data=data, key=key, on_picture_change=lambda: None)
    pasted = result.get("picture") if result else None
    if not isinstance(pasted, str):
        return None
    try:
        return base64.b64decode(pasted, validate=True)
    except (binascii.Error, ValueError):
        return b""
