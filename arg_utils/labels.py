"""The 15 classes, their indices in the competition's submission file, and how else they are spelt.

Class names are read without regard to case, and to spaces, ``_``, ``-`` and ``/`` between words; a
plural counts as its singular. `SYNONYMS` lists further names that databases use for a class.
"""

import difflib
import re
from collections.abc import Mapping

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
DISPLAY_NAMES: tuple[str, ...] = tuple(
    {
        "macrolide-lincosamide-streptogramin": "MLS",
        "beta_lactam": "beta-lactam",
        "nonarg": "not an ARG",
    }.get(name, name)
    for name in CLASSES
)


# Names of the same class elsewhere (CARD, ResFinder, SARG, DeepARG, AMRFinderPlus), and of the drug
# that stands for its class there. Written as `_normal` does.
SYNONYMS: dict[str, str] = {
    "betalactam": "beta_lactam",
    "β lactam": "beta_lactam",
    "mls": "macrolide-lincosamide-streptogramin",
    "mlsb": "macrolide-lincosamide-streptogramin",
    "macrolide lincosamide streptogramin b": "macrolide-lincosamide-streptogramin",
    "macrolide": "macrolide-lincosamide-streptogramin",
    "lincosamide": "macrolide-lincosamide-streptogramin",
    "streptogramin": "macrolide-lincosamide-streptogramin",
    "phenicol": "chloramphenicol",
    "amphenicol": "chloramphenicol",
    "florfenicol": "chloramphenicol",
    "rifamycin": "rifampin",
    "rifampicin": "rifampin",
    "fluoroquinolone": "quinolone",
    "vancomycin": "glycopeptide",
    "colistin": "polymyxin",
    "sulphonamide": "sulfonamide",
    "diaminopyrimidine": "trimethoprim",
    "multi drug": "multidrug",
    "non arg": "nonarg",
}


def class_index(name: str) -> int | None:
    """The index (0-14) of a class by its name or a well-known other spelling, else ``None``.

    >>> class_index("Beta-lactams") == class_index("beta_lactam") == 11
    True
    """
    if name in INDEX:
        return INDEX[name]
    return _SPELLINGS.get(_normal(name))


def parse_label(text: str) -> int:
    """The index (0-14) of a class given by name (as of `class_index`) or by index (``11``).

    Raises
    ------
    ValueError
        If ``text`` is neither.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and int(text) < NUM_CLASSES:
        return int(text)
    if (index := class_index(text)) is None:
        raise ValueError(
            f"{text!r} is neither one of the {NUM_CLASSES} class names nor an index "
            f"0-{NUM_CLASSES - 1}"
        )
    return index


def name_unknown(counts: Mapping[str, int], most: int = 5) -> str:
    """Class names that are none, how often each comes, and which one may be meant.

    >>> name_unknown({"beta_lactamm": 2, "xyz": 1})
    "'beta_lactamm' (2 times; 'beta_lactam'?), 'xyz' (once)"
    """
    parts = []
    for name, count in list(counts.items())[:most]:
        near = difflib.get_close_matches(_normal(name), _SPELLINGS, n=1, cutoff=0.75)
        meant = f"; {CLASSES[_SPELLINGS[near[0]]]!r}?" if near else ""
        parts.append(f"{name[:60]!r} ({'once' if count == 1 else f'{count} times'}{meant})")
    further = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {further} more" if further else "")


def _normal(name: str) -> str:
    """Small letters, one space between words, singular."""
    return re.sub(r"[\s_/-]+", " ", name.casefold()).strip().removesuffix("s")


_SPELLINGS: dict[str, int] = {_normal(name): index for name, index in INDEX.items()}
_SPELLINGS |= {_normal(name): INDEX[target] for name, target in SYNONYMS.items()}
