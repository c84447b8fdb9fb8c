"""``python -m benchmarks [--quick] [--note WORDS]``: a table, ``results.json`` and a row in ``history.csv``."""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.app import time_start
from benchmarks.memory import list_steps
from benchmarks.pipeline import time_keras_under_streamlit, time_steps
from benchmarks.runtimes import compare_runtimes, prepare
from benchmarks.timing import describe_machine
from skinai import __version__
from skinai.model.bundle import find_model_folder, load_bundle

_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Time everything once, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, and no row in the history")
    parser.add_argument("--note", default="", help="what else is to be known of the machine")
    parser.add_argument("--out", type=Path, default=_HERE / "results.json", help="the JSON file to write")
    options = parser.parse_args()
    count = 20 if options.quick else 200
    machine = describe_machine()
    start = time_start(count=1 if options.quick else 5)
    memory = list_steps()
    steps = time_steps(count=count)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        runtimes = compare_runtimes(folder, count=count)
        runtimes.insert(0, time_keras_under_streamlit(folder, count=5 if options.quick else 30))
    bundle = load_bundle(find_model_folder())
    for row in runtimes:
        if "median_ms" in row:
            row["times_faster_than_predict"] = round(runtimes[1]["median_ms"] / row["median_ms"], 2)
    found = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "model": bundle.name,
        "fingerprint": bundle.fingerprint,
        "machine": machine | {"note": options.note},
        "repetitions": count,
        "app": start,
        "app_steps": memory,
        "steps": steps,
        "runtimes": runtimes,
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    tables = {"The app": [start], "What its start adds up from": memory, "The shipped models": steps}
    for title, rows in (tables | {f"One network, {count} times": runtimes}).items():
        print(f"\n{title}\n{pd.DataFrame(rows).to_string(index=False, na_rep='')}")
    if not options.quick:
        _remember(found)


def _remember(found: dict) -> None:
    """Add a row to the history: how long a picture takes with each shipped model, and the start of the app."""
    totals = {row["model"]: row["median_ms"] for row in found["steps"] if row["step"] == "decode to probabilities"}
    row = {"created_utc": found["created_utc"], "version": found["version"], "fingerprint": found["fingerprint"]}
    row |= {f"{name}_ms": value for name, value in totals.items()}
    row |= {name: found["app"].get(name) for name in ("first_answer_s", "idle_memory_mb")}
    row |= {name: found["machine"][name] for name in ("processor", "cores", "load_before", "note")}
    path = _HERE / "history.csv"
    before = pd.read_csv(path) if path.exists() else None
    table = pd.concat([before, pd.DataFrame([row])], ignore_index=True)
    table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
