"""The house rules that keep training and serving apart."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Which rooms a room may import, besides itself and the ones that everybody may.
EVERYBODY = {"errors", "labels", "artefacts"}
MAY_IMPORT = {
    "errors": set(),
    "labels": set(),
    "artefacts": set(),
    "audit_log": EVERYBODY,
    "access": EVERYBODY,
    "data": EVERYBODY,
    "model": EVERYBODY | {"data"},
    "training": EVERYBODY | {"data", "model"},
    "evaluation": EVERYBODY | {"data"},
    "serving": EVERYBODY | {"data", "model", "evaluation"},
    "wording": {"data", "labels", "model", "evaluation", "serving"},
    "cluster": EVERYBODY,
    "bulk": EVERYBODY | {"data", "model", "evaluation", "serving", "wording", "cluster"},
    "exports": EVERYBODY | {"data", "model", "evaluation", "serving", "wording"},
    "service": EVERYBODY | {"data", "model", "evaluation", "serving", "wording", "exports", "cluster", "audit_log"},
}
MAY_IMPORT_ANYTHING = {"ui", "__main__", "__init__"}
HEAVY = {"tensorflow", "keras"}
# Who does not serve over HTTP need not install them.
FOR_THE_SERVICE = {"fastapi", "uvicorn", "python_multipart", "prometheus_client", "pydantic"}
# Who lets everybody in need not install them; Streamlit loads them when somebody signs in.
FOR_SIGN_IN = {"authlib", "httpx2", "joserfc"}
# Who answers for few pictures need not load them.
MAY_LOAD_ENGINES = {"bulk": {"pyarrow", "ray"}, "cluster": {"ray"}, "service": {"ray"}}


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "skinai").parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path} has a relative import"
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "skinai").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_the_rooms_before_it(path):
    room = _room(path)
    if room in MAY_IMPORT_ANYTHING:
        return
    ours = {name for name in _imports(path) if name.startswith("skinai.")}
    ours.discard("skinai.__version__")
    assert {name.split(".")[1] for name in ours} - {room} <= MAY_IMPORT[room]
    if room == "serving":
        assert {name.split(".")[2] for name in ours if name.startswith("skinai.model.")} <= {
            "bundle",
            "gates",
            "head",
            "reference",
            "router",
            "session",
        }
        assert {name.split(".")[2] for name in ours if name.startswith("skinai.evaluation.")} <= {"decision"}


@pytest.mark.parametrize("path", sorted((ROOT / "skinai").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_streamlit_and_tensorflow_stay_in_their_rooms(path):
    packages = {name.split(".")[0] for name in _imports(path)}
    if _room(path) != "ui":
        assert "streamlit" not in packages
    if _room(path) not in ("model", "training"):
        assert not packages & HEAVY
    if _room(path) != "service":
        assert not packages & FOR_THE_SERVICE
    assert not packages & FOR_SIGN_IN
    assert packages & {"pyarrow", "ray"} <= MAY_LOAD_ENGINES.get(_room(path), set())


@pytest.mark.parametrize("path", [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))], ids=lambda path: path.name)
def test_pages_import_no_training_and_no_tensorflow(path):
    names = _imports(path)
    assert not {name.split(".")[0] for name in names} & HEAVY
    assert not [name for name in names if name.startswith(("skinai.training", "skinai.model.architectures"))]


def test_no_page_lies_directly_in_pages():
    """A deep link would otherwise open the page without app.py, so without the standing notice."""
    assert not list((ROOT / "pages").glob("*.py"))
    assert len(list((ROOT / "pages").glob("*/*.py"))) >= 3


def test_every_page_is_in_the_menu():
    from skinai.ui.navigation import PAGES

    on_disk = {str(path.relative_to(ROOT)) for path in (ROOT / "pages").glob("*/*.py")}
    assert {file for file, _, _ in PAGES} == on_disk


def test_serving_and_evaluation_load_no_tensorflow():
    code = (
        "import sys, skinai.serving.files, skinai.evaluation.report, skinai.ui.charts, skinai.ui.resources, "
        "skinai.service.server, skinai.bulk.run, skinai.bulk.scorer, skinai.bulk.processes, skinai.bulk.cluster, "
        "skinai.service.replicas; "
        "print([name for name in ('tensorflow', 'keras', 'jax', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_requirements_are_exact_and_above_the_safe_floors():
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    named = {
        "streamlit",
        "tensorflow",
        "keras",
        "ai-edge-litert",
        "numpy",
        "pandas",
        "pillow",
        "plotly",
        "scikit-learn",
    }
    assert named <= set(pins)
    floors = {"streamlit": (1, 61), "pillow": (13, 0), "keras": (3, 15, 1)}
    for package, floor in floors.items():
        assert tuple(int(part) for part in pins[package].split(".")) >= floor


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-service.txt", "requirements-signin.txt"])
def test_the_installed_versions_are_the_pinned_ones(file):
    from importlib.metadata import version

    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / file).read_text(), re.MULTILINE))
    assert {package: version(package) for package in pins} == pins


def test_the_server_is_configured_for_patients_pictures():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["maxUploadSize"] <= 20
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["enableCORS"] is True
    assert config["client"]["showErrorDetails"] == "none"
    assert config["browser"]["gatherUsageStats"] is False


def test_no_sentence_takes_the_name_of_another():
    tree = ast.parse((ROOT / "skinai" / "wording.py").read_text(encoding="utf-8"))
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    assert len(names) > 100
    assert len(set(names)) == len(names)


def test_no_picture_of_the_data_sets_is_tracked():
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not re.findall(r"ISIC_\d{7}.*\.(?:jpe?g|png|webp|bmp)$|HAM10000_metadata", done.stdout, re.MULTILINE)
