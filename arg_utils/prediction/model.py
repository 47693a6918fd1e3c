"""A fitted model, ready to predict: the one that comes with the library, or a user's own."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.data.folders import labelled_records, load_dataset
from arg_utils.data.open_data import ensure_open_data
from arg_utils.data.proteins import Proteins, proteins
from arg_utils.errors import UserError
from arg_utils.esm2.batches import release_freed_memory
from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.weights import Weights, load_weights
from arg_utils.files import file_sha256, load_arrays
from arg_utils.fingerprint import fingerprint
from arg_utils.labels import CLASSES
from arg_utils.methods.base import MODEL, Method, joined
from arg_utils.methods.evidence import assemble, hit_evidence
from arg_utils.methods.hybrid import ARRAYS, Hybrid
from arg_utils.prediction.query import Query, as_queries
from arg_utils.prediction.rows import COLUMNS, Scores, result_frame
from arg_utils.prediction.searches import (
    References,
    best_hit_classes,
    open_references,
    references_key,
)

SHIPPED = Path(__file__).parent / "shipped"
MANIFEST, FORMAT = "manifest.json", 1
BLOCK_PROTEINS = 8000  # searches cost seconds a block, whatever is in it
# In blocks of so many, a hit of `evidence.NOISE` bits to the longest of profiles (2,294 residues)
# has an expectation value of 0.13: the limit of profile searches, 10, decides nothing.
BLOCK_RESIDUES = 2_000_000

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Model:
    """What predicts: a method's parameters, its references, and what a manifest says of both.

    Attributes
    ----------
    name : as results call it.
    data : name and identity of the data it was fitted on.
    threshold : of prediction sets: `calibration.answered`.
    scorer : sequences and a callback for progress in, `Scores` out.
    references : labelled proteins that queries are compared with, where the method has any.
    identity : of its parameters, weights and references, so that what was begun with others is not
        gone on with.
    """

    name: str
    data: str
    threshold: float | None
    scorer: Callable[[Sequence[str], Progress], Scores] = field(repr=False)
    references: References | None = field(default=None, repr=False)
    identity: str = field(default="", repr=False)

    def predict(self, sequences: Iterable[Any] | Mapping[Any, Any]) -> pd.DataFrame:
        """Class, probability and evidence of proteins.

        Parameters
        ----------
        sequences : see `as_queries`, such as residues, or pairs of id and residues.

        Returns
        -------
        One row a protein, in order; the columns are `rows.COLUMNS`.

        Raises
        ------
        UserError
            If a sequence is no protein, or an id comes twice.
        """
        return self.screen(as_queries(sequences))[list(COLUMNS)]

    def screen(self, queries: Iterable[Query]) -> pd.DataFrame:
        """The same of what `reading.read_queries` gives, with all the columns of `rows`."""
        frames = [self.rows(block)[0] for block in blocks(queries)]
        return pd.concat(frames or [self.rows([])[0]], ignore_index=True)

    def rows(
        self, queries: Sequence[Query], progress: Progress = lambda count: None
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows (of `rows.result_frame`) and probabilities float64 [n, 15] of a block.

        Where there are references, ``best_hit`` is the class that the best hit alone names.
        ``progress`` is told how many proteins are done, each time.
        """
        sequences = list(dict.fromkeys(query.sequence for query in queries))
        place = {sequence: number for number, sequence in enumerate(sequences)}
        scores = self.scorer(sequences, progress)
        scores = scores.take(np.array([place[query.sequence] for query in queries], dtype=np.int64))
        table = self.references.table if self.references else None
        frame = result_frame(queries, scores, self.threshold, table)
        if table is not None and scores.hits is not None:
            best = best_hit_classes(scores.hits, table["label"].to_numpy(), len(queries))
            frame["best_hit"] = np.array(CLASSES, dtype=object)[best]
        return frame, scores.probabilities


@dataclass(frozen=True)
class HybridScorer:
    """The hybrid's answers with references from databases; ``cached`` keeps features on disk."""

    method: Hybrid
    references: References
    weights: Weights
    cached: bool = False

    def __call__(self, sequences: Sequence[str], progress: Progress) -> Scores:
        features = embed(sequences, FEATURES, self.weights, progress=progress, cached=self.cached)
        log_p = self.method.head.of_features(features)
        release_freed_memory()  # MMseqs2 needs a gigabyte
        hits = self.references.hits(sequences)
        best = hit_evidence(hits, self.references.table["label"].to_numpy(), len(sequences))
        probabilities = self.method.combined(assemble(best, log_p.astype(np.float32)))
        return Scores(probabilities, hits, log_p.argmax(axis=1))


