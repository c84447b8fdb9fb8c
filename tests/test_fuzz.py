"""Every reader of files from strangers, fed with changed inputs by the harness of `make fuzz`, and what that found."""

import json
import random
import time

import pytest

from fuzz.harness import MOST_MIB, Harness, find_fault, require
from fuzz.mutation import MUTATORS, mutate_plainly
from fuzz.seeds import TRAINING, build_seeds
from fuzz.targets import TARGETS, Metadata, Models, Pictures, Predictions, Splits
from skinai.errors import DataError

SECONDS, INPUTS = 2, 2000
pytestmark = pytest.mark.filterwarnings("ignore")  # a reader may warn, and what it says then is not looked at

_PREDICTIONS = b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC,truth,lesion,group,age_band,sex,localization,dx_type\n"
_CHALLENGE = b"\1image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
# Tables that were found, each as short as it could be made: what they say could steer a terminal or was a page long,
# a torn row was read as if each value stood one column further, or a header took time by the square of its length.
KEPT = {
    "metadata": (
        b"\x87lesion_id,image_id,dx,dx_type,age,sex,localization\nL,I,nv,,,,\nL,J,\x1b[31m,,,,",
        b"\x03label,pixel0000" + 30_000 * b",pixel0001" + b"\n1",
        b"\x06image,label" + 30_000 * b",b,c" + b"\n1",
    ),
    "split": (
        b"\0image_id,lesion_id,group,subset\nI,L,L,\x1b[31m",
        b"\0image_id,lesion_id,group,subset\nx,I,L,L,train",
        b'\2image\tfold\nI\t"train"x',
        b"\2image\tfold\nI\ttr\x0fain",
        b"\3image_id_a,image_id_b\nx,I,J",
        b"\3image_id_a" + 3000 * b",b" + b"\n",
    ),
    "predictions": (
        b"\0" + _PREDICTIONS + b"I,0,1,0,0,0,0,0,nv,L,L,80+",
        b"\0" + _PREDICTIONS + b"x,I,0,1,0,0,0,0,0,nv,L,L,80+,male,back,histo",
        b"\0" + _PREDICTIONS + 2 * b"\5,0,1,0,0,0,0,0,nv,L,L,80+,male,back,histo\n",
        _CHALLENGE + b"I,0,1,0,0,0,0,0\n%%\nimage_id,dx\nI,nv,x",
        b"\2image,sharpness\n1,2\n1,2,3\n",
    ),
}
# What a description in a model folder was changed into, by the file and what of it.
EDITS = {
    (Models.BUNDLE, "no training"): lambda facts: facts.pop("training"),
    (Models.BUNDLE, "notes that are a number"): lambda facts: facts.update(notes=5),
    (Models.BUNDLE, "a million pixels"): lambda facts: facts["frame"].update(width_px=10**6),
    (Models.BUNDLE, "half a pixel"): lambda facts: facts["frame"].update(width_px=64.5),
    (Models.BUNDLE, "a frame with a line in it"): lambda facts: facts["frame"].update({"\n": 1}),
    (Models.BUNDLE, "a probability of a thousand"): lambda facts: facts["probe"].update(mel=1000),
    (Models.BUNDLE, "a part that is a number"): lambda facts: facts.update(files=[*facts["files"].items(), (1, "a")]),
    (Models.BUNDLE, "a part with a long name"): lambda facts: facts["files"].update({"x" * 300: "a"}),
    (Models.DECISION, "a version of nothing"): lambda facts: facts.update(version=0.0),
    (Models.REPORT, "a figure beyond numbers"): lambda facts: facts["overall"]["accuracy"].update(value=10**400),
    (Models.REPORT, "infinitely many pictures"): lambda facts: facts.update(pictures=float("inf")),
    (Models.REPORT, "fewer lesions than none"): lambda facts: facts.update(lesions=-1),
    (Models.REPORT, "a name that is a list"): lambda facts: facts.update(model=["a"]),
    (Models.REPORT, "a subset with a long name"): lambda facts: facts.update(subset="x" * 300),
    (Models.REPORT, "a class that is none"): lambda facts: facts["baseline"].update(always="none"),
}


def run(name, folder, contents):
    """Return the harness of a target after it has read the inputs."""
    (folder / "place").mkdir()
    harness = Harness(TARGETS[name](folder / "place").read, folder / "findings")
    for content in contents:
        harness(content)
    return harness


