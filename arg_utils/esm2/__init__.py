"""The backbone: ESM-2 of 8 million parameters, from its weights to one vector per protein.

`weights` finds or fetches the numbers, `batches` turns sequences into tokens, `model` computes:
with `fastest`, which takes the compiled `kernel` (C++ in ``csrc/``) or PyTorch for `attention` and
what is `pointwise`, in `threads` that take whole batches. `lora` and `lora_product` adapt layers,
`pooling` reduces residues to one vector, `embeddings` and `store` compute each vector only once.
May import the ground, `homology` and `data`.

>>> from arg_utils.esm2.batches import encode
>>> encode("MKV").tolist()  # <cls>, three residues, <eos>
[0, 20, 15, 7, 2]
"""
