"""The columns of a result, one row a protein; files and data frames share names and order."""

# Column: decimals of a number, or None for text.
COLUMNS: dict[str, int | None] = {
    "id": None,
    "class": None,
    "probability": 4,
    "second_class": None,
    "second_probability": 4,
    "uncertain": None,  # yes or no
    "nearest_id": None,  # the known ARG with most bits; empty where none is near
    "nearest_gene": None,
    "nearest_class": None,
    "nearest_identity": 3,  # 0-1
    "nearest_coverage": 3,  # 0-1, of the query
    "nearest_bits": 0,
    "gene_family": None,
    "agree": None,  # whether the best hit and ESM-2 alone name one class: yes, no, or empty
    "flags": None,  # comma-separated
}
PLACE: dict[str, int | None] = {"contig": None, "start": 0, "end": 0, "strand": None}
