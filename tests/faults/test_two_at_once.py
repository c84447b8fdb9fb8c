"""Two processes on the same folder: one waits or gives way with a sentence, and what is written is one's alone."""

import json
import shutil
import signal
import threading

import pytest
from conftest import encode
from faulting import (
    SKINAI,
    Child,
    find_sentence,
    hash_files,
    list_temporaries,
    require_no_traceback,
    serving_pages,
    serving_pictures,
    succeed,
    wait_until,
)
from page_visitor import Visitor

from skinai.artefacts import holding
from skinai.data.drawing import draw_lesion
from skinai.evaluation.decision import read_decision
from skinai.evaluation.report import read_report
from skinai.model.bundle import load_bundle, seal_folder
from skinai.serving.assessment import Assessor
from tests.data.test_download import assert_finished

LONG = pytest.mark.soak


def start_both(first, second, **options):
    """Start two commands as close together as possible; return what came of them."""
    children = [Child(*command, **options) for command in (first, second)]
    return [child.finish() for child in children]


def start_while_stopped(first, second, folder, begun):
    """Stop the first command as soon as it has begun, run the second one, and let the first one go on.

    Where the first one had ended by then, as the test was held up, both begin again in an empty folder.
    """
    for _ in range(5):
        holder = Child(*first)
        wait_until(lambda holder=holder: begun() or not holder.lives)
        holder.process.send_signal(signal.SIGSTOP)
        wait_until(lambda holder=holder: holder.stands_still or not holder.lives)
        if holder.lives:
            break
        holder.finish()
        shutil.rmtree(folder)
    try:
        late = Child(*second).finish()
    finally:
        holder.process.send_signal(signal.SIGCONT)
    return [holder.finish(), late]


def tell_apart(ended):
    """Return the one that ended well, and the sentence of the other."""
    assert sorted(one.code for one in ended) == [0, 2], [one.err[-1000:] for one in ended]
    winner, loser = sorted(ended, key=lambda one: one.code)
    return winner, find_sentence(loser)


