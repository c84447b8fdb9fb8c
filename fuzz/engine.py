"""``python -m fuzz.engine TARGET FOLDER SECONDS SEED``: the fuzzer itself, in a process that ends with it.

It writes ``counts.json``, ``corpus/`` and ``findings/`` in the folder. What it imports here is watched for coverage.
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import numpy  # noqa: F401  # what is imported before is not watched
import pandas  # noqa: F401

with atheris.instrument_imports(include=["skinai", "fuzz.targets", "pydicom", "PIL", "zipfile"]):
    from fuzz.targets import TARGETS

from fuzz.harness import Harness
from fuzz.mutation import MUTATORS

_COUNTED_EVERY = 500
# The share of inputs that are changes of a seed.
_ANEW = 0.25
# Of libFuzzer, for what no harness can note: a reader that never comes back, or that fills the memory at once.
_LONGEST_S, _MOST_MB = 60, 2048


def main(name: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzz one target; does not come back."""
    warnings.simplefilter("ignore")
    place = tempfile.TemporaryDirectory(prefix="fuzz-")
    target = TARGETS[name](Path(place.name))
    seeds = [path.read_bytes() for path in sorted((folder / "seeds").iterdir())]
    harness, mutate, done = Harness(target.read, folder / "findings"), MUTATORS[name], 0

    def test_one_input(content: bytes) -> None:
        nonlocal done
        harness(content)
        done += 1
        if done % _COUNTED_EVERY == 0:
            harness.write_counts(folder / "counts.json")

    def custom_mutator(content: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        # Most changes make a reader refuse what it took; from a whole file one gets to what it promises of others.
        return mutate(rng.choice(seeds) if rng.random() < _ANEW else content, most, rng, atheris.Mutate)

    arguments = [f"-max_total_time={seconds}", f"-max_len={target.most_bytes}", f"-timeout={_LONGEST_S}"]
    arguments += [f"-rss_limit_mb={_MOST_MB}", f"-seed={seed}", "-print_final_stats=1", "-len_control=0"]
    arguments += [f"-artifact_prefix={folder / 'findings'}/", str(folder / "corpus"), str(folder / "seeds")]
    atheris.Setup([sys.argv[0], *arguments], test_one_input, custom_mutator=custom_mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
