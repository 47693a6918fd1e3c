"""What a gene's name says of its product: its family, and why a hit may not mean resistance.

Whoever screens a genome meets these first: parts of pumps and operons, their regulators, and
proteins of every cell that resemble a resistance protein. Names are those of SARG, and those that
other databases give to regulators; CARD (doi:10.1093/nar/gkac920) describes each.
"""

import math
import re
from typing import NamedTuple

from arg_utils.homology.splits import IDENTITY

ACCESSORY, REGULATOR, RELATIVE = "accessory", "regulator", "housekeeping_relative"
SAME_GENE = 0.8  # identity from which a protein counts as the gene itself, not as a relative


class Caution(NamedTuple):
    """Genes by the pattern of their names in any case, the flag they get, and why.

    It holds ``below`` an identity: an acquired gene is itself no caution, its relatives are.
    """

    flag: str
    names: str
    reason: str
    below: float = math.inf


CAUTIONS = (
    Caution(ACCESSORY, r"van[HTWXYZK]\w*", "a van operon's enzymes beside its ligase"),
    Caution(
        ACCESSORY,
        r"(acr[AE]|mex[ACEHJMPVXY]|mdt[AEN]|emr[AK]|mac|amr|bpe[AE]|ceo|oqx|mds|mtrC|mux|lpe|"
        r"sme[AD]|ade[AFI])A?",
        "adaptor of a pump",
    ),
    Caution(
        ACCESSORY,
        r"tolC|op[rm][A-Z]|opcM|mtrE|sme[CF]|ade[CHK]|mdtP|mdsC|cmeC",
        "outer membrane channel of pumps",
    ),
    Caution(ACCESSORY, r"mexG", "acts beside the pump of its operon"),
    Caution(REGULATOR, r"van[RSU]\w*", "a van operon's regulators"),
    Caution(
        REGULATOR,
        r"mar[AR]|sox[RS]|rob|ramA|(ram|mex|acr|tet|oqx|mtr|emr)R|nal[CD]|nfxB|mexT|ade[LN]",
        "transcription of pumps",
    ),
    Caution(REGULATOR, r"bla(I|R1?)|mec(I|R\d?)|ampR", "transcription of beta-lactamases, mecA"),
    Caution(REGULATOR, r"(bae|cpx|pho|evg|ade|sme|par|arl)[RS]|cpxA|phoQ|evgA", "two components"),
    Caution(RELATIVE, r"mec[A-D]", "penicillin-binding proteins", SAME_GENE),
    Caution(
        RELATIVE,  # though a beta-lactamase of a new family looks the same
        r"(?-i:[A-Z]{2,4}\d*-([A-Z]-)?\d+[a-z]?(-\d+)?)|L1|Bla[12B]|(cph|cfx|ccr|cfi|cep)A\d*|ampC",
        "penicillin-binding proteins, and hydrolases of either fold",
        IDENTITY,
    ),
    Caution(RELATIVE, r"dfr\w*", "dihydrofolate reductase, FolA", SAME_GENE),
    Caution(RELATIVE, r"sul\d", "dihydropteroate synthase, FolP", SAME_GENE),
    Caution(
        RELATIVE,
        r"tet\((M|O|Q|S|T|W|32|36|44|O/W|W/N/W)\)|tetB\(P\)|otr\(A\)",
        "elongation factor G, FusA",
        SAME_GENE,
    ),
    Caution(RELATIVE, r"van[A-GILMNOP]", "D-alanine-D-alanine ligase, Ddl", SAME_GENE),
    Caution(
        RELATIVE,
        r"(lsa|msr|vga|sal|srm|ole|tlr)\(?[A-H].*|optrA|poxtA|vmlR|mel|carA",
        "ABC-F translation factors, Uup",
        SAME_GENE,
    ),
    Caution(RELATIVE, r"erm.*|rlmA.*", "rRNA methyltransferases, RsmA", SAME_GENE),
    Caution(RELATIVE, r"cfr.*", "methyltransferase of 23S rRNA at A2503, RlmN", SAME_GENE),
    Caution(RELATIVE, r"mcr-.*|ICR-.*", "phosphoethanolamine transferase, EptA", SAME_GENE),
    Caution(RELATIVE, r"fos\w+", "glyoxalases", SAME_GENE),
    Caution(RELATIVE, r"qnr\w+|mfpA", "pentapeptide repeat proteins", SAME_GENE),
    # What genomes carry whether or not they resist: the same at any identity.
    Caution(RELATIVE, r"bacA|eptA|arnA|ugd|pmrF|pgpB", "makes the cell's envelope"),
    Caution(RELATIVE, r"ampC|omp\w+", "a chromosome's own beta-lactamase, or porin"),
    Caution(RELATIVE, r"(gyr|par)[ABCE]|rpo[BC]|fusA|fol[AP]|ddlA?|murA|tufA|katG", "a target"),
    Caution(
        RELATIVE,
        r"(acr|mex|mdt|emr|mac|sme|mtr|cme|bpe|amr|ceo|oqx|ade|mds|mux|efr|efp|lmr|pat|nor|sdr)"
        r"[A-Z]|tolC|mdfA|msbA|mepA|pmrA|bmr|blt|ykk[CD]|ros[AB]|emeA|tap",
        "a chromosome's own pump",
    ),
)  # fmt: skip

_SPECIES = re.compile(r"^(?!Other_)[A-Z][a-z]+_[a-z]+_(?=\w)")
_NOTE = re.compile(r"_(beta-lactamase|TMP|from_.*|in_.*)$")
_ENZYME = re.compile(r"((?:AAC|ANT|APH)\(\d+'*\))-[IVX]+[a-z]*(?:-[A-Za-z]+)?\d*'*")
_ALLELE = re.compile(r"(?<=[A-Za-z)])-?\d+[a-z]?$|(?<=-\d)-\d+$|(?<=\d)\.\d+$|(?<=-\d)\d+$")


def short_name(gene: str) -> str:
    """A gene's name without species and notes.

    >>> short_name("Escherichia_coli_acrA"), short_name("ACC-1_beta-lactamase")
    ('acrA', 'ACC-1')
    """
    return _NOTE.sub("", _SPECIES.sub("", gene))


def gene_family(gene: str) -> str:
    """The family of a gene: its name without species, allele and variant.

    >>> [gene_family(name) for name in ("CTX-M-15", "mcr-3.11", "OXY-2-7", "AAC(6')-Ib-cr")]
    ['CTX-M', 'mcr-3', 'OXY-2', "AAC(6')"]
    >>> [gene_family(name) for name in ("Escherichia_coli_acrA", "tet(A)", "QnrB19", "y56")]
    ['acrA', 'tet(A)', 'QnrB', 'y56']
    """
    name = short_name(gene)
    if enzyme := _ENZYME.fullmatch(name):
        return enzyme[1]
    short = _ALLELE.sub("", name)
    return short if len(short) > 2 else name


def cautions(gene: str, identity: float) -> list[str]:
    """Flags of a protein whose nearest ARG is ``gene``, at this identity (0-1).

    >>> cautions("dfrA1", 0.35), cautions("dfrA1", 0.99), cautions("vanXA", 0.99)
    (['housekeeping_relative'], [], ['accessory'])
    """
    name = short_name(gene)
    named = [c for c in CAUTIONS if re.fullmatch(c.names, name, re.IGNORECASE)]
    return list(dict.fromkeys(c.flag for c in named if identity < c.below))
