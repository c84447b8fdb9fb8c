"""Where nothing can be written and nobody is at home, the app answers, and a command that has to write says so."""

import json
import shutil
import subprocess

import pytest
from conftest import encode
from faulting import (
    CAN_BE_A_STRANGER,
    ROOT,
    SKINAI,
    STRANGER,
    ask_service,
    find_sentence,
    hash_files,
    open_folder,
    require_no_traceback,
    run,
    serving_pages,
    serving_requests,
    succeed,
)
from page_visitor import Visitor

from skinai.data.drawing import draw_lesion
from skinai.model.bundle import load_bundle

LONG = pytest.mark.soak
# A user without a home, who may write nowhere.
HOMELESS = {"HOME": None, "XDG_CACHE_HOME": None, "SKINAI_CACHE": None, "TMPDIR": "/nowhere"}
LESION = encode(draw_lesion(3), "PNG")
stranger = pytest.mark.skipif(not CAN_BE_A_STRANGER, reason="another user can be had by root only")


@pytest.fixture
def model(gated_model):
    """A model folder that everybody may read, in a folder whose name has spaces and letters beyond ASCII."""
    with open_folder("skinai Läsion 痣") as folder:
        yield shutil.copytree(gated_model, folder / "Modell für Ünal")


def expect(model, tmp_path):
    """Return what is answered for the lesion where everything can be written."""
    (tmp_path / "lesion.png").write_bytes(LESION)
    done = run(*SKINAI, "predict", "--json", "--insist", "--model", model, tmp_path / "lesion.png")
    return json.loads(done.out)


@stranger
def test_a_user_without_a_home_who_may_write_nowhere_gets_the_same_answers(model, tmp_path):
    before, expected = hash_files(model), expect(model, tmp_path)
    picture = tmp_path / "lesion.png"
    done = run(*STRANGER, *SKINAI, "predict", "--json", "--insist", "--model", model, picture, env=HOMELESS)
    require_no_traceback(done.err)
    assert json.loads(done.out) == expected
    # What lies there already is read, and nothing has to be written.
    done = run(*STRANGER, *SKINAI, "evaluate", model, env=HOMELESS)
    require_no_traceback(done.err)
    assert done.out == run(*SKINAI, "evaluate", model).out
    for command in ("decide", "seal"):
        said = find_sentence(run(*STRANGER, *SKINAI, command, model, env=HOMELESS))
        assert said.startswith(str(model)), said
        assert said.endswith(": Permission denied."), said
    assert hash_files(model) == before


@stranger
@LONG
@pytest.mark.parametrize(
    "command",
    [
        ("train", "--data", "{data}", "--architecture", "seed-cnn", "--epochs", "1", "--out", "{model}/x"),
        ("slim", "{small}", "--data", "{data}", "--out", "{model}/x"),
        ("gates", "{model}", "--data", "{data}"),
        ("predict", "{data}/HAM10000_images_part_1", "--model", "{model}", "--out", "{model}/x.parquet"),
        ("predict", "{data}/HAM10000_images_part_1", "--model", "{model}", "--format", "csv", "--out", "{model}/x.csv"),
        ("record", "{picture}", "--model", "{model}", "--out", "{model}/x"),
        ("split", "--data", "{data}", "--out", "{model}/x.csv"),
        ("keys", "add", "ward", "--file", "{model}/keys.json"),
        ("data", "download", "--to", "{model}/x", "--server", "http://127.0.0.1:9"),
        ("evaluate", "{model}", "--bundle", "{model}/x.zip"),
    ],
    ids=lambda command: " ".join(command[:2]) if isinstance(command, tuple) else "",
)
def test_commands_that_have_to_write_say_where_they_may_not(model, small_model, small_data, command):
    before = hash_files(model)
    picture = next((small_data / "HAM10000_images_part_1").iterdir())
    names = {"data": small_data, "small": small_model, "model": model, "picture": picture}
    said = find_sentence(run(*STRANGER, *SKINAI, *(part.format(**names) for part in command), env=HOMELESS))
    assert "ermission denied" in said, said
    assert str(model) in said, said
    assert hash_files(model) == before


