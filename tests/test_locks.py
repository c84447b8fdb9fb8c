"""What is installed is named to the last package, with its hashes; of the image also with its licence."""

import json
import re

import pytest
from conftest import ROOT

LOCKS = {
    "app": ["requirements.txt"],
    "image": ["requirements-runtime.txt", "requirements-service.txt", "requirements-signin.txt"],
}
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", re.MULTILINE)


def fold(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path):
    return {fold(name): version for name, version in PIN.findall(path.read_text())}


def read_names(entry):
    return {fold(name) for name, _ in PIN.findall(entry)}


def read_components():
    """Return version by package, as the image's bill of materials has them, less what installs packages."""
    parts = json.loads((ROOT / "locks" / "image.cdx.json").read_text())["components"]
    return {fold(part["name"]): part["version"] for part in parts if part["name"] not in ("pip", "setuptools")}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_is_required_at_the_same_versions_and_a_hash_of_each_package(lock):
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    locked = read_pins(ROOT / "locks" / f"{lock}.txt")
    for file in LOCKS[lock]:
        assert read_pins(ROOT / file).items() <= locked.items()
    entries = [entry for entry in re.split(r"\n(?=\w)", text) if not entry.startswith("#")]
    assert {name for entry in entries for name in read_names(entry)} == set(locked)
    assert len(locked) > 50
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_bill_of_materials_is_what_the_image_installs():
    components = read_components()
    # Of a few packages a lock has one version for each kind of machine.
    locked = {(fold(name), version) for name, version in PIN.findall((ROOT / "locks" / "image.txt").read_text())}
    assert components.items() <= locked
    assert read_pins(ROOT / "requirements-service.txt").items() <= components.items()


def test_no_licence_asks_for_the_source_of_what_is_built_on_it():
    rows = [line.split("|") for line in (ROOT / "locks" / "licences.md").read_text().splitlines()[2:]]
    named = {fold(row[1].strip()): row[3].strip() for row in rows}
    assert set(read_components()) <= set(named)
    assert not [name for name, licence in named.items() if licence in ("", "UNKNOWN")]
    strict = [name for name, licence in named.items() if re.search(r"\bA?GPL", licence) and "LGPL" not in licence]
    assert not strict
