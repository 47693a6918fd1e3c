"""All methods by name, in the order of tables: from knowing nothing to the best."""

from arg_utils.block_methods import FullFinetuning, LoraInBlocks
from arg_utils.heads import LayersLinear, NearestNeighbour
from arg_utils.hybrid import Hybrid
from arg_utils.imbalance import IMBALANCE
from arg_utils.methods import BestHit, FrozenLinear, LoraOnClassifier, Majority, Method
from arg_utils.phmmer import PhmmerHit
from arg_utils.weights import load_weights

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Majority,
        BestHit,
        PhmmerHit,
        NearestNeighbour,
        FrozenLinear,
        LoraOnClassifier,
        *IMBALANCE,
        LayersLinear,
        LoraInBlocks,
        FullFinetuning,
        Hybrid,
    )
}
DEFAULT_METHOD = Hybrid.name
# Scored on as many folds as the profile affords: on those of this part of it.
DEAR = {
    LoraInBlocks.name: "lora_blocks",
    FullFinetuning.name: "full_finetuning",
    PhmmerHit.name: "lora_blocks",
}


def weights_identity(method: type[Method]) -> str:
    """Name of the weights a method's results depend on; ``none`` where it uses no backbone."""
    return load_weights().name if method.uses_esm2 else "none"