def test_a_folder_is_held_by_one_and_free_again_when_that_one_is_done(tmp_path):
    with holding(tmp_path, wait=False) as first, holding(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
    reached = []

    def wait():
        with holding(tmp_path):
            reached.append(True)

    with holding(tmp_path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.2)
        assert not reached
    waiting.join(120)
    assert reached
    with holding(tmp_path / "absent") as free:
        assert free


@LONG
def test_of_two_trainings_into_one_folder_one_is_refused(small_data, tmp_path):
    """Of other seeds, so that a mix could be told."""
    out = tmp_path / "model"
    command = [*SKINAI, "train", "--data", small_data, "--architecture", "seed-cnn", "--epochs", 2, "--no-test"]
    command += ["--out", out, "--seed"]
    _, said = tell_apart(start_both([*command, 1], [*command, 2]))
    assert said == f"Another process is writing into {out}."
    bundle = load_bundle(out)
    record = json.loads((out / "run.json").read_text())
    assert bundle.facts["training"]["configuration"] == record["configuration"]
    Assessor.load(out)
    assert not list_temporaries(out)
    assert not (out / "checkpoint.npz").exists()


def test_of_two_downloads_into_one_folder_one_is_refused(tmp_path):
    folder = tmp_path / "ham"
    with serving_pictures() as address:
        command = [*SKINAI, "data", "download", "--to", folder, "--server", address]
        begun = lambda: folder.is_dir() and any(folder.iterdir())  # noqa: E731
        _, said = tell_apart(start_while_stopped(command, command, folder, begun))
    assert said == f"Another download into {folder} is running."
    assert_finished(folder)


def test_of_two_batches_into_one_folder_one_is_refused(gated_model, tmp_path):
    (tmp_path / "pictures").mkdir()
    content = encode(draw_lesion(3, width_px=320, height_px=240))
    for number in range(60):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(content)
    command = [*SKINAI, "predict", tmp_path / "pictures", "--model", gated_model, "--part-size", 4, "--out"]
    out = tmp_path / "out"
    _, said = tell_apart(start_while_stopped([*command, out], [*command, out], out, lambda: any(out.glob("part-*"))))
    assert said == f"Another process is writing into {out}."
    succeed(*command, tmp_path / "whole")
    assert hash_files(out) == hash_files(tmp_path / "whole")


@LONG
def test_of_two_looks_at_test_there_is_one(small_model, small_data, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "models" / "small")
    for name in ("predictions_test.csv", "report.json", "curves.csv.gz", "decision.json"):
        (folder / name).unlink()
    command = [*SKINAI, "evaluate", folder, "--data", small_data]
    ended = start_both(command, command)
    assert [one.code for one in ended] == [0, 0], [one.err[-1000:] for one in ended]
    assert ended[0].out == ended[1].out
    assert (folder.parent / "TEST_LOG.md").read_text().count(load_bundle(folder).fingerprint) == 1
    read_report(folder, load_bundle(folder).labels)
    assert not list_temporaries(folder)


def test_of_two_decisions_each_has_a_number_of_its_own_and_the_seal_is_the_last_ones(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "small")
    seal_folder(folder)
    command = [*SKINAI, "decide", folder, "--coverage"]
    children = [Child(*command, share) for share in (0.8, 0.85, 0.9, 0.95)]
    ended = [child.finish() for child in children]
    assert [one.code for one in ended] == [0] * 4, [one.err[-1000:] for one in ended]
    rules = [json.loads(path.read_text()) for path in folder.glob("decision*.json")]
    assert sorted(one["version"] for one in rules) == [1, 2, 3, 4, 5]
    assert sorted(one["conformal"]["coverage"] for one in rules)[-1] == 0.95
    assert len({one["conformal"]["coverage"] for one in rules} & {0.8, 0.85, 0.9, 0.95}) == 4
    Assessor.load(folder)
    assert not list_temporaries(folder)


@LONG
def test_evaluations_and_decisions_at_once_leave_a_report_of_the_rules_that_it_names(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "small")
    seal_folder(folder)
    commands = [[*SKINAI, "decide", folder, "--coverage", share] for share in (0.8, 0.85)]
    commands += [[*SKINAI, "evaluate", folder], [*SKINAI, "seal", folder], [*SKINAI, "evaluate", folder]]
    children = [Child(*command) for command in commands]
    for child in children:
        done = child.finish()
        assert done.code == 0, done.err
    bundle = load_bundle(folder)
    decision = read_decision(folder, fingerprint=bundle.fingerprint, labels=bundle.labels)
    report = read_report(folder, bundle.labels)
    if "coverage" in report.decision:  # it is about the rules in force
        whole = shutil.copytree(folder, tmp_path / "again" / "small")
        (whole / "report.json").unlink()
        succeed(*SKINAI, "evaluate", whole)
        assert (whole / "report.json").read_bytes() == (folder / "report.json").read_bytes()
    assert decision.version == 3
    Assessor.load(folder)


@LONG
def test_the_app_answers_on_while_rules_reports_and_seals_are_written(gated_model, tmp_path):
    folder = shutil.copytree(gated_model, tmp_path / "small")
    seal_folder(folder)
    fingerprint = load_bundle(folder).fingerprint
    lesion = encode(draw_lesion(3), "PNG")
    stop, failed = threading.Event(), []

    def write():
        for number in range(8):
            if stop.is_set():
                return
            for command in (
                ["decide", folder, "--coverage", 0.8 + number / 100],
                ["seal", folder],
                ["evaluate", folder],
            ):
                done = Child(*SKINAI, *command).finish()
                if done.code:
                    failed.append(done.err)

    environment = {"SKINAI_MODEL": str(folder), "SKINAI_CLINICAL": ""}
    with (
        serving_pages(env=environment) as (address, child),
        Visitor(address) as visitor,
        Visitor(address, page="report") as other,
    ):
        expected = visitor.upload(lesion).text.splitlines()
        writing, seen = threading.Thread(target=write), 0
        writing.start()
        while writing.is_alive():
            said = visitor.see().text
            assert f"fingerprint {fingerprint}" in said
            # Probabilities follow from the network alone, which nobody changed.
            top = next(line for line in expected if "Most probable" in line)
            assert top.partition(")")[0] in said
            assert f"fingerprint {fingerprint}" in other.see().text
            seen += 1
        stop.set()
        writing.join()
    assert not failed
    assert seen > 10
    require_no_traceback(child.said.err + child.said.out)


def test_two_visitors_who_write_rules_at_once_are_told_and_no_rules_are_lost(small_model, tmp_path, monkeypatch):
    """The second one presses while the first one's rules are being written."""
    import streamlit as st

    from skinai import wording
    from skinai.ui.evidence import workbench

    folder = shutil.copytree(small_model, tmp_path / "small")
    seal_folder(folder)
    bundle, real, told = load_bundle(folder), workbench.fit_decision, []

    def press_meanwhile(*arguments, **options):
        monkeypatch.setattr(workbench, "fit_decision", real)
        workbench._write(bundle, ["sensitivity_0.90"], 0.8)
        told.append(st.session_state["rules_written"])
        return real(*arguments, **options)

    monkeypatch.setattr(workbench, "fit_decision", press_meanwhile)
    workbench._write(bundle, ["sensitivity_0.90"], 0.85)
    assert told == [wording.WORKBENCH_FAILED.format(error=wording.WORKBENCH_BUSY)]
    decision = read_decision(folder, fingerprint=bundle.fingerprint, labels=bundle.labels)
    assert (decision.version, decision.coverage) == (2, 0.85)
    Assessor.load(folder)
    wait_until(lambda: not list_temporaries(folder))
