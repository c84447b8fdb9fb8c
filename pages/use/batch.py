"""Batch: many pictures in, one table out."""

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skinai import wording
from skinai.data.archives import is_archive, list_archive, read_archive
from skinai.data.images import encode_preview, hash_pixels
from skinai.errors import DataError, ModelError
from skinai.exports.record import escape_cell, write_rows
from skinai.labels import LabelSet
from skinai.model.bundle import Bundle
from skinai.serving.assessment import Assessor
from skinai.serving.batch import BatchRow, assess_files, describe_row
from skinai.ui import components, journal, resources, turns
from skinai.ui.intake import SHOWN, UPLOAD_TYPES

MOST_PICTURES = 500
THUMBNAIL_PX = 96


@dataclass(frozen=True)
class Row:
    """A finished row without its picture, of which the hash of its pixels is kept."""

    row: BatchRow
    thumbnail: str | None
    picture_hash: str = ""


@dataclass(frozen=True)
class Batch:
    """What was analysed last.

    Attributes
    ----------
    rows : list of Row
        Grows while the batch runs.
    count : int
        How many pictures were to be analysed.
    files : str
        Which files, by the names that the server gave them.
    bundle : Bundle
        Which model answered.
    """

    rows: list[Row]
    count: int
    files: str
    bundle: Bundle


def main() -> None:
    st.title(wording.BATCH_TITLE)
    st.markdown(wording.BATCH_REMARK)
    try:
        assessor = resources.load_assessor(components.choose_model().folder)
    except ModelError as error:
        components.stop_with(wording.MODEL_UNUSABLE, error)
    files = ask_for_files()
    count = count_pictures(files)
    if not files:
        st.info(wording.BATCH_EMPTY)
    elif not count:
        st.info(wording.BATCH_NOTHING)
    elif count > MOST_PICTURES:
        st.warning(wording.BATCH_TOO_MANY.format(count=count, most=MOST_PICTURES))
    label = wording.BATCH_START_ONE if count == 1 else wording.BATCH_START.format(count=min(count, MOST_PICTURES))
    if count and st.button(label, type="primary", key="start"):
        try:
            run_batch(assessor, files, min(count, MOST_PICTURES))
        except ModelError as error:
            components.stop_with(wording.MODEL_UNUSABLE, error)
    batch: Batch | None = st.session_state.get("batch")
    if batch is not None and batch.rows:
        if batch.files != name_files(files):
            st.warning(wording.BATCH_OLD)
        if batch.bundle.fingerprint != assessor.predictor.bundle.fingerprint:
            st.warning(wording.BATCH_OTHER_MODEL.format(name=batch.bundle.name))
        show_rows(batch)


def name_files(files: Sequence[Any]) -> str:
    """Return a name for these uploads, so that others can be told from them."""
    return " ".join(str(file.file_id) for file in files)


def ask_for_files() -> list[Any]:
    """Return the uploaded files."""
    folder = st.toggle(wording.BATCH_FOLDER_LABEL, key="folder")
    files = st.file_uploader(
        wording.BATCH_LABEL,
        type=[*UPLOAD_TYPES, *([] if folder else ["zip"])],
        accept_multiple_files="directory" if folder else True,
        max_upload_size=wording.MAX_UPLOAD_MB,
        key="batch_folder" if folder else "batch_files",
    )
    return list(files or [])


def count_pictures(files: Sequence[Any]) -> int:
    """Return how many pictures the files hold; a damaged archive counts as one, which will be told."""
    count = 0
    for file in files:
        content = file.getvalue()
        try:
            count += len(list_archive(content)) if is_archive(content) else 1
        except DataError:
            count += 1
    return count


def open_files(files: Sequence[Any]) -> Iterator[tuple[str, bytes | DataError]]:
    """Yield name and bytes of each picture, also of those in archives, and the error of an archive that breaks off."""
    for file in files:
        content = file.getvalue()
        if not is_archive(content):
            yield file.name, content
            continue
        try:
            for name, inside in read_archive(content):
                yield f"{file.name}/{name}", inside
        except DataError as error:
            yield file.name, error


