"""The nine methods compared, each with the same verbs: fit, predict, save and load.

`base` says what a method is. `baselines` (majority class, best hit), `course` (the course's
protocol), `frozen` (classifiers on frozen ESM-2), `finetuning` with `classifier` (training ESM-2
itself), and `evidence` with `hybrid` (homology and ESM-2 together) hold the methods and what they
are made of. A new method is one file, its import and a line in the list below. `attribution`
explains the answers of a head on frozen ESM-2. May import `metrics`, `esm2`, `data`, `homology` and
the ground.

>>> from arg_utils.methods import METHODS
>>> METHODS["best_hit"].reference
'train + validation'
"""

from arg_utils.errors import UserError
from arg_utils.methods.base import Method
from arg_utils.methods.baselines import BestHit, Majority
from arg_utils.methods.course import FrozenLinear, LoraOnClassifier
from arg_utils.methods.finetuning import FullFinetuning, LoraInBlocks
from arg_utils.methods.frozen import LayersLinear, NearestNeighbour
from arg_utils.methods.hybrid import Hybrid

# By name, in the order of tables: from knowing nothing to the best.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Majority,
        BestHit,
        NearestNeighbour,
        FrozenLinear,
        LoraOnClassifier,
        LayersLinear,
        LoraInBlocks,
        FullFinetuning,
        Hybrid,
    )
}
DEFAULT_METHOD = Hybrid.name


def method_class(name: str) -> type[Method]:
    """The method of this name; a `UserError` names them all if there is none."""
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