def blocks(queries: Iterable[Query]) -> Iterator[list[Query]]:
    """Stretches of at most `BLOCK_PROTEINS` and, unless one protein is longer, `BLOCK_RESIDUES`."""
    block: list[Query] = []
    residues = 0
    for query in queries:
        if block and (
            len(block) == BLOCK_PROTEINS or residues + len(query.sequence) > BLOCK_RESIDUES
        ):
            yield block
            block, residues = [], 0
        block.append(query)
        residues += len(query.sequence)
    if block:
        yield block


def load_model(
    folder: Path | str | None = None, cached: bool = False, held_out: bool = False
) -> Model:
    """The model that comes with the library, or another that ``make model`` wrote.

    Its references, all labelled proteins of the open data, are built on first use (minutes); then
    they are reused. Of a run of ``fit``, `load_run` gives the method.

    Parameters
    ----------
    cached : keep ESM-2's features of the proteins it is asked about (4 kB each on disk).
    held_out : leave the test proteins out of the references, as they were when it was fitted: to
        measure it on other proteins by equal knowledge.

    Raises
    ------
    UserError
        If the model is damaged, or its weights or data cannot be had.
    """
    folder = Path(folder or SHIPPED)
    manifest = read_manifest(folder)
    method = Hybrid().with_arrays(load_arrays(folder / MODEL, ARRAYS))
    weights, data = manifest["weights"], manifest["data"]
    key = references_key(data["sha256"], *([] if held_out else ["all"]))
    references = open_references(key, lambda: _references(data["sha256"], held_out))
    found = load_weights(weights["sha256"], weights["name"])
    scorer = HybridScorer(method, references, found, cached)
    return Model(
        f"{manifest['method']} {manifest['version']}",
        f"{data['name']} [{data['sha256'][:8]}]",
        method.threshold,
        scorer,
        references,
        fingerprint(manifest["files"], found.sha256, key),
    )


def model_of(method: Method, name: str, identity: str = "") -> Model:
    """A fitted method as a model; evidence is given for the hybrid alone.

    Parameters
    ----------
    name : what results call it, such as the folder of its run.
    identity : see `Model`.
    """
    if isinstance(method, Hybrid):
        own = method.references
        key = references_key(*own.sequences, *map(str, own.labels), *(own.headers or ()))
        references = open_references(key, lambda: own)
        scorer = HybridScorer(method, references, load_weights())
        return Model(name, name, method.threshold, scorer, references, identity)

    def score(sequences: Sequence[str], progress: Progress) -> Scores:
        with redirect_stdout(sys.stderr):  # what a method says of its work is no row
            probabilities = method.probabilities(sequences).astype(np.float64)
        progress(len(sequences))
        return Scores(probabilities)

    return Model(name, name, method.threshold, score, identity=identity)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a model says, once its files are proven to be those it names.

    Raises
    ------
    UserError
        If there is none, it is of another version, or a file is missing or changed.
    """
    again = "make it anew with: make model"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        known, sha256 = manifest["format"], manifest["files"][MODEL]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no model ({MANIFEST}: {error}); {again}") from error
    if known != FORMAT or manifest["classes"] != list(CLASSES):
        raise UserError(f"{folder} holds a model of another version of this library; {again}")
    if not (folder / MODEL).is_file() or file_sha256(folder / MODEL) != sha256:
        raise UserError(f"{folder / MODEL} is missing, or not the file of {MANIFEST}; {again}")
    return manifest


def _references(identity: str, held_out: bool) -> Proteins:
    """All labelled proteins of the open data, or those of train and validation."""
    dataset = load_dataset(ensure_open_data())
    if dataset.identity != identity:
        raise UserError(
            f"The model was fitted on other data than {dataset.folder} holds; name your own model "
            f"(--run), or make the shipped one anew with: make model"
        )
    if held_out:
        return joined(proteins(dataset.train), proteins(dataset.val))
    return proteins(labelled_records(dataset))