@stranger
@LONG
def test_an_audit_that_cannot_be_kept_is_printed_all_the_same(small_data):
    done = run(*STRANGER, *SKINAI, "data", "audit", "--data", small_data, "--quick", env=HOMELESS)
    require_no_traceback(done.err)
    assert "could not be kept for the app" in done.err
    assert "pictures cannot be read" not in done.out
    assert "1 listed pictures are absent" in done.out


@stranger
def test_the_service_answers_a_user_without_a_home(model, tmp_path):
    expected = expect(model, tmp_path)
    with serving_requests("--model", model, before=STRANGER, env=HOMELESS) as (address, child):
        status, facts = ask_service(address, LESION, insist="true")
    assert status == 200
    assert facts["pictures"][0]["probabilities"] == expected["probabilities"]
    require_no_traceback(child.said.err)


@stranger
def test_the_app_answers_a_user_without_a_home(model):
    before = hash_files(model)
    with serving_pages(*STRANGER, env=HOMELESS | {"SKINAI_MODEL": str(model), "SKINAI_CLINICAL": ""}) as (
        address,
        child,
    ):
        require_every_page(address, model)
    require_no_traceback(child.said.err + child.said.out)
    assert hash_files(model) == before


def require_every_page(address, model):
    """Require that each page is shown, and an answer for a picture."""
    footer = f"fingerprint {load_bundle(model).fingerprint}"
    for page in ("batch", "data", "report", "about"):
        with Visitor(address, page=page) as visitor:
            assert footer in visitor.see().text, page
    with Visitor(address) as visitor:
        said = visitor.upload(LESION).text
        assert "Most probable" in said or "not assessed" in said.lower() or "refused" in said.lower(), said
        assert footer in said


@LONG
def test_the_app_answers_where_no_file_system_can_be_written(model):
    """Everything is mounted again so that it can only be read, in a view of its own that ends with the process."""
    shut = "mount --make-rprivate / && mount -o remount,bind,ro / && (mount -o remount,bind,ro /dev/shm || true) && "
    probe = ["unshare", "-m", "sh", "-c", shut + "! touch /tmp/skinai-probe 2> /dev/null"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    before = ("unshare", "-m", "sh", "-c", shut + 'exec "$@"', "sh")
    environment = {"SKINAI_MODEL": str(model), "SKINAI_CLINICAL": "", "HOME": None}
    with serving_pages(*before, env=environment) as (address, child):
        require_every_page(address, model)
    require_no_traceback(child.said.err + child.said.out)
    with serving_requests("--model", model, before=before, env={"HOME": None}) as (address, child):
        assert ask_service(address, LESION, insist="true")[0] == 200


@LONG
def test_paths_with_spaces_and_other_letters_do_for_every_command(model, small_data):
    """Data, model, answers and documents all lie in such a folder, which is also the working folder."""
    here = model.parent
    data = shutil.copytree(small_data, here / "Daten für später")
    environment = {"PYTHONPATH": str(ROOT), "SKINAI_AUDIT": str(here / "Prüf protokoll.jsonl")}
    train = ["train", "--data", data.name, "--architecture", "seed-cnn", "--epochs", 1, "--out", "Neues Modell"]
    for command in (
        ["data", "audit", "--data", data.name, "--quick", "--pairs", "Paare ü.csv"],
        ["split", "--data", data.name, "--out", "Aufteilung ß.csv"],
        [*train, "--split", "Aufteilung ß.csv"],
        ["evaluate", "Neues Modell", "--bundle", "Belege é.zip"],
        ["predict", data.name, "--model", "Neues Modell", "--out", "Antworten ü.parquet"],
        ["predict", data.name, "--model", "Neues Modell", "--format", "csv", "--out", "Antworten ü.csv"],
        ["audit", "verify", "Prüf protokoll.jsonl"],
    ):
        done = run(*SKINAI, *command, env=environment, cwd=here)
        assert done.code in ((0, 2) if command[1] == "audit" else (0,)), (command, done.err[-2000:])
        require_no_traceback(done.err)
    succeed(*SKINAI, "seal", "Neues Modell", env=environment, cwd=here)
