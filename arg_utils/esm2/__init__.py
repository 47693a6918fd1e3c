"""The backbone: ESM-2 of 8 million parameters, from its weights to one vector a protein.

`weights` finds or fetches the numbers, `batches` makes tokens of sequences, `attention` (with the
C++ in ``csrc/``) and `model` compute, `lora` and `lora_product` adapt layers, `pooling` makes one
vector of many, `embeddings` and `store` compute each vector once. May import the ground and `data`.
"""
