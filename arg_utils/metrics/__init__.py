"""How good predictions are, and how sure one can be of that.

`scores` holds F1, accuracy, confusion and their intervals (a bootstrap over clusters),
`calibration` whether probabilities mean what they say. All work on plain arrays of class indices
and probabilities. May import the ground only, whatever lies between.

>>> from arg_utils.metrics.scores import macro_f1
>>> round(macro_f1([0, 1, 14], [0, 14, 14], present_only=True), 3)
0.556
"""
