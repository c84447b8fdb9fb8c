"""The commands below `skinai data`, and what `split` takes from them."""

import http.server
import json
import shutil
import socket
import threading

import pandas as pd
import pytest

from skinai.__main__ import main
from skinai.data.hmnist import LABEL_ORDER
from skinai.data.metadata import METADATA_FILE, read_data_folder
from skinai.data.split import read_split


@pytest.fixture
def folder(small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SKINAI_DATA", raising=False)
    return shutil.copytree(small_data, tmp_path / "ham")


def copy_picture(folder, one, other):
    shutil.copy(next(folder.glob(f"*/{one}.jpg")), next(folder.glob(f"*/{other}.jpg")))


def test_an_audit_is_printed_and_kept_and_ends_with_2_where_something_is_wrong(folder, tmp_path, capsys):
    assert main(["data", "audit", "--data", str(folder), "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "HAM10000, Kaggle's layout" in printed
    assert "all           84       56       83     10,015    7,470" in printed
    copy_picture(folder, "ISIC_0000000", "ISIC_0000080")
    pairs = tmp_path / "pairs.csv"
    assert main(["data", "audit", "--data", str(folder), "--quick", "--json", "--pairs", str(pairs)]) == 2
    facts = json.loads(capsys.readouterr().out)
    found = {finding["code"]: finding["count"] for finding in facts["findings"]}
    assert (found["copies_across"], found["pair_conflict"]) == (1, 1)
    assert len(list((tmp_path / "cache" / "audits").glob("*.json"))) == 2
    assert pd.read_csv(pairs).iloc[0, :2].tolist() == ["ISIC_0000000", "ISIC_0000080"]


def test_near_duplicates_found_by_the_audit_keep_together_in_the_split(folder, tmp_path, capsys):
    copy_picture(folder, "ISIC_0000000", "ISIC_0000009")
    pairs, out = tmp_path / "pairs.csv", tmp_path / "split.csv"
    main(["data", "audit", "--data", str(folder), "--quick", "--pairs", str(pairs)])
    for seed in range(8):
        command = ["split", "--data", str(folder), "--seed", str(seed), "--out", str(out)]
        assert main([*command, "--near-duplicates", str(pairs)]) == 0
        subset = read_split(out).set_index("image_id")["subset"]
        assert subset["ISIC_0000000"] == subset["ISIC_0000009"]
        out.unlink()
    capsys.readouterr()


def test_a_split_is_checked_with_and_without_the_data(folder, small_model, tmp_path, capsys):
    own = str(small_model / "split.csv")
    assert main(["data", "check-split", own]) == 0
    assert "No lesion and no near-identical pair lies on two sides." in capsys.readouterr().out
    assert main(["data", "check-split", own, "--data", str(folder)]) == 0
    assert "mel " in capsys.readouterr().out
    leaking = tmp_path / "leaking.csv"
    table = pd.read_csv(own)
    table.assign(subset=["train", "test"] * (len(table) // 2)).to_csv(leaking, index=False)
    assert main(["data", "check-split", str(leaking), "--json"]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["lesions"]) > 5
    assert {row["dx"] for row in facts["leaks"]} == {""}


def test_pixels_are_unpacked_into_a_folder_that_can_be_split(folder, tmp_path, capsys):
    """Without the metadata a split by lesion is refused; with it the pictures come out as Kaggle has them."""
    metadata = pd.read_csv(folder / METADATA_FILE)
    rows = [[(7 * row + column) % 256 for column in range(192)] for row in range(len(metadata))]
    table = pd.DataFrame(rows, columns=[f"pixel{number:04d}" for number in range(192)])
    table["label"] = [LABEL_ORDER.index(code) for code in metadata["dx"]]
    pixels = tmp_path / "hmnist_8_8_RGB.csv"
    table.to_csv(pixels, index=False)
    given = ["--metadata", str(folder / METADATA_FILE)]
    assert main(["split", "--data", str(pixels), "--out", str(tmp_path / "s.csv")]) == 2
    assert "has no lesion ids, so it cannot be split by lesion" in capsys.readouterr().err
    assert main(["split", "--data", str(pixels), *given, "--out", str(tmp_path / "s.csv")]) == 0
    assert main(["train", "--data", str(pixels), "--architecture", "seed-cnn", "--out", str(tmp_path / "m")]) == 2
    assert "skinai data unpack" in capsys.readouterr().err
    assert main(["data", "unpack", str(pixels), *given, "--out", str(tmp_path / "unpacked")]) == 0
    assert len(read_data_folder(tmp_path / "unpacked").present) == len(metadata)
    assert main(["data", "unpack", str(pixels), *given, "--out", str(tmp_path / "unpacked")]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "audit"], "No data folder: give --data DIR or set SKINAI_DATA."),
        (["data", "audit", "--data", "nowhere"], "does not exist"),
        (["data", "check-split", "nowhere.csv"], "is missing in"),
        (["data", "unpack", "nowhere.csv", "--out", "x"], "does not exist"),
        (["split", "--data", "{folder}", "--near-duplicates", "nowhere.csv"], "does not exist"),
        (["app", "--data", "nowhere"], "nowhere does not exist."),
    ],
)
def test_mistakes_are_one_line(folder, arguments, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([part.format(folder=folder) for part in arguments]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.strip().splitlines()[-1].startswith("skinai: ")


def test_a_download_without_a_network_is_one_sentence_after_the_licence(tmp_path, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert main(["data", "download", "--to", str(tmp_path / "ham"), "--server", server]) == 2
    printed = capsys.readouterr().err
    assert "CC BY-NC 4.0" in printed
    assert "10.7910/DVN/DBW86T" in printed.splitlines()[-1]
    assert not list((tmp_path / "ham").glob("HAM*"))


def test_a_server_that_is_no_dataverse_is_one_sentence(tmp_path, capsys):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert main(["data", "download", "--to", str(tmp_path / "ham"), "--server", address]) == 2
        server.shutdown()
        thread.join()
    assert "404" in capsys.readouterr().err
