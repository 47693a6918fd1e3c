"""The backbone: ESM-2 of 8 million parameters, from its weights to one vector per protein.

`weights` finds or fetches the numbers, `batches` turns sequences into tokens and has them computed
on all cores, `model` computes: products by PyTorch, and what lies between them (`attention`) by the
compiled `kernel` (C++ in ``csrc/``) wherever `fastest` measures that to be right and faster. `lora`
adapts layers, `embeddings` reduces residues to one vector, and `store` keeps each vector once
computed; `ranks` joins several processes. May import the ground, `homology` and `data`.

>>> from arg_utils.esm2.batches import encode
>>> encode("MKV").tolist()  # <cls>, three residues, <eos>
[0, 20, 15, 7, 2]
"""
