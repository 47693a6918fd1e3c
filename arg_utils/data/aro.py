"""Terms of the Antibiotic Resistance Ontology (ARO) for the ARGs of SARG.

The mapping is argNorm's (Ugarcina Perovic et al., Bioinformatics 2025), made with CARD's resistance
gene identifier and by hand. What it matched only loosely is no identification, and left out.
"""

from functools import cache

import pandas as pd

from arg_utils.data.downloads import PinnedWheel
from arg_utils.data.open_data import accession
from arg_utils.files import cache_dir

WHEEL = PinnedWheel(
    package="argnorm",
    version="1.1.0",
    sha256="d006cbfb177b18934f11826ff6deed67f2250e17029e3c55cd5f2116e79e11e3",
    size=1_258_085,
    members={
        "argnorm/data/sarg_ARO_mapping.tsv": (
            "6cfc23f56cc5ff8ffcf90e919233e55c6850ef11681616f912eca66ec4500592"
        ),
        "argnorm/data/manual_curation/sarg_curation.tsv": (
            "934fbf82dff4af5fad3b1f7f6c47d648a07b045a6700897d813d53aaed008499"
        ),
    },
)


@cache
def aro_terms() -> dict[str, str]:
    """Name and number of a term, ``NDM-1 (ARO:3000589)``, by the accession of an ARG.

    They are fetched (1.3 MB) unless cached.

    `UserError` if the mapping cannot be fetched.
    """
    automatic, curated = (
        pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        for path in WHEEL.fetch(cache_dir("argnorm")).values()
    )
    rows = pd.concat([automatic[automatic["Cut_Off"] != "Loose"], curated])  # the curated win
    return {
        accession(name): f"{gene} (ARO:{term})".lstrip()  # not all have a name
        for name, gene, term in rows[["Original ID", "Gene Name in CARD", "ARO"]].itertuples(False)
    }
