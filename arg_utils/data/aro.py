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
    """``ARO:`` and seven digits by the accession of an ARG; fetched (1.3 MB) unless cached.

    `UserError` if the mapping cannot be fetched.
    """
    automatic, curated = (
        pd.read_csv(path, sep="\t", dtype=str)
        for path in WHEEL.fetch(cache_dir("argnorm")).values()
    )
    rows = pd.concat([automatic[automatic["Cut_Off"] != "Loose"], curated])  # the curated win
    return {
        accession(name): f"ARO:{term}"
        for name, term in zip(rows["Original ID"], rows["ARO"], strict=True)
    }
