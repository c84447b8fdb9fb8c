"""A run is one folder that says what it was, and the command lists and compares runs."""

import json

import pytest

from skinai.__main__ import main
from skinai.errors import DataError
from skinai.training.record import find_runs, read_run


def test_a_run_records_configuration_seed_data_commit_and_history(small_model):
    run = read_run(small_model)
    assert run.state == "finished"
    assert run.configuration["seed"] == 0
    assert run.record["precision"] in ("float32", "bfloat16", "float16")
    assert len(run.record["data_sha256"]) == 64
    assert run.record["pictures"].keys() == {"train", "valid"}
    assert run.record["commit"] is None or len(run.record["commit"].rstrip("+")) == 12
    assert run.record["machine"]["cores"] >= 1
    assert run.history["epoch"].tolist() == [1, 2]
    assert run.kept["log_loss"] == run.history["valid_log_loss"].min()
    assert run.record["split"] == "by lesion"


def test_the_figures_of_a_run_are_those_of_what_it_kept(small_model, tmp_path):
    record = json.loads((small_model / "run.json").read_text())
    record["configuration"]["keep"] = "last"
    (tmp_path / "run.json").write_text(json.dumps(record))
    row = "{},1.0,{},0.5,0.5,0.001,1.0\n"
    head = "epoch,loss,valid_log_loss,valid_accuracy,valid_balanced_accuracy,learning_rate,seconds\n"
    (tmp_path / "training_log.csv").write_text(head + row.format(1, 0.2) + row.format(2, 0.3))
    assert (read_run(tmp_path).kept["epoch"], read_run(tmp_path).kept["log_loss"]) == (2, 0.3)


@pytest.mark.shipped
def test_an_ensemble_is_listed_with_its_figures_on_valid(shipped_model, capsys):
    assert main(["runs", str(shipped_model)]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    tried = json.loads((shipped_model / "bundle.json").read_text())["calibration"]["tried_on_valid"]
    best = min(tried, key=lambda row: row["log_loss"])
    assert row[6:9] == [f"{best[name]:.3f}" for name in ("log_loss", "accuracy", "balanced_accuracy")]


def test_runs_are_listed_the_latest_first(small_model, tmp_path, capsys):
    unfinished = tmp_path / "later"
    unfinished.mkdir()
    record = json.loads((small_model / "run.json").read_text()) | {"started_utc": "2999-01-01T00:00:00+00:00"}
    (unfinished / "run.json").write_text(json.dumps(record))
    (unfinished / "checkpoint.npz").write_bytes(b"")
    assert main(["runs", str(tmp_path), str(small_model)]) == 0
    head, later, small, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "state", "architecture"]
    assert later.split()[:5] == ["later", "unfinished", "seed-cnn", "0", "0/2"]
    assert small.split()[:5] == ["small", "finished", "seed-cnn", "0", "2/2"]


def test_two_runs_are_compared_on_valid(small_model, capsys):
    assert main(["runs", "--compare", str(small_model), str(small_model)]) == 0
    text = capsys.readouterr().out
    assert "balanced accuracy" in text
    assert "0.000 (0.000 to 0.000)" in text


def test_folders_without_runs(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert "No runs here." in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        find_runs([tmp_path])
    with pytest.raises(DataError, match="is no run"):
        read_run(tmp_path / "other")
