"""What people look at: tables, figures, the notebooks.

`eda` shows the data, `tables` and `figures` the scores, `mistakes` wrong answers, `maps` the
embeddings, `motifs` which residues an answer depends on, all in one `style`; `notebooks` runs and
publishes the notebooks, `doctor` describes the machine. May import every other room; none imports
this one.

>>> from arg_utils.reporting.tables import score_frame
>>> score_frame([{"method": "hybrid", "macro_f1": 0.5, "ci_low": 0.4, "ci_high": 0.6}])
   method macro-F1 (95 % interval)
0  hybrid      0.500 (0.400–0.600)
"""
