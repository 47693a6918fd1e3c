"""The best hit by HMMER's phmmer: every protein a profile of its own, no k-mer has to match.

HMMER is Eddy, PLoS Comput Biol 7, e1002195 (2011); `pyhmmer` carries it (Larralde & Zeller 2023,
doi:10.1093/bioinformatics/btad214).
"""

from collections.abc import Sequence

import numpy as np
import pyhmmer
from pyhmmer.easel import Alphabet, DigitalSequenceBlock, TextSequence

from arg_utils.homology import answer_key, cached_answer, cluster, threads
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods import BestHit
from arg_utils.splits import CLUSTER_COVERAGE

CLOSE = 0.7  # identity at which one protein stands for others: a third of the targets remain
EVALUE = 1e-3


def phmmer_best(queries: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Position of the target hit with most bits, int64 [n]; -1 without a hit at `EVALUE`.

    Cached, as MMseqs2's answers are.
    """
    if not len(queries) or not len(targets):
        return np.full(len(queries), -1, dtype=np.int64)
    options = ["phmmer", pyhmmer.__version__, str(EVALUE)]
    key = answer_key("phmmer", options, queries, targets)
    return cached_answer(key, lambda: _search(queries, targets)).astype(np.int64)


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

    Of proteins alike at `CLOSE` one is searched for all, since phmmer takes minutes as it is.
    """

    name, title = "best_hit_phmmer", "best hit (phmmer)"

    def probabilities(self, sequences):
        known = self.train
        first = np.unique(cluster(known.sequences, CLOSE, CLUSTER_COVERAGE), return_index=True)[1]
        best = phmmer_best(list(sequences), [known.sequences[i] for i in first])
        found = np.where(best < 0, NONARG, known.labels[first[best]])
        return np.eye(NUM_CLASSES, dtype=np.float32)[found]
