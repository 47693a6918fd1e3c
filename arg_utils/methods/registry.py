"""All methods by name, in the order of tables: from knowing nothing to the best."""

from collections.abc import Callable

from arg_utils.esm2.weights import load_weights
from arg_utils.methods.base import Method
from arg_utils.methods.baselines import BestHit, Majority
from arg_utils.methods.block_methods import AttentionPooling, FullFinetuning, LoraInBlocks
from arg_utils.methods.course import FrozenLinear, LoraOnClassifier
from arg_utils.methods.frozen import LayersLinear, NearestNeighbour
from arg_utils.methods.hybrid import Hybrid
from arg_utils.methods.imbalance import IMBALANCE
from arg_utils.methods.nonlinear import NONLINEAR
from arg_utils.methods.phmmer import PhmmerHit
from arg_utils.settings import Profile

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
        *NONLINEAR,
        AttentionPooling,
        LoraInBlocks,
        FullFinetuning,
        Hybrid,
    )
}
DEFAULT_METHOD = Hybrid.name
# Dear ones: the homology folds that the profile affords.
DEAR: dict[str, Callable[[Profile], tuple[int, ...]]] = {
    AttentionPooling.name: lambda profile: profile.attention_pooling.folds,
    LoraInBlocks.name: lambda profile: profile.lora_blocks.folds,
    FullFinetuning.name: lambda profile: profile.full_finetuning.folds,
    PhmmerHit.name: lambda profile: profile.phmmer_folds,
}


def weights_identity(method: type[Method]) -> str:
    """Name of the weights a method's results depend on; ``none`` where it uses no backbone."""
    return load_weights().name if method.uses_esm2 else "none"
