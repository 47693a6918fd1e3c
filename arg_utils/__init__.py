"""Which antibiotic resistance class does a protein belong to? ESM-2, LoRA and honest evaluation."""

import os

# Idle OpenMP threads that spin cost little on an idle machine and half the speed on a busy one.
# Read when PyTorch is first imported, hence here; a value the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
