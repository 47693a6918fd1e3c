"""The methods compared, each with the same three verbs: fit, predict, and save or load.

`base` says what a method is; `baselines`, `course`, `frozen`, `block_methods`, `phmmer`,
`imbalance`, `nonlinear` and `hybrid` are methods, the other modules what they are made of, and
`registry` names them all. May import `metrics`, `esm2`, `data`, `homology` and the ground.
"""
