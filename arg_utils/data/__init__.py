"""The data, from FASTA to labelled proteins, and back out as a submission.

`sources` opens a user's files, `fasta` reads and checks proteins, `proteins` is what methods get of
them, `submission` the answers to them; `genes` finds the proteins of an assembly; `open_data`
builds the open data set from a pinned file that `downloads` fetches, `aro` names the terms of its
ARGs, `genomes` has genomes to screen; `folders` decides which data are used and loads them. May
import the ground (`errors`, `labels`, `files`, `fingerprint`, `settings`) and `homology`, which the
open data and the splits of a folder are made with.

>>> from arg_utils.data.proteins import Record, proteins
>>> proteins([Record("P1", "sp|P1|x", "MKVLA", label=14)]).labels
array([14])
"""
