from arg_utils.homology.splits import FOLDS
from arg_utils.methods.registry import DEAR, DEFAULT_METHOD, METHODS, weights_identity
from arg_utils.settings import PROFILES


def test_the_names_are_those_of_the_files():
    assert list(METHODS) == [
        "majority", "best_hit", "best_hit_phmmer", "nearest_neighbour", "frozen_linear",
        "lora_classifier",
        "layers_plain", "layers_sqrt", "layers_weighted", "layers_focal", "layers_adjusted",
        "layers_balanced", "layers_linear", "layers_perceptron", "layers_ensemble", "layers_svm",
        "attention_pooling", "lora_blocks", "full_finetuning", "hybrid",
    ]  # fmt: skip
    assert all(METHODS[name].name == name and METHODS[name].title for name in METHODS)
    assert len({method.title for method in METHODS.values()}) == len(METHODS)


def test_the_default_is_the_best_that_fits_a_laptop():
    assert DEFAULT_METHOD == "hybrid"
    assert DEFAULT_METHOD not in DEAR
    assert set(DEAR) <= set(METHODS)
    for profile in PROFILES.values():
        assert all(set(folds(profile)) <= set(range(FOLDS)) for folds in DEAR.values())
    assert all(folds(PROFILES["laptop"]) == (0,) for folds in DEAR.values())


def test_only_what_uses_the_backbone_depends_on_its_weights(weights):
    assert weights_identity(METHODS["best_hit"]) == "none"
    for name in ("lora_blocks", "nearest_neighbour", "hybrid"):
        assert weights_identity(METHODS[name]) == weights.name
