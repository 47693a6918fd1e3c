"""Screening: proteins of any file in, one row of class, evidence and flags each out.

`query` is a protein to be predicted, `reading` takes proteins from a user's files, `rows` names the
columns of a result, `writing` turns results into files. May import `methods`, `metrics`, `esm2`,
`data`, `homology` and the ground.

>>> from arg_utils.prediction.query import Query
>>> Query("p1", "MKV", "proteins.fasta, line 1").flags
()
"""
