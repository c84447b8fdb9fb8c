"""Trains a small network as one of the processes that mpiexec started, and prints what came of it as JSON."""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from skinai.training.peers import open_peers


def main():
    sys.path.insert(0, str(Path(__file__).parents[1]))
    peers = open_peers("mpi")
    from conftest import shorten_lite0

    from skinai.data.metadata import read_data_folder
    from skinai.data.split import split_lesions
    from skinai.training.config import default_config
    from skinai.training.fit import configured_architecture, fit_network
    from skinai.training.run import as_subset, load_run_data

    shorten_lite0(pytest.MonkeyPatch())
    data = read_data_folder(Path(sys.argv[1]))
    config = replace(
        default_config("efficientnet-lite0"),
        init="random",
        epochs=2,
        batch_size=25,
        learning_rate=3e-3,
        frame_width_px=64,
        crop_px=(48,),
        drop_path=0.0,
    )
    run = load_run_data(
        data, split_lesions(data.table), configured_architecture(config).frame, subsets=("train", "valid")
    )
    train, valid = (as_subset(run.frames[name], data.labels.codes) for name in ("train", "valid"))
    with tempfile.TemporaryDirectory() as folder:
        network, history = fit_network(
            config,
            train,
            valid,
            class_count=7,
            checkpoint_path=Path(folder) / "checkpoint.npz",
            data_hash="x",
            verbose=False,
            peers=peers,
        )
    digest = hashlib.sha256(b"".join(weights.tobytes() for weights in network.get_weights())).hexdigest()
    print(json.dumps({"number": peers.number, "weights": digest, "loss": [row["loss"] for row in history]}), flush=True)


if __name__ == "__main__":
    main()