def change_seeds(name, seeds):
    """Yield changed seeds, the same ones every time."""
    rng, mutate = random.Random(name), MUTATORS[name]
    most = {"pictures": Pictures, "metadata": Metadata, "split": Splits, "predictions": Predictions, "models": Models}[
        name
    ].most_bytes
    for _ in range(INPUTS):
        content = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2, 4))):
            content = mutate(content, most, rng, lambda plain, longest: mutate_plainly(plain, longest, rng))
        assert len(content) <= most
        yield content


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_reader_takes_its_seeds_and_changes_of_them(name, tmp_path):
    """For two seconds and until ten were refused, or for two thousand inputs.

    The fuzzer itself takes ten minutes and looks where it gets to.
    """
    seeds = list(build_seeds(name))
    harness = run(name, tmp_path, seeds[:: 20 if name == "pictures" else 1])
    until = time.monotonic() + SECONDS
    for content in change_seeds(name, seeds):
        if time.monotonic() > until and min(harness.counts["accepted"], harness.counts["refused"]) >= 10:
            break
        harness(content)
    assert harness.findings == {}
    assert min(harness.counts["accepted"], harness.counts["refused"]) >= 10


@pytest.mark.parametrize("name", list(KEPT))
def test_tables_that_were_found_are_refused_with_a_sentence(name, tmp_path):
    harness = run(name, tmp_path, KEPT[name])
    assert harness.findings == {}
    assert harness.counts == {"refused": len(KEPT[name])}


def test_descriptions_that_were_found_are_refused_with_a_sentence_or_do_no_harm(tmp_path):
    models = Models(tmp_path)
    harness = Harness(models.read, tmp_path / "findings")
    for (kind, _), edit in EDITS.items():
        facts = json.loads(models.contents[kind])
        edit(facts)
        harness(bytes([kind | TRAINING]) + json.dumps(facts).encode())
    assert harness.findings == {}
    assert harness.counts["refused"] >= len(EDITS) - 1


def hold_much():
    return len(bytearray(int((MOST_MIB + 100) * 1024 * 1024)))


class LooseError(DataError):
    """An error that says whatever it was given."""

    __str__ = Exception.__str__


def refuse(sentence):
    raise LooseError(sentence)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda content: content.decode(), "UnicodeDecodeError in nothing of ours"),
        (lambda content: [][0], "IndexError in nothing of ours"),
        (lambda content: require(content == b"", "an input is empty"), "broken promise: an input is empty"),
        (lambda content: refuse("a\nb."), "LooseError in nothing of ours: its sentence has more than one line"),
        (
            lambda content: refuse("\x1b[31mA table is red."),
            "LooseError in nothing of ours: its sentence has more than",
        ),
        (lambda content: refuse("a" * 9999 + "."), "LooseError in nothing of ours: its sentence is far too long"),
        (lambda content: refuse("'dx'"), "LooseError in nothing of ours: it is no sentence"),
        (lambda content: hold_much(), "large"),
    ],
)
def test_whatever_a_reader_should_not_do_is_noted(read, kind, tmp_path):
    harness = Harness(read, tmp_path)
    for content in (b"\xff\xff", b"\xff"):
        harness(content)
    (found,) = harness.findings
    assert found.startswith(kind)
    assert harness.findings[found] == b"\xff", "the shortest input is kept"
    assert b"\xff" in [path.read_bytes() for path in tmp_path.iterdir()]


def test_a_reader_that_takes_too_long_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.harness.MOST_SECONDS", 0.05)
    harness = Harness(lambda content: sum(range(20_000_000)), tmp_path)
    harness(b"")
    assert list(harness.findings) == ["slow"]


def test_what_is_well_is_counted_and_not_noted(tmp_path):
    harness = Harness(lambda content: refuse("A table has no rows.") if content else None, tmp_path / "none")
    for content in (b"", b"a", b"b"):
        harness(content)
    assert harness.counts == {"accepted": 1, "refused": 2}
    assert harness.findings == {}
    assert not (tmp_path / "none").exists()
    assert find_fault("The file is empty.") == ""


@pytest.mark.soak
def test_the_fuzzer_runs_and_tells_what_it_reached(tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed: make fuzz")
    from fuzz.__main__ import fuzz

    facts = fuzz("split", tmp_path, seconds=6, seed=1)
    assert facts["executions"] > 100
    assert facts["features"] > facts["edges"] > 100
    assert facts["crashes"] == 0
