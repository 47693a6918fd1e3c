"""Which proteins resemble which: MMseqs2, profiles of families, and splits that follow them.

`mmseqs` searches and clusters sequences, `profiles` searches with whole families, `splits` parts
labelled proteins at random and by homology. All work on plain sequences, whatever file they came
from. May import the ground only.
"""
