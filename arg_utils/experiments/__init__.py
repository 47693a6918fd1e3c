"""Methods at work: on a data folder, on both splits, all in one table.

`workspace` is what a notebook works on, `runs` a fitted method in a folder, `outcomes` what a
method gives on a split (fitted once, then cached), `ladder` all methods side by side. May import
`methods` and every room below.

>>> from arg_utils.experiments.ladder import gain
>>> gain({"gain": 0.093, "gain_low": 0.011, "gain_high": 0.172})
'+0.093 (+0.011 to +0.172)'
"""
