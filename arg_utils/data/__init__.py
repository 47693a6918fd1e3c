"""The data, from FASTA to labelled proteins, and back out as a submission.

Reads and checks files in the competition's format (`fasta`, `submission`), builds the open data set
from what it fetches (`downloads`, `genes`, `open_sources`, `open_data`), decides which data folder
is used (`folders`), and hands proteins on as sequences and classes (`proteins`). May import the
ground (`errors`, `labels`, `files`, `settings`, `fingerprint`) and `homology`, which the open data
and the splits of a folder are made with.
"""
