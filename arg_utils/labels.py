"""The 15 classes, their indices in the competition's submission file, and how else they are spelt.

Class names are read without regard to case, and to spaces, ``_``, ``-`` and ``/`` between words; a
plural counts as its singular. `SYNONYMS` lists further names that databases use for a class.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from arg_utils.errors import UserError, counted

CLASSES: tuple[str, ...] = (
    "aminoglycoside",
    "macrolide-lincosamide-streptogramin",
    "polymyxin",
    "fosfomycin",
    "trimethoprim",
    "bacitracin",
    "quinolone",
    "multidrug",
    "chloramphenicol",
    "tetracycline",
    "rifampin",
    "beta_lactam",
    "sulfonamide",
    "glycopeptide",
    "nonarg",
)
NUM_CLASSES = len(CLASSES)
INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
NONARG = INDEX["nonarg"]

# "macrolide-lincosamide-streptogramin" does not fit beside an axis; MLS is the field's short form.
_SHORT = {"macrolide-lincosamide-streptogramin": "MLS", "nonarg": "not an ARG"}
DISPLAY_NAMES: tuple[str, ...] = tuple(_SHORT.get(c, c.replace("_", "-")) for c in CLASSES)

# Names of a class elsewhere (CARD, ResFinder, SARG, DeepARG, AMRFinderPlus), and of the drug that
# stands for it there. Written as `_normal` does.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "beta_lactam": ("betalactam", "β lactam"),
    "macrolide-lincosamide-streptogramin": (
        "mls", "mlsb", "macrolide", "lincosamide", "streptogramin",
        "macrolide lincosamide streptogramin b",
    ),
    "chloramphenicol": ("phenicol", "amphenicol", "florfenicol"),
    "rifampin": ("rifamycin", "rifampicin"),
    "quinolone": ("fluoroquinolone",),
    "glycopeptide": ("vancomycin",),
    "polymyxin": ("colistin",),
    "sulfonamide": ("sulphonamide",),
    "trimethoprim": ("diaminopyrimidine",),
    "multidrug": ("multi drug",),
    "nonarg": ("non arg",),
}  # fmt: skip
SYNONYMS = {other: name for name, others in _ELSEWHERE.items() for other in others}


def class_index(name: str) -> int | None:
    """The index (0-14) of a class by its name or a well-known other spelling, else ``None``.

    >>> class_index("Beta-lactams") == class_index("beta_lactam") == 11
    True
    """
    return _SPELLINGS.get(_normal(name))


def parse_label(text: str) -> int:
    """The index of a class given by name (as of `class_index`) or by index; else `ValueError`."""
    text = text.strip()
    if text.isascii() and text.isdigit() and int(text) < NUM_CLASSES:
        return int(text)
    if (index := class_index(text)) is None:
        raise ValueError(f"{text!r} is neither a class name nor an index 0-{NUM_CLASSES - 1}")
    return index


def header_class(header: str) -> tuple[str, str]:
    """The accession and the name of the class in a header of the competition's format.

    An ARG has ``accession|FEATURES|source|class|gene``, further ``|`` fields allowed; a protein
    that is no ARG has ``sp|accession|...``. Whether there is such a class is not asked; a header
    that names none, or contradicts itself, is a `ValueError`.
    """
    fields = [part.strip(" \t") for part in header.split("|")]
    if fields[0] == "sp" and len(fields) > 1:
        if len(fields) > 3 and class_index(fields[3]) not in (None, NONARG):
            raise ValueError(
                f"the header contradicts itself: sp| marks no ARG, its fourth field {fields[3]!r}; "
                f"remove sp| if it is one, else change the fourth field"
            )
        return re.split(r"[ \t]", fields[1])[0] or header, CLASSES[NONARG]
    if len(fields) < 4:
        raise ValueError(
            f"the header {header[:60]!r} names no class; write accession|FEATURES|source|class|"
            f"gene for an ARG or sp|accession|... for none"
        )
    return fields[0] or header, fields[3]


def unknown_classes(
    path: Path | str, noun: str, what: str, lines: Mapping[str, Sequence[int]]
) -> UserError:
    """One sentence for all names in a file that are no class's: where, how often, what is meant.

    ``noun`` and ``what`` say whose names these are, as in: 2 headers without a known class.
    """
    parts = []
    for name, places in list(lines.items())[:5]:
        near = difflib.get_close_matches(_normal(name), _SPELLINGS, n=1, cutoff=0.75)
        meant = f"; {CLASSES[_SPELLINGS[near[0]]]!r}?" if near else ""
        times = "once" if len(places) == 1 else f"{len(places)} times"
        parts.append(f"{name[:60]!r} ({times}{meant})")
    further = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
    return UserError(
        f"{path}, line {min(map(min, lines.values()))}: "
        f"{counted(sum(map(len, lines.values())), noun)} {what}, "
        f"the first here: {', '.join(parts)}{further}; use {', '.join(CLASSES)}."
    )


def _normal(name: str) -> str:
    """Small letters, one space between words, singular."""
    return re.sub(r"[\s_/-]+", " ", name.casefold()).strip().removesuffix("s")


_SPELLINGS: dict[str, int] = {_normal(name): index for name, index in INDEX.items()}
_SPELLINGS |= {_normal(name): INDEX[target] for name, target in SYNONYMS.items()}
