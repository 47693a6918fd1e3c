"""Which proteins resemble which: MMseqs2, profiles of families, and splits that follow them.

`mmseqs` searches and clusters sequences, one by one and as profiles of families, in what
`databases` makes of them; `answers` keeps what they found; `splits` divides labelled proteins at
random and by homology. All work on plain sequences, whatever file they came from. May import the
ground (`errors`, `labels`, `files`, `fingerprint`, `settings`) only.

>>> from arg_utils.homology.splits import random_split
>>> labels = [11] * 10 + [14] * 20
>>> sorted(random_split(labels)[:10].tolist())[:3]
['test', 'train', 'train']
"""
