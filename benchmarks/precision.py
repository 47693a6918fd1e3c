"""Does bfloat16 change what is decided? The course's model on validation, in both precisions.

    make precision                        # some minutes on two cores; writes results/precision.json

The linear layer is trained on bfloat16 features of the training part, as a user's would be, and
then answers for validation features computed in bfloat16 and in float32.
"""

import json
import sys

import numpy as np
import torch

from arg_utils.esm2.embeddings import embed
from arg_utils.experiments.workspace import open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.methods.course import FrozenLinear, logits
from arg_utils.metrics.scores import macro_f1


def main() -> int:
    """Measure, print and write; exit code 1 if more than 0.5 % of the answers change."""
    work = open_workspace()
    fitted = FrozenLinear().fit(work.train, work.val, work.profile, work.profile.seed)
    labels, scores = work.val.labels, {}
    for precision in (torch.bfloat16, torch.float32):
        features = embed(work.val.sequences, weights=work.weights, precision=precision)
        scores[precision] = logits(fitted.head, features)
    low, high = (scores[p].argmax(axis=1) for p in (torch.bfloat16, torch.float32))
    result = {
        "command": "python -m benchmarks.precision",
        "data": f"{work.data.name} [{work.data.identity[:8]}]", "weights": work.weights.name,
        "proteins": len(labels), "decisions_unchanged": float(np.mean(low == high)),
        "macro_f1_bfloat16": macro_f1(labels, low), "macro_f1_float32": macro_f1(labels, high),
        "largest_logit_difference": float(
            np.abs(scores[torch.bfloat16] - scores[torch.float32]).max()
        ),
    }  # fmt: skip
    write_text(RESULTS / "precision.json", json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return int(result["decisions_unchanged"] < 0.995)


if __name__ == "__main__":
    sys.exit(main())
