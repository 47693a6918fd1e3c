"""Screening: proteins or genomes of any file in, one row of class, evidence and flags each out.

`reading` gives the proteins of a user's files, each a `query`, those of `annotations` by way of
`coding`; `model` scores them, with what `searches` finds among the references; `rows` says what
there is to say of each, `genes` what the nearest gene's name tells; `engine` runs the stream
through, `writing` and `report` make text of rows, `sink` keeps it; `command` has the options of
``predict``. `shipping` makes the model that comes with the library. May import `methods`,
`metrics`, `esm2`, `data`, `homology` and the ground.

>>> from arg_utils.prediction.genes import gene_family
>>> gene_family("CTX-M-15")
'CTX-M'
"""
