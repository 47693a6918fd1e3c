"""What people look at: tables, figures, the notebooks, README's and the model card's numbers.

`eda` and `reports` make tables for the notebooks, the modules that begin with `plot` draw, `maps`
shows embeddings, `ladder_tables`, `readme_tables` and `card_tables` write what is measured,
`notebooks` and `publishing` run and commit. May import every other room; none imports this one.
"""
