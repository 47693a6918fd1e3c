"""Made-up proteins and assemblies, drawn from a seed."""

import numpy as np

from arg_utils.labels import NONARG

# Amino acid -> (share of an average protein in UniProtKB/Swiss-Prot, a common codon in E. coli)
AMINO_ACIDS = {
    "A": (0.0825, "GCG"), "R": (0.0553, "CGT"), "N": (0.0406, "AAC"), "D": (0.0546, "GAT"),
    "C": (0.0138, "TGC"), "Q": (0.0393, "CAG"), "E": (0.0672, "GAA"), "G": (0.0707, "GGC"),
    "H": (0.0227, "CAT"), "I": (0.0591, "ATT"), "L": (0.0965, "CTG"), "K": (0.0580, "AAA"),
    "M": (0.0241, "ATG"), "F": (0.0386, "TTT"), "P": (0.0474, "CCG"), "S": (0.0665, "AGC"),
    "T": (0.0536, "ACC"), "W": (0.0110, "TGG"), "Y": (0.0292, "TAT"), "V": (0.0686, "GTG"),
}  # fmt: skip


def protein(rng: np.random.Generator, length: int = 150) -> str:
    """A random protein of average composition."""
    shares = np.array([share for share, _ in AMINO_ACIDS.values()])
    return "M" + "".join(rng.choice(list(AMINO_ACIDS), length - 1, p=shares / shares.sum()))


def mutant(rng: np.random.Generator, sequence: str, identity: float) -> str:
    """``sequence`` with each residue redrawn with probability 1 - ``identity``."""
    other = protein(rng, len(sequence))
    kept = rng.random(len(sequence)) < identity
    return "".join(a if keep else b for a, b, keep in zip(sequence, other, kept, strict=True))


def families(
    rng: np.random.Generator, count: int, size: int, identity: float = 0.9, length: int = 150
) -> list[str]:
    """``count`` unrelated families of ``size`` related proteins, family after family."""
    ancestors = [protein(rng, length) for _ in range(count)]
    return [mutant(rng, ancestor, identity) for ancestor in ancestors for _ in range(size)]


def assembly(rng: np.random.Generator, proteins: list[str]) -> str:
    """DNA with a gene for each protein, ribosome binding site and stop included."""
    genes = [
        "".join(rng.choice(list("ACGT"), 60))
        + "TAAGGAGGTAATAA"
        + "".join(AMINO_ACIDS[residue][1] for residue in sequence)
        + "TAA"
        for sequence in proteins
    ]
    return "".join(genes) + "".join(rng.choice(list("ACGT"), 60))


def called(*probabilities: float) -> np.ndarray:
    """Probabilities [n, 15] of proteins called an ARG of class 3; where negative, no ARG."""
    p = np.array(probabilities)
    out = np.full((len(p), 15), 0.001)
    out[np.arange(len(p)), np.where(p > 0, 3, NONARG)] = np.abs(p)
    return out