def run_batch(assessor: Assessor, files: Sequence[Any], count: int) -> None:
    """Analyse the files; what is done is kept at each step, so that a press on Stop loses nothing."""
    bundle = assessor.predictor.bundle
    rows: list[Row] = []
    st.session_state["batch"] = Batch(rows, count, name_files(files), bundle)
    st.session_state.pop("batch_insist", None)  # whoever insists does so for one batch
    shown: set[str] = st.session_state.setdefault(SHOWN, set())
    bar = st.progress(0.0, text=f"0 of {count}")
    stop = st.empty()
    # Pressing it ends this run of the script, and the next one shows what there is.
    stop.button(wording.BATCH_STOP, key="stop")
    waiting = st.empty()
    start = time.monotonic()
    for done, row in enumerate(take_turns(assess_files(assessor, open_files(files)), waiting), 1):
        thumbnail, picture_hash = None, ""
        if row.picture is not None and row.assessment is not None:
            picture_hash = hash_pixels(row.picture)
            journal.write_answers([(picture_hash, row.assessment)], bundle, insisted=False)
            shown.add(picture_hash)
            preview = encode_preview(row.picture, max_side_px=THUMBNAIL_PX)
            thumbnail = "data:image/jpeg;base64," + base64.b64encode(preview).decode()
        # The picture and the network's answers in full are let go of.
        slim = None if row.assessment is None else replace(row.assessment, answer={})
        rows.append(Row(replace(row, picture=None, assessment=slim), thumbnail, picture_hash))
        left = (time.monotonic() - start) / done * (count - done)
        bar.progress(done / count, text=f"{done} of {count}, about {left:.0f} s left")
        if done == count:
            break
    bar.empty()
    stop.empty()


def take_turns(rows: Iterator[BatchRow], waiting: DeltaGenerator) -> Iterator[BatchRow]:
    """Yield the rows, each made when it is this visitor's turn, so that nobody waits for a whole batch of another's."""
    while True:
        with turns.turn(waiting):
            row = next(rows, None)
        if row is None:
            return
        yield row


def show_rows(batch: Batch) -> None:
    """Show the table, what became of the files, and the download."""
    rows, count, labels = batch.rows, batch.count, batch.bundle.labels
    statuses = [one.row.status for one in rows]
    if len(rows) < count:
        st.warning(wording.BATCH_STOPPED.format(done=len(rows), count=count))
    st.info(
        wording.BATCH_DONE.format(
            answered=statuses.count("answered"),
            count=len(rows),
            refused=statuses.count("refused"),
            unreadable=statuses.count("unreadable"),
        )
        + f" {wording.RESULT_NOTE}"
    )
    insist = st.toggle(wording.BATCH_INSIST, key="batch_insist") if "refused" in statuses else False
    if insist:
        refused = [(one.picture_hash, one.row.assessment) for one in rows if one.row.status == "refused"]
        journal.write_answers(
            [(picture_hash, one) for picture_hash, one in refused if one is not None], batch.bundle, insisted=True
        )
    facts = [describe_row(one.row, labels, insist=insist) for one in rows]
    show_table(rows, facts, labels)
    left, right = st.columns(2)
    left.download_button(
        "CSV",
        lambda: write_rows(facts, model_name=batch.bundle.name, fingerprint=batch.bundle.fingerprint),
        file_name="skinai-batch.csv",
        mime="text/csv",
        on_click="ignore",
        key="batch_csv",
        width="stretch",
    )
    if right.button(wording.BATCH_CLEAR, key="batch_clear", width="stretch"):
        del st.session_state["batch"]
        st.rerun()


def show_table(rows: Sequence[Row], facts: Sequence[dict[str, Any]], labels: LabelSet) -> None:
    """Show one row a file; a click on a column's head sorts by it."""
    names = {label.code: label.name for label in labels}
    table = pd.DataFrame(
        {
            "Picture": [one.thumbnail for one in rows],
            # The table's own download does not escape formulas.
            "File": [escape_cell(str(fact["file"])) for fact in facts],
            "Status": [str(fact["status"]) for fact in facts],
            "Most probable": [names.get(fact["most_probable"]) for fact in facts],
            "How sure": [wording.BATCH_CERTAINTY.get(fact["certainty"], "no rules") for fact in facts],
            "Malignant sum": pd.array([fact["malignant_probability"] for fact in facts], dtype="Float64"),
            "Reaches the threshold": [{True: "yes", False: "no"}.get(fact["above"]) for fact in facts],
            "Reason": [str(fact["reason"]) for fact in facts],
        }
    )
    st.dataframe(
        table,
        width="stretch",
        hide_index=True,
        row_height=64,
        height=min(700, 64 * len(table) + 40),
        column_config={
            "Picture": st.column_config.ImageColumn(width="small"),
            "Malignant sum": st.column_config.NumberColumn(format="percent"),
            "Reason": st.column_config.TextColumn(width="large"),
        },
        alt="One row a picture",
        key="batch_table",
    )


main()
