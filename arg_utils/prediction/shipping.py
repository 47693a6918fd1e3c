"""The model that comes with the library: fitted on the open data, measured, written down.

No sequence is in it; its references are built on each machine from the open data.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arg_utils.data.folders import labelled_records, load_dataset
from arg_utils.data.genomes import BACKGROUND, background
from arg_utils.data.open_data import ensure_open_data
from arg_utils.data.proteins import Proteins, proteins
from arg_utils.errors import UserError
from arg_utils.esm2.model import best_precision
from arg_utils.esm2.weights import load_weights
from arg_utils.files import RESULTS, file_sha256, save_arrays, write_text
from arg_utils.labels import CLASSES, NONARG
from arg_utils.methods.base import MODEL
from arg_utils.methods.hybrid import Hybrid
from arg_utils.metrics.scores import accuracy, macro_f1
from arg_utils.prediction.model import FORMAT, MANIFEST, SHIPPED, model_of
from arg_utils.settings import PROFILES

VERSION = "4"  # of the shipped model: raise it when its numbers change


def make_model(folder: Path = SHIPPED) -> dict[str, Any]:
    """Fit the hybrid on the open data's train and validation, and write it into ``folder``.

    The same bytes from the same data, weights and kind of processor.

    Returns
    -------
    The manifest.

    Raises
    ------
    UserError
        If data or weights cannot be had, or prediction gives other classes than the method.
    """
    dataset, weights = load_dataset(ensure_open_data()), load_weights()
    args = [record.sequence for record in labelled_records(dataset) if record.label != NONARG]
    fitted = Hybrid(background(args))
    fitted.fit(proteins(dataset.train), proteins(dataset.val), PROFILES["laptop"])
    metrics = {
        "random": _measured(fitted, proteins(dataset.test, dataset.test_labels)),
        "homology": _homology(dataset.identity, weights.name),
    }
    save_arrays(folder / MODEL, fitted.arrays())
    manifest = {
        "format": FORMAT,
        "method": fitted.name,
        "version": VERSION,
        "library": version("arg-utils"),
        "classes": list(CLASSES),
        "threshold": fitted.threshold,
        "weights": {"name": weights.name, "sha256": weights.sha256},
        "precision": str(best_precision()).removeprefix("torch."),
        "data": {
            "name": dataset.name, "sha256": dataset.identity, "references": fitted.reference,
            "proteins": len(fitted.references.labels),
            "background": list(BACKGROUND), "background_proteins": len(fitted.background),
        },
        "metrics": metrics,
        "files": {MODEL: file_sha256(folder / MODEL)},
    }  # fmt: skip
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _measured(fitted: Hybrid, test: Proteins) -> dict[str, float]:
    """Scores of the test part as `Model.predict` gives it, which must be what the method gives."""
    frame = model_of(fitted, fitted.name).predict(test.sequences)
    predicted = frame["class"].map(CLASSES.index).to_numpy()
    differing = int((predicted != fitted.predict(test.sequences)).sum())
    if differing:
        raise UserError(f"Predicting gives {differing} other classes than the method; tell us.")
    scores = {"macro_f1": macro_f1(test.labels, predicted)}
    scores["accuracy"] = accuracy(test.labels, predicted)
    rounded = {name: round(float(score), 4) for name, score in scores.items()}
    return rounded | {"proteins": len(test.labels)}


def _homology(identity: str, weights: str) -> dict[str, Any]:
    """Scores on new families, as results/ladder.json has them for these data and weights.

    They are the method's, fitted on each fold without the background.
    """
    rows = json.loads((RESULTS / "ladder.json").read_text(encoding="utf-8"))["rows"]
    wanted = {"split": "homology", "method": Hybrid.name, "weights": weights}
    for row in rows:
        if all(row[k] == v for k, v in wanted.items()) and identity[:8] in row["data"]:
            scores = ("macro_f1", "ci_low", "ci_high", "accuracy")
            return {name: round(row[name], 4) for name in scores} | {"proteins": row["proteins"]}
    raise UserError("results/ladder.json has no such row of the hybrid; make it with: make ladder")
