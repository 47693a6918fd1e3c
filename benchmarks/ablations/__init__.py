"""What was compared once and is no method of the library: heads, features, parts of the hybrid.

    python -m benchmarks.ablations                  # all of the following
    python -m benchmarks.ablations heads            # results/heads.json
    python -m benchmarks.ablations stacking         # results/stacking.json
    python -m benchmarks.ablations abstention       # results/abstention.json
    python -m benchmarks.ablations families         # results/families.json: an hour, or more
    python -m benchmarks.ablations test             # results/ablations.json

``heads``, ``stacking``, ``abstention`` and ``families`` ask training proteins alone, split by
homology; choices are made by them. ``families`` trains LoRA, and goes on where it was interrupted.
``test`` scores other heads, and treatments of rare classes, on the test proteins of both splits,
given training and validation as *layers_linear* is.
"""
