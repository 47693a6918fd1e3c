"""The 15 classes and their indices in the competition's submission file."""

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


def parse_label(text: str) -> int:
    """The index (0-14) of a class given by name (``beta_lactam``) or by index (``11``).

    Raises
    ------
    ValueError
        If ``text`` is neither.
    """
    text = text.strip()
    if text in INDEX:
        return INDEX[text]
    if text.isascii() and text.isdigit() and int(text) < NUM_CLASSES:
        return int(text)
    raise ValueError(
        f"{text!r} is neither one of the {NUM_CLASSES} class names nor an index 0-{NUM_CLASSES - 1}"
    )
