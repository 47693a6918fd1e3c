"""Methods at work: on a data folder, on both splits, all in one table.

`workspace` is what a notebook works on, `runs` a fitted method in a folder, `outcomes` what a
method gives on a split (fitted once, then cached), `ladder` all of them side by side. May import
`methods` and every room below.

>>> from arg_utils.experiments.outcomes import HOMOLOGY, RANDOM
>>> RANDOM, HOMOLOGY
('random', 'homology')
"""
