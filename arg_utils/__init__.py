"""Which antibiotic resistance class does a protein belong to? ESM-2, LoRA and honest evaluation."""
