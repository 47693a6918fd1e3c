"""The best hit by HMMER's phmmer: every protein a profile of its own, no k-mer has to match.

HMMER is Eddy, PLoS Comput Biol 7, e1002195 (2011); `pyhmmer` carries it (Larralde & Zeller 2023,
doi:10.1093/bioinformatics/btad214).
"""

from collections.abc import Sequence

import numpy as np
import pyhmmer
from pyhmmer.easel import Alphabet, DigitalSequenceBlock, TextSequence
from tqdm import tqdm

from arg_utils.homology.mmseqs import answer_key, cached_answer, threads
from arg_utils.homology.splits import representatives
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.baselines import BestHit

EVALUE = 1e-3
BLOCK = 250  # queries searched, and kept, at a time: an interruption loses no more


def phmmer_best(
    queries: Sequence[str], targets: Sequence[str], progress: bool = True
) -> np.ndarray:
    """Position of the target hit with most bits, int64 [n]; -1 without a hit at `EVALUE`.

    Cached by blocks of queries, as MMseqs2's answers are.
    """
    best = np.full(len(queries), -1, dtype=np.int64)
    if not len(queries) or not len(targets):
        return best
    options = ["phmmer", pyhmmer.__version__, str(EVALUE)]
    blocks = range(0, len(queries), BLOCK)
    for start in tqdm(blocks, desc="phmmer", unit="block", disable=not progress):
        asked = queries[start : start + BLOCK]
        key = answer_key("phmmer", options, asked, targets)
        best[start : start + BLOCK] = cached_answer(key, lambda a=asked: _search(a, targets))
    return best


def _search(queries: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    alphabet, best = Alphabet.amino(), np.full(len(queries), -1, dtype=np.int64)
    asked, known = (_digital(alphabet, sequences) for sequences in (queries, targets))
    found = pyhmmer.phmmer(asked, known, cpus=threads(), E=EVALUE)
    for place, hits in enumerate(found):
        top = max(hits, key=lambda hit: hit.score, default=None)
        if top is not None:
            best[place] = int(top.name)
    return best


def _digital(alphabet: Alphabet, sequences: Sequence[str]) -> DigitalSequenceBlock:
    named = (TextSequence(name=str(i), sequence=s) for i, s in enumerate(sequences))
    return DigitalSequenceBlock(alphabet, [sequence.digitize(alphabet) for sequence in named])


class PhmmerHit(BestHit):
    """The class of the protein phmmer hits with most bits; no hit: not an ARG.

    Only representatives are searched, since phmmer takes minutes as it is.
    """

    name, title = "best_hit_phmmer", "best hit (phmmer)"

    def probabilities(self, sequences):
        known = self.train
        first = representatives(known.sequences)[0]
        best = phmmer_best(list(sequences), [known.sequences[i] for i in first])
        found = np.where(best < 0, NONARG, known.labels[first[best]])
        return np.eye(NUM_CLASSES, dtype=np.float32)[found]
