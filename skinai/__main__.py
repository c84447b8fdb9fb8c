"""The command line: ``python -m skinai data | split | train | ensemble | slim | gates | router | seal | cases | runs |
evaluate | compare | decide | predict | record | stress | serve | keys | app | audit``.

Each command is a few lines that call one room. Heavy imports stay inside the command that needs them, so that
`predict` answers quickly and never loads TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from skinai import __version__
from skinai.artefacts import holding, remove_stale_temporaries
from skinai.errors import SkinaiError, UsageError
from skinai.labels import HAM10000
from skinai.model.bundle import (
    BUNDLE_FILE,
    find_clinical_folder,
    find_model_folder,
    load_bundle,
    models_folder,
    renew_seal,
    seal_folder,
)
from skinai.model.router import CLINICAL, DERMOSCOPY
from skinai.wording import NOT_A_DEVICE, NOTICE

if TYPE_CHECKING:  # importing it costs pandas, which `predict` does without
    from skinai.bulk.run import Engine
    from skinai.data.download import Progress
    from skinai.data.images import Mark
    from skinai.data.metadata import DataFolder
    from skinai.evaluation.checks import Check
    from skinai.evaluation.report import EvaluationReport
    from skinai.labels import LabelSet
    from skinai.model.bundle import Bundle
    from skinai.serving.files import FileAnswer
    from skinai.serving.routing import Desk
    from skinai.training.config import TrainingConfig
    from skinai.training.peers import Peers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 after a one-line sentence on standard error."""
    if arguments is None:
        _work_in_utf8()
    parser = _build_parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except SkinaiError as error:
        print(f"skinai: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"skinai: {error.filename2 or error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skinai: interrupted.", file=sys.stderr)
        return 130


def _work_in_utf8() -> None:
    """Start the command anew where the locale has Python read names and write text in something else than UTF-8.

    The same command then gives the same bytes everywhere, and so do the processes that it starts.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})


def run_audit(options: argparse.Namespace) -> int:
    """Look through a data folder; 2 if something in it is wrong."""
    from skinai.data.audit import audit_file, audit_folder, describe_audit, keep_audit, write_pairs
    from skinai.data.metadata import find_data_folder
    from skinai.data.sources import describe_source, read_source
    from skinai.data.split import read_near_duplicates
    from skinai.exports.text import format_audit

    data = read_source(
        find_data_folder(options.data), table_file=options.table, metadata=options.metadata, for_training=False
    )
    data = replace(data, mark=_read_mark(options.mark))
    source = describe_source(data)
    with _tell_progress() as tell:
        audit = audit_folder(
            data, source=source, known=read_near_duplicates(), near=not options.quick, on_progress=tell
        )
    try:
        keep_audit(audit, audit_file(audit.state))
    except OSError as error:
        print(f"The audit could not be kept for the app: {error.strerror or error}.", file=sys.stderr)
    if options.pairs:
        count = write_pairs(audit, options.pairs)
        print(f"Wrote {count} pairs into {options.pairs}.", file=sys.stderr)
    print(json.dumps(describe_audit(audit), indent=1) if options.json else format_audit(audit))
    return 2 if audit.is_wrong else 0


def run_check_split(options: argparse.Namespace) -> int:
    """Look for leaks in a split; 2 if there are any."""
    from skinai.data.metadata import find_data_folder
    from skinai.data.sources import read_source
    from skinai.data.split import read_near_duplicates, read_pairs
    from skinai.data.split_audit import audit_split, read_any_split
    from skinai.exports.text import format_split_audit

    split, table, folder, lesions_known = read_any_split(options.file), None, None, True
    if options.data or os.environ.get("SKINAI_DATA"):
        data = read_source(find_data_folder(options.data), table_file=options.table, for_training=False)
        table, folder = data.table, data.path if data.path.is_dir() else None
        lesions_known = data.lesions_known
    pairs = set(read_near_duplicates(folder))
    if options.near_duplicates:
        pairs |= set(read_pairs(options.near_duplicates))
    audit = audit_split(split, table, sorted(pairs), lesions_known=lesions_known)
    if options.json:
        facts = {
            "leaks": json.loads(audit.leaks.to_json(orient="records")),
            "lesions": audit.lesions,
            "pairs": audit.pairs,
            "not_listed": len(audit.not_listed),
            "not_split": len(audit.not_split),
        }
        print(json.dumps(facts, indent=1))
    else:
        print(format_split_audit(audit))
    return 0 if audit.is_clean else 2


def run_download(options: argparse.Namespace) -> int:
    """Fetch HAM10000 from Harvard's Dataverse."""
    from skinai.data.download import LICENCE_NOTE, download_ham10000

    print(LICENCE_NOTE, file=sys.stderr)
    with _tell_download() as tell:
        result = download_ham10000(
            options.to, server=options.server, keep_archives=options.keep_archives, on_progress=tell
        )
    print(result.sentence)
    return 0


def run_unpack(options: argparse.Namespace) -> int:
    """Write the pictures of a table of pixels as files."""
    from skinai.data.hmnist import write_pictures
    from skinai.data.sources import read_source

    data = read_source(options.file, metadata=options.metadata)
    for remark in data.remarks:
        print(remark.sentence, file=sys.stderr)
    write_pictures(data, options.out)
    print(f"Wrote {len(data.table):,} pictures into {options.out}.")
    return 0


def run_split(options: argparse.Namespace) -> int:
    """Divide the lesions of a data folder."""
    from skinai.data.metadata import find_data_folder
    from skinai.data.sources import read_source
    from skinai.data.split import (
        DEFAULT_SEED,
        read_near_duplicates,
        read_pairs,
        require_lesions,
        rotate_split,
        split_lesions,
        write_split,
    )

    data = read_source(
        find_data_folder(options.data),
        table_file=options.table,
        metadata=options.metadata,
        drop_conflicts=options.drop_conflicts,
    )
    require_lesions(data)
    for remark in data.remarks:
        print(remark.sentence, file=sys.stderr)
    pairs = set(read_near_duplicates(data.path if data.path.is_dir() else None))
    if options.near_duplicates:
        pairs |= set(read_pairs(options.near_duplicates))
    split = split_lesions(data.table, sorted(pairs), seed=DEFAULT_SEED if options.seed is None else options.seed)
    if options.fold:
        split = rotate_split(split, data.table, fold=options.fold[0], folds=options.fold[1])
    write_split(split, options.out)
    lesions = split.groupby("subset")["lesion_id"].nunique()
    for subset, pictures in split["subset"].value_counts().items():
        print(f"{subset:<6}{lesions[subset]:>7,} lesions{pictures:>8,} pictures")
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Train a network and write its model folder."""
    from skinai.training.config import configure
    from skinai.training.peers import open_peers

    if options.by_picture and (options.split or options.no_test):
        raise UsageError("--by-picture goes with neither --split nor --no-test.")
    given = ("init", "epochs", "batch_size", "learning_rate", "seed")
    changes = {name: getattr(options, name) for name in given if getattr(options, name) is not None}
    if _names_file(options.init):
        changes["init"] = "pretrained"
    config = configure(options.architecture, changes, options.set)
    peers = open_peers(options.engine)
    with peers.ending_together():
        return _train(options, config, peers)


def _train(options: argparse.Namespace, config: TrainingConfig, peers: Peers) -> int:
    from skinai.data.split import read_near_duplicates, read_split, split_lesions, split_pictures

    data = _read_data(options)
    if options.by_picture:
        split = split_pictures(data.table)
    else:
        split = (
            read_split(options.split) if options.split else split_lesions(data.table, read_near_duplicates(data.path))
        )
    out = Path(options.out).resolve()
    # TensorFlow takes seconds to import, so mistakes in the arguments are found before.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.run import remove_weights, train_model

    with _alone(out) if peers.is_first else nullcontext():
        bundle = train_model(
            config,
            data,
            split,
            out,
            resume=options.resume,
            by_picture=options.by_picture,
            teacher=find_model_folder(options.teacher) if options.teacher else None,
            pretrained=Path(options.init) if _names_file(options.init) else None,
            licence=options.licence,
            notes=options.note,
            peers=peers,
        )
    if bundle is None:
        return 0
    print(
        f"Trained {bundle.name}, fingerprint {bundle.fingerprint}; "
        f"{bundle.facts['training']['fit_seconds']} s of training."
    )
    if options.no_test:
        print("The test subset was not looked at; `evaluate --data` does it once.")
        return 0
    purpose = options.purpose + (" (split by picture)" if options.by_picture else "")
    try:
        return _evaluate(out, "test", lambda: data, purpose=purpose, as_json=False, by_picture=options.by_picture)
    finally:
        if options.by_picture:
            remove_weights(out)
            print("The split leaks on purpose, so the weights were removed; predictions and report stay.")


def _names_file(init: str | None) -> bool:
    return init not in (None, "imagenet", "random")


def run_pretrain(options: argparse.Namespace) -> int:
    """Pre-train a network on the pictures of train, without their diagnoses."""
    from skinai.data.split import read_near_duplicates, read_split, split_lesions

    data = _read_data(options)
    split = read_split(options.split) if options.split else split_lesions(data.table, read_near_duplicates(data.path))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.pretraining import PretrainingConfig
    from skinai.training.run import pretrain

    given = ("architecture", "epochs", "batch_size", "learning_rate", "seed")
    changes = {name: getattr(options, name) for name in given if getattr(options, name) is not None}
    out = Path(options.out).resolve()
    if out.suffix != ".npz":
        raise UsageError(f"--out names a file that ends in .npz. Received: {options.out}.")
    config, imagenet = PretrainingConfig(**changes), options.init == "imagenet"
    losses = pretrain(config, data, split, out, imagenet=imagenet, resume=options.resume)
    print(f"Wrote {options.out} after {len(losses)} epochs; `train --init {options.out}` starts from it.")
    return 0


def run_ensemble(options: argparse.Namespace) -> int:
    """Join trained networks into one model folder."""
    data = _read_data(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.ensemble import build_ensemble

    out = Path(options.out).resolve()
    members = [Path(member) for member in options.members]
    views = options.views.split(",")
    with _alone(out):
        bundle = build_ensemble(members, data, out, views=views, full_weights=options.full_weights)
    print(f"Joined {len(options.members)} networks as {bundle.name}, fingerprint {bundle.fingerprint}.")
    return _evaluate(out, "valid", None, purpose="", as_json=False)


def run_slim(options: argparse.Namespace) -> int:
    """Write the lighter form of a trained network."""
    data = _read_data(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.slim import slim_model

    out = Path(options.out).resolve()
    with _alone(out):
        bundle = slim_model(Path(options.folder), data, out, licence=options.licence, notes=options.note)
    print(f"Wrote {bundle.name}, fingerprint {bundle.fingerprint}.")
    return _evaluate(out, "valid", None, purpose="", as_json=False)


def run_gates(options: argparse.Namespace) -> int:
    """Fit the gate of a model."""
    data = _read_data(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.gates import fit_gates

    with _writing(Path(options.folder)):
        fit_gates(Path(options.folder), data, unlike=options.unlike)
        renew_seal(Path(options.folder))
    return 0


def run_seal(options: argparse.Namespace) -> int:
    """Note the hashes of a finished model's rules, gate and router."""
    folder = find_model_folder(options.folder)
    with _writing(folder):
        seal_folder(folder)
    return 0


def run_router(options: argparse.Namespace) -> int:
    """Fit the router between dermoscopy and clinical photographs."""
    from skinai.data.sources import read_source

    clinical, dermoscopy = _read_data(options), read_source(Path(options.dermoscopy))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.router import fit_router

    with _writing(Path(options.folder)):
        fit_router(
            Path(options.folder),
            clinical,
            dermoscopy,
            dermoscopy_model=find_model_folder(options.dermoscopy_model),
            neither=options.neither,
        )
        renew_seal(Path(options.folder))
    return 0


def run_runs(options: argparse.Namespace) -> int:
    """List runs, or compare two of them on `valid`."""
    from skinai.training.record import find_runs, read_run

    if options.compare:
        from skinai.evaluation.comparison import compare_predictions
        from skinai.exports.text import format_comparison

        first, second = (read_run(Path(folder)) for folder in options.compare)
        changed = sorted(
            name
            for name in first.configuration.keys() | second.configuration.keys()
            if first.configuration.get(name) != second.configuration.get(name)
        )
        for name in changed:
            print(f"{name:<22}{first.configuration.get(name)!s:<20}{second.configuration.get(name)}")
        labels = load_bundle(first.folder).labels if (first.folder / BUNDLE_FILE).exists() else HAM10000
        comparison = compare_predictions(first.folder, second.folder, labels=labels)
        print(f"\non valid: {format_comparison(comparison, first.folder.name, second.folder.name)}")
        return 0
    folders = [Path(folder) for folder in options.folders]
    if not folders:
        folders = [folder for folder in (Path("runs"), models_folder()) if folder.is_dir()]
    runs = find_runs(folders)
    if not runs:
        print("No runs here.")
        return 0
    head = ("run", "state", "architecture", "seed", "epochs", "kept", "log loss", "acc", "bal. acc", "min", "data")
    rows: list[tuple[str, ...]] = [(*head, "commit")]
    for run in runs:
        kept, configuration = run.kept or {}, run.configuration
        figures = [f"{kept[name]:.3f}" if kept else "-" for name in ("log_loss", "accuracy", "balanced_accuracy")]
        epochs = f"{len(run.history)}/{configuration['epochs']}" if "epochs" in configuration else "-"
        facts = [run.folder.name, run.state, configuration.get("architecture"), configuration.get("seed", "-"), epochs]
        facts += [kept.get("epoch", "-"), *figures, f"{run.minutes:.0f}" if run.minutes else "-"]
        facts += [str(run.record.get("data_sha256"))[:8], run.record.get("commit") or "-"]
        rows.append(tuple(str(fact) for fact in facts))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nFigures on valid, calibrated there, of the epoch that is kept. Compare those of runs that have the same")
    print("in the column data: the same pictures and split.")
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Print the report of stored predictions, of a model folder or of any pair of tables."""
    if options.predictions or options.truth:
        return _evaluate_pair(options)
    if options.split:
        raise UsageError("--split goes with --predictions and --truth; a model folder has its own.")
    if options.folder and options.model:
        raise UsageError("Name the model once, as FOLDER or with --model.")
    folder = find_model_folder(options.folder or options.model)
    read = (lambda: _read_data(options)) if options.data else None
    code = _evaluate(folder, options.subset, read, purpose=options.purpose, as_json=options.json)
    if options.isic:
        from skinai.artefacts import predictions_file
        from skinai.data.predictions import read_predictions
        from skinai.evaluation.scoring import write_pair

        labels = _identify(folder)[2]
        table = read_predictions(folder / predictions_file(options.subset), labels)
        written = write_pair(table, Path(options.isic), labels)
        print(f"Wrote {' and '.join(str(path) for path in written)}.", file=sys.stderr)
    if options.bundle:
        from skinai.artefacts import write_atomic
        from skinai.exports.evidence import build_evidence

        write_atomic(Path(options.bundle), build_evidence(folder))
        print(f"Wrote {options.bundle}; open index.html in it.", file=sys.stderr)
    return code


def run_compare(options: argparse.Namespace) -> int:
    """Compare the stored predictions of two model folders."""
    from skinai.evaluation.comparison import compare_predictions
    from skinai.exports.text import format_comparison

    first, second = (find_model_folder(folder) for folder in (options.first, options.second))
    labels = load_bundle(first).labels if (first / BUNDLE_FILE).exists() else HAM10000
    comparison = compare_predictions(first, second, subset=options.subset, labels=labels)
    if options.json:
        test = comparison.mcnemar
        facts = {
            "subset": options.subset,
            "pictures": comparison.pictures,
            "figures": json.loads(comparison.frame().to_json(orient="records")),
            "mcnemar": {name: getattr(test, name) for name in ("lesions", "only_first", "only_second", "p_value")},
        }
        print(json.dumps(facts, indent=1))
    else:
        print(f"on {options.subset}: {format_comparison(comparison, first.name, second.name)}")
    return 0


def run_decide(options: argparse.Namespace) -> int:
    """Fit the decision rules anew, on `valid`."""
    from skinai.evaluation.decision import OPERATING_POINTS, fit_decision

    folder = find_model_folder(options.folder)
    bundle = load_bundle(folder)
    with _writing(folder):
        decision = fit_decision(
            folder,
            fingerprint=bundle.fingerprint,
            labels=bundle.labels,
            calibration=bundle.facts.get("calibration"),
            names=options.point or OPERATING_POINTS,
            coverage=options.coverage,
        )
        renew_seal(folder)
    for point in decision.operating_points:
        print(f"{point.name:<20}threshold {point.threshold:.6f}")
    print(
        f"Wrote version {decision.version} of decision.json, fitted on valid; `evaluate` shows what it reaches on test."
    )
    return 0


def run_cases(options: argparse.Namespace) -> int:
    """Write what is known of each test picture besides its probabilities."""
    data = _read_data(options)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from skinai.training.run import describe_cases

    describe_cases(find_model_folder(options.folder), data)
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """Answer for picture files."""
    from skinai.audit_log import open_audit_log
    from skinai.data.images import hash_pixels, read_picture
    from skinai.serving.files import find_picture_files, predict_files

    if _wants_parquet(options):
        return _predict_many(options)
    if options.format != "text" and not options.out:
        raise UsageError(f"--format {options.format} needs --out FILE.")
    if options.out and options.format == "text":
        raise UsageError("--out goes with --format isic, csv or parquet.")
    if options.format != "text" and options.json:
        raise UsageError(f"--json and --format {options.format} do not go together.")
    files = find_picture_files(options.paths)
    # A table has the columns of one label set, so it is one model's.
    desk = _load_desk(options, alone=options.format != "text" and options.answered_by != CLINICAL)
    bundle = desk.assessors[options.answered_by or DERMOSCOPY].predictor.bundle
    if options.format == "isic" and bundle.labels is not HAM10000:
        raise UsageError(f"ISIC's table has HAM10000's classes; this model has {list(bundle.labels.codes)}.")
    unanswered = 0
    answers = []
    # ISIC's table is for scoring a whole set of pictures, so it has every one that can be read.
    insist = options.insist or options.format == "isic"
    log = open_audit_log()
    for answer in predict_files(desk, files, chosen=options.answered_by, insist=insist):
        if log is not None and answer.routing is not None:
            log.append("", hash_pixels(read_picture(answer.file)), answer.describe())
        unanswered += answer.prediction is None
        if options.format != "text":
            answers.append(answer)
            if answer.reasons:
                print(f"skinai: {_show_name(answer.file)}: {answer.reasons[0][1]}", file=sys.stderr)
        elif options.json:
            print(json.dumps(answer.as_dict(), ensure_ascii=True), flush=True)
        else:
            _print_answer(answer)
    if options.format == "isic":
        _write_isic(answers, Path(options.out))
    elif options.format == "csv":
        _write_csv(answers, bundle, Path(options.out), insist=options.insist)
    elif not options.json:
        bundles = [assessor.predictor.bundle for assessor in desk.assessors.values()]
        models = " ".join(f"Model {bundle.name}, fingerprint {bundle.fingerprint}." for bundle in bundles)
        print(f"\n{NOTICE} {NOT_A_DEVICE}\n{models}")
    return 2 if unanswered else 0


def run_record(options: argparse.Namespace) -> int:
    """Write documents about one lesion."""
    from skinai.audit_log import open_audit_log
    from skinai.data.images import hash_pixels, read_picture
    from skinai.errors import DataError, PictureError
    from skinai.evaluation.report import read_report
    from skinai.exports.fhir import write_fhir
    from skinai.exports.pdf import write_pdf
    from skinai.exports.record import PatientFacts, build_record, write_csv, write_json
    from skinai.serving.assessment import MOST_PICTURES
    from skinai.serving.files import FileAnswer
    from skinai.wording import say_dermoscopy, say_routing, summarise

    if len(options.pictures) > MOST_PICTURES:
        raise UsageError(f"At most {MOST_PICTURES} pictures of one lesion are taken together.")
    try:
        patient = PatientFacts(options.age, options.sex, options.site)
    except ValueError as error:
        raise UsageError(str(error)) from error
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    desk = _load_desk(options)
    try:
        pictures = []
        for name in options.pictures:
            pictures.append(read_picture(Path(name)))
    except PictureError as error:
        raise UsageError(f"{name} cannot be read: {error}") from error
    routing = desk.route(pictures, chosen=options.answered_by)
    if routing.answered_by is None:
        print(say_routing(routing))
        print("No document was written; --as dermoscopy or --as clinical asks a model all the same.")
        return 2
    assessor = desk.assessors[routing.answered_by]
    assessments = [assessor.assess(picture) for picture in pictures]
    whole, bundle = assessor.pool(assessments), assessor.predictor.bundle
    if (log := open_audit_log()) is not None:
        hashes = [hash_pixels(picture) for picture in pictures]
        for name, one, pixels_hash in zip(options.pictures, assessments, hashes, strict=True):
            answer = FileAnswer(
                Path(name), bundle.name, bundle.fingerprint, one, one.reasons, options.insist, routing
            ).describe()
            log.append("", pixels_hash, answer, **({"together_with": hashes} if len(hashes) > 1 else {}))
    try:
        report = read_report(bundle.folder, bundle.labels)
    except DataError:
        report = None
    if report is not None and (report.fingerprint, report.subset) != (bundle.fingerprint, "test"):
        report = None
    agreement = assessor.compare_turns(pictures[0], whole.prediction) if len(pictures) == 1 else None
    record = build_record(
        pictures,
        assessments,
        whole,
        insisted=options.insist,
        agreement=agreement,
        patient=patient,
        report=report,
        routing=routing,
    )
    overlay = assessor.draw_overlay(pictures[0], assessments[0], whole.prediction.top.code)
    from skinai.artefacts import write_atomic

    documents = {
        "record.json": write_json(record),
        "record.csv": write_csv(record),
        "record.fhir.json": write_fhir(record),
        "record.pdf": write_pdf(record, pictures, overlay),
    }
    for name, content in documents.items():
        write_atomic(out / name, content)
    said = [summarise(whole, shown=record.shown, insisted=record.insisted), *record.reasons]
    if record.shown and (remark := say_dermoscopy(whole)):
        said.append(remark)
    if record.routing is not None:
        said.append(say_routing(record.routing))
    print(*said)
    print(f"Wrote {', '.join(documents)} into {out}.")
    return 0 if record.shown else 2


def run_stress(options: argparse.Namespace) -> int:
    """Show what becomes of an answer under drawn artefacts."""
    from skinai.data.images import read_picture
    from skinai.errors import PictureError
    from skinai.serving.assessment import Assessor

    assessor = Assessor.load(find_model_folder(options.model))
    try:
        picture = read_picture(Path(options.picture))
    except PictureError as error:
        raise UsageError(f"The picture cannot be read: {error}") from error
    as_given = assessor.assess(picture)
    if as_given.refused and not options.insist:
        print(f"no answer: {as_given.reasons[0][1]}")
        return 2
    results = assessor.stress(picture)
    given = results[0].assessment.prediction
    for result in results:
        one = result.assessment.prediction
        change = one.malignant_probability - given.malignant_probability
        refused = "  refused by the gate" if result.assessment.refused else ""
        print(
            f"{result.name.replace('_', ' '):<14}malignant sum {one.malignant_probability:>6.1%}  {change:>+7.1%}  "
            f"{one.top.name}{refused}"
        )
    print(f"\n{NOTICE} {NOT_A_DEVICE}")
    return 0


def run_serve(options: argparse.Namespace) -> int:
    """Answer over HTTP until the process is told to stop."""
    folder, clinical = _find_folders(options)
    try:
        from skinai.service.server import is_this_computer, serve
        from skinai.service.upload import MAX_PICTURES
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("skinai"):
            raise
        raise UsageError(f"The service needs {error.name}: pip install -r requirements-service.txt.") from error
    workers = os.cpu_count() or 1 if options.workers is None else options.workers
    if workers < 1:
        raise UsageError(f"--workers is at least 1. Received: {workers}.")
    if options.queue < MAX_PICTURES:
        raise UsageError(f"--queue is at least {MAX_PICTURES}, a request's most pictures. Received: {options.queue}.")
    if options.rate is not None and options.rate < 1:
        raise UsageError(f"--rate is at least 1. Received: {options.rate}.")
    if options.keys and options.open:
        raise UsageError("--open is for a service without --keys.")
    if options.engine == "ray" and (options.keys or options.rate):
        raise UsageError("--keys and --rate do not go with --engine ray: put a proxy before it that has them.")
    if not (options.keys or options.open or is_this_computer(options.host)):
        raise UsageError(
            f"Others reach {options.host or 'that address'}: name their keys with --keys FILE (`skinai keys add` makes "
            "them), or say --open to answer everybody."
        )
    if options.engine == "ray":
        from skinai.cluster import require_ray
        from skinai.service.replicas import serve_on_ray

        require_ray()
        if options.replicas < 1:
            raise UsageError(f"--replicas is at least 1. Received: {options.replicas}.")
        serve_on_ray(
            *(folder, clinical),
            host=options.host,
            port=options.port,
            workers=workers,
            capacity=options.queue,
            replicas=options.replicas,
        )
    else:
        serve(
            *(folder, clinical),
            host=options.host,
            port=options.port,
            workers=workers,
            capacity=options.queue,
            keys=options.keys,
            pictures_per_minute=options.rate,
        )
    return 0


def run_keys(options: argparse.Namespace) -> int:
    """Make, list or remove the keys that `serve --keys` asks for."""
    from skinai.service.keys import add_key, read_digests, remove_key

    if options.act == "add":
        print(add_key(options.file, options.name))
        print(f"This is the key of {options.name}; it is not kept and not shown again.", file=sys.stderr)
    elif options.act == "remove":
        remove_key(options.file, options.name)
        print(f"The key of {options.name} is no longer answered.")
    else:
        for name in read_digests(options.file):
            print(name)
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Look for changes in an audit log; return 1 where there are any."""
    from skinai.audit_log import open_key, verify_log

    verdict = verify_log(options.file, open_key(), expected=options.expect)
    print(f"{verdict.entries:,} answers; the last hash is {verdict.last_hash}.")
    for problem in verdict.problems:
        print(problem)
    print("The log is not as it was written." if verdict.problems else "Nothing was changed, cut or moved.")
    return 1 if verdict.problems else 0


def run_app(options: argparse.Namespace) -> NoReturn:
    """Become the app's server process, so that a signal reaches it."""
    script = Path(__file__).resolve().parents[1] / "app.py"
    if not script.is_file():
        raise UsageError(f"{script} is missing; the app starts from a checkout of the repository.")
    folder, clinical = _find_folders(options)
    environment = os.environ | {"SKINAI_MODEL": str(folder.resolve()), "SKINAI_CLINICAL": ""}
    if clinical is not None:
        environment["SKINAI_CLINICAL"] = str(clinical.resolve())
    if options.workbench:
        environment["SKINAI_WORKBENCH"] = "1"
    for variable, given in (("SKINAI_DATA", options.data), ("SKINAI_TABLE", options.table)):
        if given:
            if not Path(given).exists():
                raise UsageError(f"{given} does not exist.")
            environment[variable] = str(Path(given).resolve())
    os.chdir(script.parent)  # where .streamlit/config.toml lies
    command = [sys.executable, "-m", "skinai.ui.server", str(script), "--port", str(options.port)]
    os.execve(sys.executable, command, environment)


def _find_folders(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return the folder of the model in use and, where there is one beside it, that of the one for photographs."""
    folder = find_model_folder(options.model)
    load_bundle(folder)
    clinical = Path(options.clinical) if options.clinical else find_clinical_folder()
    if options.model and not options.clinical:
        clinical = None
    if clinical is not None:
        load_bundle(clinical)
    return folder, clinical


def _choose_folders(options: argparse.Namespace, *, alone: bool = False) -> tuple[Path, Path | None]:
    """Return the folder of the model that was named alone, or else those of the models that are at hand."""
    if options.model:
        if options.answered_by:
            raise UsageError("--as goes without --model, which names the model.")
        return find_model_folder(options.model), None
    clinical = None if alone else find_clinical_folder()
    if options.answered_by == CLINICAL and clinical is None:
        raise UsageError("There is no model for clinical photographs here.")
    return find_model_folder(), clinical


def _load_desk(options: argparse.Namespace, *, alone: bool = False) -> Desk:
    """Load the models of `_choose_folders`."""
    from skinai.serving.routing import Desk

    return Desk.load(*_choose_folders(options, alone=alone))


def _wants_parquet(options: argparse.Namespace) -> bool:
    """Whether `predict` is to write a folder of Parquet; refuse what does not go with that, or needs it."""
    given = {"--engine": options.engine, "--processes": options.processes, "--part-size": options.part_size}
    names = [name for name, value in given.items() if value is not None]
    if options.format in ("isic", "csv"):
        if names:
            raise UsageError(f"{names[0]} goes with Parquet and not with --format {options.format}.")
        return False
    wanted = options.format == "parquet" or bool(names) or Path(options.out or "").suffix == ".parquet"
    if wanted and options.json:
        raise UsageError("--json and Parquet do not go together.")
    if wanted and not options.out:
        raise UsageError("Parquet needs --out FOLDER.")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"--processes is at least 1. Received: {options.processes}.")
    return wanted


def _predict_many(options: argparse.Namespace) -> int:
    """Answer for pictures into a folder of Parquet; 0 once each has its row, whatever came of it."""
    from skinai.bulk.job import PART_SIZE, build_job
    from skinai.bulk.run import score_pictures
    from skinai.bulk.sources import list_pictures

    engine, out = _choose_engine(options), Path(options.out)
    job = build_job(*_choose_folders(options), chosen=options.answered_by, insist=options.insist)
    files = list_pictures(options.paths)
    with _tell_progress() as tell:
        done = score_pictures(
            job,
            files,
            out,
            engine=engine,
            part_size=PART_SIZE if options.part_size is None else options.part_size,
            on_progress=lambda share: tell("pictures", share),
        )
    print(
        f"{done.pictures:,} pictures in {out}: {done.answered:,} answered, {done.refused:,} refused, "
        f"{done.unreadable:,} unreadable."
    )
    rate = f", {done.scored / done.seconds:.1f} a second" if done.scored else ""
    print(f"Scored by this command: {done.scored:,} in {done.seconds:.1f} s{rate}.")
    print(f"{NOTICE} {NOT_A_DEVICE}")
    return 0


def _choose_engine(options: argparse.Namespace) -> Engine:
    """Return what scores the parts of a list."""
    from skinai.bulk.processes import score_here, score_in_processes

    if options.engine == "ray":
        from skinai.bulk.cluster import score_on_ray
        from skinai.cluster import require_ray

        require_ray()
        return partial(score_on_ray, processes=options.processes)
    processes = options.processes or 1
    return score_here if processes == 1 else partial(score_in_processes, processes=processes)


def _read_data(options: argparse.Namespace) -> DataFolder:
    from skinai.data.metadata import find_data_folder
    from skinai.data.sources import read_source

    malignant = [code.strip() for code in (options.malignant or "").split(",") if code.strip()]
    mark = _read_mark(options.mark)
    data = read_source(
        find_data_folder(options.data),
        table_file=options.table,
        labels_file=options.labels,
        malignant=malignant,
        drop_conflicts=options.drop_conflicts,
    )
    if options.labels and data.labels is HAM10000:
        raise UsageError("--labels goes with your own pictures; the classes of these are known.")
    if data.pixels is not None:
        raise UsageError(
            f"{data.path.name} is a table of pixels; write its pictures as files first: skinai data unpack."
        )
    return replace(data, mark=mark)


def _read_mark(text: str | None) -> Mark | None:
    from skinai.data.images import check_mark

    if text is None:
        return None
    try:
        return check_mark(text.split(","))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _evaluate(
    folder: Path,
    subset: str,
    read: Callable[[], DataFolder] | None,
    *,
    purpose: str,
    as_json: bool,
    by_picture: bool = False,
) -> int:
    from skinai.artefacts import predictions_file
    from skinai.evaluation.checks import check_folder
    from skinai.evaluation.decision import DECISION_FILE, fit_decision, read_decision
    from skinai.evaluation.report import REPORT_FILE, evaluate_predictions, read_report, write_report
    from skinai.exports.text import format_checks, format_report

    name, fingerprint, labels, calibration = _identify(folder)
    with _writing(folder):  # who comes at the same time finds what the first one has written
        predictions = folder / predictions_file(subset)
        if subset == "test" and not predictions.exists():
            if read is None:
                raise UsageError(f"{folder} has no {predictions.name}; give --data DIR to look at test, once.")
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            from skinai.training.run import look_at_test

            def say(sentence: str) -> None:
                print(sentence, file=sys.stderr)

            look_at_test(folder, read(), purpose=purpose, by_picture=by_picture, verbose=not as_json, say=say)
        if not (folder / DECISION_FILE).exists():
            fit_decision(folder, fingerprint=fingerprint, labels=labels, calibration=calibration)
        decision = read_decision(folder, fingerprint=fingerprint, labels=labels)
        report = evaluate_predictions(
            predictions,
            model_name=name,
            fingerprint=fingerprint,
            subset=subset,
            labels=labels,
            decision=decision,
            calibration=calibration,
        )
        checks: Sequence[Check] = ()
        if subset == "test":
            _refuse_others(folder, report)
            # The report follows from predictions and rules alone: an older one is replaced without a look at pictures.
            if not _is_written(report, folder):
                write_report(report, folder)
            report = read_report(folder, labels)
            checks = check_folder(folder, report, fingerprint=fingerprint)
    if as_json:
        facts = report.as_dict() | {"checks": [check.as_dict() for check in checks]}
        print(json.dumps(facts, indent=1))
    else:
        print(format_report(report))
        if checks:
            print(f"\n{format_checks(checks)}")
    return _tell_voiding(checks, f"{REPORT_FILE} in {folder}") if not by_picture else 0


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a folder while a model is written into it; where nothing was written, it goes again.

    Raises
    ------
    UsageError
        If another process is writing into it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with holding(out, wait=False) as free:
        if not free:
            raise UsageError(f"Another process is writing into {out}.")
        try:
            yield
        finally:
            with suppress(OSError):
                out.rmdir()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Hold a model folder while parts of it are written anew, without what interrupted writes have left."""
    with holding(folder):
        remove_stale_temporaries(folder)
        yield


def _identify(folder: Path) -> tuple[str, str, LabelSet, Mapping[str, Any] | None]:
    """Return name, fingerprint, labels and calibration of a model, also of a run that was kept without its weights."""
    from skinai.evaluation.decision import DECISION_FILE
    from skinai.evaluation.report import REPORT_FILE

    if (folder / BUNDLE_FILE).exists() or not (folder / REPORT_FILE).exists():
        bundle = load_bundle(folder)
        return bundle.name, bundle.fingerprint, bundle.labels, bundle.facts.get("calibration")
    try:
        facts = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        rules = json.loads((folder / DECISION_FILE).read_text(encoding="utf-8"))
        return str(facts["model"]), str(facts["fingerprint"]), HAM10000, rules.get("calibration")
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{REPORT_FILE} in {folder} is damaged: {error}.") from error


def _refuse_others(folder: Path, report: EvaluationReport) -> None:
    """Refuse predictions or a model that a stored report was not made from; it is never replaced unseen."""
    from skinai.evaluation.report import REPORT_FILE

    path = folder / REPORT_FILE
    if not path.exists():
        return
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        owner, hashed = facts["fingerprint"], facts["predictions_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise SkinaiError(f"{path} is damaged: {error}.") from error
    if hashed != report.predictions_hash:
        raise SkinaiError(f"{path} was not made from the predictions_test.csv beside it.")
    if owner != report.fingerprint:
        raise SkinaiError(f"{REPORT_FILE} in {folder} belongs to the model {owner}.")


def _is_written(report: EvaluationReport, folder: Path) -> bool:
    from skinai.artefacts import read_gzip
    from skinai.errors import DataError
    from skinai.evaluation.curves import CURVES_FILE, spell_curves
    from skinai.evaluation.report import read_report

    try:
        same = read_report(folder, report.labels).as_dict() == report.as_dict()
    except DataError:
        return False
    return same and read_gzip(folder / CURVES_FILE) == spell_curves(report.curves)


def _tell_voiding(checks: Sequence[Check], what: str) -> int:
    """Say which issues make the figures untrue; return 2 if there are any."""
    voiding = [check for check in checks if check.voiding]
    for check in voiding:
        print(f"skinai: {what} does not hold ({check.code}): {check.finding} {check.advice}", file=sys.stderr)
    return 2 if voiding else 0


def _evaluate_pair(options: argparse.Namespace) -> int:
    from skinai.data.split import read_split
    from skinai.evaluation.checks import check_table
    from skinai.evaluation.report import evaluate_table
    from skinai.evaluation.scoring import read_pair, score_challenge
    from skinai.exports.text import format_checks, format_report, format_score

    if not (options.predictions and options.truth):
        raise UsageError("--predictions and --truth go together.")
    if options.folder or options.model or options.isic or options.bundle or options.data:
        raise UsageError("A pair of tables is scored by itself: no model, --data, --isic or --bundle beside it.")
    table, weights = read_pair(options.predictions, options.truth)
    split = read_split(options.split, by_picture=True) if options.split else None
    counted = table[weights > 0].reset_index(drop=True)
    report = evaluate_table(counted, model_name=options.predictions.name, subset=options.truth.name)
    score = score_challenge(table, weights)
    checks = check_table(counted, report, split=split)
    if options.json:
        facts = report.as_dict() | {
            "challenge": {
                "balanced_accuracy": score.balanced_accuracy,
                "official": score.official,
                "per_category": json.loads(score.per_category.to_json(orient="index", double_precision=15)),
                "macro_average": json.loads(score.macro_average.to_json(double_precision=15)),
            },
            "checks": [check.as_dict() for check in checks],
        }
        print(json.dumps(facts, indent=1))
    else:
        print(f"{format_score(score)}\n\n{format_report(report)}\n\n{format_checks(checks)}")
        if counted["lesion"].equals(counted["image"]):
            print("\nNo lesion ids: intervals are by picture, too narrow where a lesion has several.")
    return _tell_voiding(checks, "This pair")


def _show_name(file: Path) -> str:
    """Return a file's name with what would steer a terminal spelled out."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(file))


def _print_answer(answer: FileAnswer) -> None:
    from skinai.wording import say_dermoscopy, say_routing

    print(f"\n{_show_name(answer.file)}")
    if answer.routing is not None and answer.routing.routes:
        print(f"  {say_routing(answer.routing)}")
    if answer.prediction is None or answer.assessment is None:
        print(f"  no answer: {answer.reasons[0][1]}")
        return
    if answer.assessment.refused:
        print(f"  refused, and answered because you insist: {answer.reasons[0][1]}")
    labels, top = answer.prediction.labels, answer.prediction.top.code
    for label, value in zip(labels, answer.prediction.probabilities, strict=True):
        bar = "#" * round(30 * value)
        print(f"  {label.name:<38}{value:>6.1%}  {bar}{' <- most probable' if label.code == top else ''}")
    if labels.malignant_codes:
        print(f"  {'summed malignant probability':<38}{answer.prediction.malignant_probability:>6.1%}")
    if answer.assessment.plausible:
        print(f"  plausible: {', '.join(label.name for label in answer.assessment.plausible)}")
    if remark := say_dermoscopy(answer.assessment):
        print(f"  {remark}")
    for call in answer.assessment.calls[:1]:
        said = "reaches" if call.above else "stays below"
        print(f"  the malignant sum {said} the threshold {call.threshold:.1%} ({call.name.replace('_', ' ')} on valid)")


def _write_isic(answers: Sequence[FileAnswer], out: Path) -> None:
    """Write ISIC's table: probabilities of every readable picture, upper-case columns in ISIC's order."""
    import csv
    import io

    from skinai.artefacts import write_atomic
    from skinai.exports.record import escape_cell

    names = [answer.file.stem for answer in answers if answer.prediction is not None]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UsageError(f"ISIC's table names pictures without folder and ending, and these come twice: {twice[:8]}.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *HAM10000.isic_order])
    for answer in answers:
        if answer.prediction is not None:
            by_code = answer.prediction.by_code
            values = [by_code[HAM10000.by_isic_code(isic_code).code] for isic_code in HAM10000.isic_order]
            writer.writerow([escape_cell(answer.file.stem), *(f"{value:.6f}" for value in values)])
    # A file name that is not UTF-8 is written with its bytes spelled out.
    write_atomic(out, text.getvalue().encode("utf-8", errors="backslashreplace"))


def _write_csv(answers: Sequence[FileAnswer], bundle: Bundle, out: Path, *, insist: bool) -> None:
    """Write one row a file, the same columns as the Batch page."""
    from skinai.artefacts import write_atomic
    from skinai.exports.record import write_rows
    from skinai.serving.batch import build_row, describe_row

    facts = [describe_row(build_row(answer), bundle.labels, insist=insist) for answer in answers]
    write_atomic(out, write_rows(facts, model_name=bundle.name, fingerprint=bundle.fingerprint))


@contextmanager
def _tell_progress() -> Iterator[Callable[[str, float], None]]:
    """Yield what shows steps and the share of them that is done, where somebody watches."""
    watched, last = sys.stderr.isatty(), ("", -1)

    def tell(step: str, share: float) -> None:
        nonlocal last
        now = (step, int(100 * share))
        if watched and now != last:
            last = now
            print(f"\r{step:<10} {now[1]:>3} %", end="", file=sys.stderr, flush=True)

    yield tell
    if watched and last[1] >= 0:
        print("\r" + " " * 20 + "\r", end="", file=sys.stderr, flush=True)


@contextmanager
def _tell_download() -> Iterator[Callable[[Progress], None]]:
    """Yield what shows a download: a line that changes where somebody watches, else a line a tenth and a wait."""
    watched, last, shown_at = sys.stderr.isatty(), "", 0.0

    def tell(progress: Progress) -> None:
        nonlocal last, shown_at
        if progress.step == "wait":
            text = f"{progress.name}: {progress.reason.rstrip('.')}. Trying again in {progress.wait_s:.0f} s."
        else:
            share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 0.0
            left = f", {progress.left_s / 60:.0f} minutes left" if watched and progress.left_s else ""
            shown = 100 * share if watched else 10 * int(10 * share)
            text = f"{progress.step} {progress.name}: {shown:.0f} %{left}"
        due = progress.step == "wait" or not watched or time.monotonic() - shown_at > 0.2
        if text != last and due:
            last, shown_at = text, time.monotonic()
            print(f"\r{text:<78}" if watched else text, end="" if watched else "\n", file=sys.stderr, flush=True)

    yield tell
    if watched and last:
        print(file=sys.stderr)


def _add_own_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--table", metavar="FILE", type=Path, help="your own pictures: a table with the columns image, label, lesion_id"
    )
    command.add_argument(
        "--labels", metavar="FILE", type=Path, help="a table with label, name, code and risk of your own classes"
    )
    command.add_argument("--malignant", metavar="CLASS,CLASS", help="which of your own classes are malignant")
    _add_mark(command)
    _add_drop_conflicts(command)


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument("--licence", metavar="TEXT", help="terms of the weights; default: what follows from the data")
    command.add_argument(
        "--note", metavar="TEXT", action="append", default=[], help="what else is to be known of the data; repeatable"
    )


def _add_mark(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mark", metavar="LEFT,TOP,RIGHT,BOTTOM", help="where pictures carry a logo, in shares of width and height"
    )


def _add_drop_conflicts(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--drop-conflicts", action="store_true", help="leave out copies listed with two classes, instead of refusing"
    )


def _add_chosen_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--as",
        dest="answered_by",
        choices=(DERMOSCOPY, CLINICAL),
        help="which of the shipped models answers, whatever the router says",
    )


def _fold(text: str) -> tuple[int, int]:
    fold, _, folds = text.partition("/")
    if not (fold.isdecimal() and folds.isdecimal()):
        raise argparse.ArgumentTypeError("a fold is written K/N, such as 2/5")
    return int(fold), int(folds)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a seed is a whole number, 0 or more")
    return int(text)


def _add_data_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    data_help = "a folder or table of any known kind, see docs/data.md; default: the variable SKINAI_DATA"

    command = commands.add_parser("audit", help="say what is absent, unreadable, odd or there twice")
    command.add_argument("--data", metavar="DIR", help=data_help)
    command.add_argument("--table", metavar="FILE", type=Path, help="a table of your own pictures")
    command.add_argument("--metadata", metavar="FILE", type=Path, help="HAM10000's metadata, for a table of pixels")
    _add_mark(command)
    command.add_argument("--quick", action="store_true", help="do not look for near-duplicates, which takes minutes")
    command.add_argument("--pairs", metavar="FILE", type=Path, help="write the pairs of different lesions, for splits")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run_audit)

    command = commands.add_parser("check-split", help="look for lesions and near-duplicates on both sides of a split")
    command.add_argument("file", metavar="FILE", type=Path, help="a table with a picture and a subset a row")
    command.add_argument("--data", metavar="DIR", help=data_help)
    command.add_argument("--table", metavar="FILE", type=Path, help="a table of your own pictures")
    command.add_argument("--near-duplicates", metavar="FILE", type=Path, help="more pairs to look for")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run_check_split)

    command = commands.add_parser("download", help="fetch HAM10000 from Harvard's Dataverse (2.7 GB, CC BY-NC 4.0)")
    command.add_argument(
        "--to", required=True, metavar="DIR", type=Path, help="where it goes; an interrupted one goes on"
    )
    command.add_argument("--keep-archives", action="store_true", help="do not remove the zip archives once unpacked")
    command.add_argument("--server", default="https://dataverse.harvard.edu", metavar="URL", help="another Dataverse")
    command.set_defaults(run=run_download)

    command = commands.add_parser("unpack", help="write the pictures of Kaggle's hmnist tables as files")
    command.add_argument("file", metavar="FILE", type=Path, help="hmnist_28_28_RGB.csv or one of its sisters")
    command.add_argument("--metadata", metavar="FILE", type=Path, help="HAM10000's metadata, which have the lesions")
    command.add_argument("--out", required=True, metavar="FOLDER", type=Path, help="a new folder")
    command.set_defaults(run=run_unpack)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skinai", description=f"{NOTICE} {NOT_A_DEVICE}")
    parser.add_argument("--version", action="version", version=f"skinai {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    data_help = "HAM10000 in Kaggle's layout; default: the variable SKINAI_DATA"
    purpose_help = "why test is looked at; goes into the log of looks"

    _add_data_commands(commands.add_parser("data", help="get, audit and convert data sets, check splits"))

    command = commands.add_parser("split", help="divide the lesions into train, valid and test")
    command.add_argument("--data", metavar="DIR", help=data_help + "; or any other source, see docs/data.md")
    command.add_argument("--table", metavar="FILE", type=Path, help="a table of your own pictures")
    command.add_argument("--metadata", metavar="FILE", type=Path, help="HAM10000's metadata, for a table of pixels")
    command.add_argument(
        "--near-duplicates", metavar="FILE", type=Path, help="pairs to keep on one side, as `data audit --pairs` writes"
    )
    _add_drop_conflicts(command)
    command.add_argument("--out", metavar="FILE", type=Path, default=Path("split.csv"), help="default: split.csv")
    command.add_argument("--seed", type=_seed, help="default: the seed of the shipped split")
    command.add_argument(
        "--fold", type=_fold, metavar="K/N", help="make the K-th of N parts of train and valid the valid"
    )
    command.set_defaults(run=run_split)

    command = commands.add_parser("pretrain", help="train a network on pictures without their diagnoses")
    command.add_argument("--data", metavar="DIR", help=data_help + "; or your own pictures, a folder a class")
    _add_own_data(command)
    architecture_help = "efficientnet-lite0 to -lite2, or mobilenet-v2"
    command.add_argument("--architecture", required=True, metavar="NAME", help=architecture_help)
    command.add_argument("--out", required=True, metavar="FILE", help="the .npz file to write, after each epoch")
    command.add_argument("--split", metavar="FILE", type=Path, help="default: made from the data folder")
    command.add_argument("--init", choices=("imagenet", "random"), default="imagenet")
    command.add_argument("--epochs", type=int)
    command.add_argument("--batch-size", type=int)
    command.add_argument("--learning-rate", type=float)
    command.add_argument("--seed", type=_seed)
    command.add_argument("--resume", action="store_true", help="go on with an interrupted pre-training")
    command.set_defaults(run=run_pretrain)
    architecture_help = f"seed-cnn, {architecture_help}"

    command = commands.add_parser("train", help="train a network and write its model folder")
    command.add_argument("--data", metavar="DIR", help=data_help + "; or your own pictures, a folder a class")
    _add_own_data(command)
    command.add_argument("--architecture", required=True, metavar="NAME", help=architecture_help)
    command.add_argument("--out", required=True, metavar="FOLDER", help="the model folder to write")
    command.add_argument("--split", metavar="FILE", type=Path, help="default: made from the data folder")
    command.add_argument("--init", metavar="WEIGHTS", help="imagenet, random, or a file of `pretrain`")
    command.add_argument("--epochs", type=int)
    command.add_argument("--batch-size", type=int)
    command.add_argument("--learning-rate", type=float)
    command.add_argument("--seed", type=_seed)
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other entry of the configuration"
    )
    command.add_argument(
        "--by-picture",
        action="store_true",
        help="measure what a leaking split by picture would claim; weights are not kept",
    )
    _add_terms(command)
    command.add_argument("--teacher", metavar="FOLDER", help="a model whose answers are learned beside the diagnoses")
    command.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    command.add_argument("--engine", choices=("mpi",), help="train with all processes that mpiexec has started")
    command.add_argument("--no-test", action="store_true", help="an experiment: do not look at the test subset")
    command.add_argument("--purpose", default="first look after training", help=purpose_help)
    command.set_defaults(run=run_train)

    command = commands.add_parser("ensemble", help="join trained networks into one model folder")
    command.add_argument("members", nargs="+", metavar="FOLDER", help="model folders of the members")
    command.add_argument("--data", metavar="DIR", help=data_help)
    _add_own_data(command)
    command.add_argument("--out", required=True, metavar="FOLDER", help="the model folder to write")
    command.add_argument(
        "--views", default="plain", metavar="VIEW,VIEW", help="what every member looks at: plain, mirrored, turned, ..."
    )
    command.add_argument("--full-weights", action="store_true", help="keep 32 bits, to make it lighter with `slim`")
    command.set_defaults(run=run_ensemble)

    command = commands.add_parser("slim", help="write the form of a network to ship: smaller weights, no Keras file")
    command.add_argument("folder", metavar="FOLDER", help="a model folder whose weights have 32 bits")
    command.add_argument("--data", metavar="DIR", help=data_help)
    _add_own_data(command)
    command.add_argument("--out", required=True, metavar="FOLDER", help="the model folder to write")
    _add_terms(command)
    command.set_defaults(run=run_slim)

    command = commands.add_parser("gates", help="fit the gate that refuses what is no picture of the model's kind")
    command.add_argument("folder", metavar="FOLDER", help="a model folder")
    command.add_argument("--data", metavar="DIR", help=data_help)
    _add_own_data(command)
    command.add_argument("--unlike", metavar="DIR", type=Path, help="pictures of the other kind")
    command.set_defaults(run=run_gates)

    command = commands.add_parser("router", help="fit what sends a picture to the model for its kind")
    command.add_argument("folder", metavar="FOLDER", help="the model folder for clinical photographs")
    command.add_argument("--data", metavar="DIR", help="its pictures; default: the variable SKINAI_DATA")
    _add_own_data(command)
    command.add_argument("--dermoscopy", required=True, metavar="DIR", help="HAM10000 in Kaggle's layout")
    command.add_argument("--dermoscopy-model", metavar="FOLDER", help="the model whose split it has; default: in use")
    command.add_argument("--neither", metavar="DIR", type=Path, help="pictures that are neither")
    command.set_defaults(run=run_router)

    command = commands.add_parser(
        "seal", help="refuse a finished model from now on where its rules, gate or router change"
    )
    command.add_argument("folder", metavar="FOLDER", help="a model folder")
    command.set_defaults(run=run_seal)

    command = commands.add_parser("runs", help="list runs, or compare two of them on valid")
    command.add_argument("folders", nargs="*", metavar="FOLDER", help="default: runs/ here and the shipped models")
    command.add_argument("--compare", nargs=2, metavar=("FOLDER", "FOLDER"), help="two runs, side by side")
    command.set_defaults(run=run_runs)

    command = commands.add_parser("evaluate", help="print the report of a model's stored predictions")
    command.add_argument("folder", nargs="?", metavar="FOLDER", help="default: the default model")
    command.add_argument("--model", metavar="FOLDER", help="the same, as an option")
    command.add_argument("--subset", choices=("valid", "test"), default="test")
    command.add_argument("--data", metavar="DIR", help="only for the first look at test")
    _add_own_data(command)
    command.add_argument("--purpose", default="look on request", help=purpose_help)
    command.add_argument("--json", action="store_true")
    command.add_argument(
        "--predictions", metavar="FILE", type=Path, help="score any table in ISIC's format, with --truth"
    )
    command.add_argument(
        "--truth", metavar="FILE", type=Path, help="its truth, one-hot as ISIC's or with image_id and dx"
    )
    command.add_argument("--split", metavar="FILE", type=Path, help="look for leaks in this split of such a pair")
    command.add_argument("--isic", metavar="FOLDER", help="also write predictions and truth in ISIC's format")
    command.add_argument("--bundle", metavar="FILE", help="also write card, figures, tables and hashes as one zip")
    command.set_defaults(run=run_evaluate)

    command = commands.add_parser("compare", help="compare two models on the same pictures")
    command.add_argument("first", metavar="FOLDER")
    command.add_argument("second", metavar="FOLDER")
    command.add_argument("--subset", choices=("valid", "test"), default="test")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run_compare)

    command = commands.add_parser("decide", help="fit thresholds and prediction sets anew on valid")
    command.add_argument("folder", metavar="FOLDER", help="a model folder")
    command.add_argument(
        "--point",
        action="append",
        metavar="NAME",
        help="an operating point, sensitivity_S or specificity_S; the first one given decides",
    )
    command.add_argument("--coverage", type=float, default=0.9, help="of the prediction sets; default: .9")
    command.set_defaults(run=run_decide)

    command = commands.add_parser("cases", help="describe the test pictures: quality and nearest training cases")
    command.add_argument("folder", metavar="FOLDER", help="a model folder")
    command.add_argument("--data", metavar="DIR", help=data_help)
    _add_own_data(command)
    command.set_defaults(run=run_cases)

    command = commands.add_parser("predict", help="answer for picture files")
    command.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="files, folders (searched below) and globs; into Parquet also URLs and lists of them (.txt, .csv)",
    )
    command.add_argument("--model", metavar="FOLDER", help="default: the default model")
    command.add_argument("--json", action="store_true", help="one object a line and a file")
    command.add_argument("--insist", action="store_true", help="answer also for pictures that the gate refuses")
    _add_chosen_model(command)
    command.add_argument("--format", choices=("text", "isic", "csv", "parquet"), default="text")
    command.add_argument(
        "--out", metavar="PATH", help="where --format isic or csv writes a file, and --format parquet a folder"
    )
    command.add_argument("--engine", choices=("processes", "ray"), help="who scores into Parquet; default: processes")
    command.add_argument(
        "--processes", type=int, metavar="N", help="workers at once; default: 1, on Ray one a core of the cluster"
    )
    command.add_argument("--part-size", type=int, metavar="N", help="pictures a file of Parquet; default: 500")
    command.set_defaults(run=run_predict)

    command = commands.add_parser("record", help="write PDF, JSON, CSV and FHIR about the pictures of one lesion")
    command.add_argument("pictures", nargs="+", metavar="PICTURE", help="1 to 6 pictures of the same lesion")
    command.add_argument("--out", required=True, metavar="FOLDER", help="where the four documents are written")
    command.add_argument("--model", metavar="FOLDER", help="default: the default model")
    command.add_argument("--insist", action="store_true", help="answer also for pictures that the gate refuses")
    _add_chosen_model(command)
    command.add_argument("--age", type=int, metavar="YEARS", help="for the record; the model does not use it")
    command.add_argument("--sex", metavar="SEX", help="the same")
    command.add_argument("--site", metavar="SITE", help="the same: the place on the body")
    command.set_defaults(run=run_record)

    command = commands.add_parser("stress", help="show what hair, ruler, ink, blur and so on make of an answer")
    command.add_argument("picture", metavar="PICTURE")
    command.add_argument("--model", metavar="FOLDER", help="default: the default model")
    command.add_argument("--insist", action="store_true", help="also for a picture that the gate refuses")
    command.set_defaults(run=run_stress)

    command = commands.add_parser("serve", help="answer for pictures over HTTP")
    command.add_argument("--model", metavar="FOLDER", help="default: the default model")
    command.add_argument("--clinical", metavar="FOLDER", help="the model for photographs beside it; default: shipped")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: this computer only")
    command.add_argument("--port", type=int, default=8600, help="default: 8600; 0 takes a free one and prints it")
    command.add_argument("--workers", type=int, metavar="N", help="pictures at once; default: one a processor core")
    command.add_argument("--queue", type=int, metavar="N", default=64, help="pictures that can wait; default: 64")
    command.add_argument(
        "--engine", choices=("ray",), help="answer from processes on a Ray cluster, more as more is asked"
    )
    command.add_argument("--replicas", type=int, metavar="N", default=4, help="at most so many of them; default: 4")
    command.add_argument("--keys", metavar="FILE", type=Path, help="answer only to the keys in it; see `skinai keys`")
    command.add_argument("--open", action="store_true", help="without keys answer everybody who reaches another --host")
    command.add_argument(
        "--rate", type=int, metavar="N", help="pictures a minute of each key, or without keys of each client address"
    )
    command.set_defaults(run=run_serve)

    command = commands.add_parser("keys", help="make, list or remove the keys that `serve --keys` asks for")
    acts = command.add_subparsers(dest="act", required=True, metavar="add|list|remove")
    for act, said in (("add", "make a key and print it"), ("list", "list names"), ("remove", "forget a key")):
        kind = acts.add_parser(act, help=said)
        if act != "list":
            kind.add_argument("name", metavar="NAME", help="whose key it is, for lists and logs")
        kind.add_argument("--file", required=True, metavar="FILE", type=Path, help="where names and hashes are kept")
    command.set_defaults(run=run_keys)

    command = commands.add_parser("audit", help="look after the audit log, see docs/audit.md")
    steps = command.add_subparsers(required=True, metavar="STEP")
    command = steps.add_parser("verify", help="find what was changed, cut or moved")
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("--expect", metavar="HASH", help="a hash kept elsewhere, which the log has to hold")
    command.set_defaults(run=run_verify)

    command = commands.add_parser("app", help="start the app in the browser")
    command.add_argument("--model", metavar="FOLDER", help="default: the default model")
    command.add_argument("--clinical", metavar="FOLDER", help="the model for photographs beside it; default: shipped")
    command.add_argument("--port", type=int, default=8501)
    command.add_argument("--data", metavar="DIR", help="data to explore; default: the variable SKINAI_DATA")
    command.add_argument("--table", metavar="FILE", help="the table of your own pictures in it")
    command.add_argument(
        "--workbench", action="store_true", help="let visitors write new decision rules, fitted on valid"
    )
    command.set_defaults(run=run_app)
    return parser


if __name__ == "__main__":
    sys.exit(main())
