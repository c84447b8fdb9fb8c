"""``python -m fuzz [TARGET ...] [--minutes N]``: fuzz readers one after the other; ends with 1 after a finding."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuzz.seeds import build_seeds
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]
# What libFuzzer says of itself as it goes, and at the end.
_PULSE = re.compile(r"#\d+\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_UNITS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


def main() -> int:
    """Fuzz what was asked for; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="for each target")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "fuzz", help="for corpus and findings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if unknown := sorted(set(options.targets) - set(TARGETS)):
        parser.error(f"unknown targets: {', '.join(unknown)}")
    found = False
    for name in options.targets or TARGETS:
        facts = fuzz(name, options.out / name, seconds=round(60 * options.minutes), seed=options.seed)
        print(json.dumps({"target": name} | facts), flush=True)
        found = found or bool(facts["kinds"])
    return int(found)


def fuzz(name: str, folder: Path, *, seconds: int, seed: int) -> dict[str, Any]:
    """Fuzz one target for so long, beginning anew after a crash of the whole process; return what came of it.

    Returns
    -------
    dict
        ``seconds``, ``executions``, ``edges`` and ``features`` of the watched code that were reached, ``corpus``
        (inputs that reached something new), ``accepted`` and ``refused`` inputs, ``crashes``, and ``kinds`` of
        findings.
    """
    for part in ("corpus", "seeds", "findings"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(build_seeds(name)):
        (folder / "seeds" / f"{number:04d}").write_bytes(content)
    facts: dict[str, Any] = {"executions": 0, "crashes": 0, "accepted": 0, "refused": 0}
    kinds: set[str] = set()
    start = time.monotonic()
    while (left := seconds - (time.monotonic() - start)) > 1:
        (folder / "counts.json").unlink(missing_ok=True)
        log = folder / "log"
        with log.open("w") as file:
            command = [sys.executable, "-m", "fuzz.engine", name, str(folder), str(round(left)), str(seed)]
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, check=False).returncode
        text = log.read_text(errors="replace")
        pulses, units = _PULSE.findall(text), _UNITS.findall(text)
        if not pulses:
            raise SystemExit(f"The fuzzer did not start: {text[-2000:]}")
        facts |= dict(zip(("edges", "features", "corpus"), map(int, pulses[-1]), strict=True))
        facts["executions"] += int(units[-1]) if units else 0
        counts = json.loads((folder / "counts.json").read_text()) if (folder / "counts.json").exists() else {}
        for outcome in ("accepted", "refused"):
            facts[outcome] += counts.get(outcome, 0)
        kinds |= set(counts.get("kinds", ()))
        if code:
            facts["crashes"] += 1
            kinds.add(f"the process ended with {code}")
            (folder / f"log-of-crash-{facts['crashes']}").write_text(text)
            seed += 1
    return {"seconds": round(time.monotonic() - start), **facts, "kinds": sorted(kinds)}


if __name__ == "__main__":
    sys.exit(main())
