"""The data, from FASTA to labelled proteins, and back out as a submission.

`fasta` reads and checks proteins, `submission` the answers to them; `downloads` fetches pinned
files, of which `genes`, `open_sources` and `open_data` make the open data set; `folders` decides
which data are used and loads them; `proteins` hands them on as sequences and classes. May import
the ground (`errors`, `labels`, `files`, `fingerprint`, `settings`) and `homology`, which the open
data and the splits of a folder are made with.

>>> from arg_utils.data.fasta import Record
>>> from arg_utils.data.proteins import proteins
>>> proteins([Record("P1", "sp|P1|x", "MKVLA", label=14)]).labels
array([14])
"""
