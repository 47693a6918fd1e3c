"""What screening costs: as measured, and from rates measured here at an assumed price."""

from collections.abc import Mapping
from typing import Any

from arg_utils.reporting.tables import table

RESIDUES = 350  # of a protein, about the mean of Swiss-Prot
PRICE = 0.05  # US dollars a core-hour, about what clouds ask on demand
SCREENS = {"10⁶": 1e6, "10⁸": 1e8, "10⁹": 1e9}  # proteins


def costs_table(measured: Mapping[str, Any]) -> str:
    """A row per measured rate: core-hours and money for each of `SCREENS`.

    ``measured`` is speed.json with, under ``predict``, predict.json where there is one: that rate
    is of a genome from contigs to table and report. Rates of speed.json are of ESM-2 alone, a lower
    bound of what a screen costs.
    """
    rates = {
        f"ESM-2 alone, {name}": row["residues_per_second"]["features"] / row["cores"]
        for name, row in measured["forms"].items()
    }
    predict = measured.get("predict", {})
    if genome := predict.get("genome"):
        whole = genome["residues_per_second"] / predict["cores"]
        rates = {f"contigs to report, {predict['form']}": whole, **rates}
    rows, columns = [], {"what is measured": "{what}", "residues/s a core": "{rate:,.0f}"}
    for what, rate in rates.items():
        row: dict[str, Any] = {"what": what, "rate": rate}
        for name, proteins in SCREENS.items():
            hours = proteins * RESIDUES / rate / 3600
            row[name] = f"{hours:,.0f} h, ${hours * PRICE:,.2f}"
            columns[f"{name} proteins"] = f"{{{name}}}"
        rows.append(row)
    return (
        f"{table(rows, columns)}\n\nAssumed: {RESIDUES} residues a protein and ${PRICE:.2f} a "
        f"core-hour. A core is one that the measuring machine counted: in a cloud, often half a "
        f"physical one."
    )


def predict_table(predict: Mapping[str, Any]) -> str:
    """A row per part of predict.json that is a time, and whether rows depend on the file."""
    genome, many = predict.get("genome", {}), predict.get("many", {})
    sample = f"{many.get('extrapolated_from_proteins', 0):,}"
    genes = f"the {genome.get('proteins', 0):,} genes of that genome, in the same references"
    parts = {
        "ten": "10 proteins, starting included",
        "genome": f"a genome from contigs to table and report, {genome.get('proteins', 0):,} genes",
        "many": f"10⁵ proteins, extrapolated from {sample}",
        "diamond": f"DIAMOND: {genes}",
        "hmmscan": f"HMMER's hmmscan: {genes}",
    }
    rows = [
        {"what": what, "seconds": row.get("seconds", row.get("extrapolated_seconds"))}
        | {"peak": row["peak_mb"], "rate": row.get("residues_per_second")}
        for name, what in parts.items()
        if (row := predict.get(name))
    ]
    columns = {"what": "{what}", "seconds": "{seconds:,.1f}", "peak memory, MB": "{peak:,.0f}"}
    text = table(rows, columns | {"residues a second": "{rate:,.0f}"})
    text += f"\n\nForm {predict['form']}, {predict['cores']} cores."
    if many:
        text += (
            f" 10⁵ proteins go at {many['share_of_features_rate']:.0%} of the rate of ESM-2 alone."
        )
    if proof := predict.get("independence"):
        compared, differing = (sum(proof[name].values()) for name in ("compared", "differing"))
        text += (
            f" Of {compared:,} rows of proteins predicted alone, in reverse order or in shards, "
            f"{differing:,} differ from those of one file of {proof['together']:,}."
        )
    return text
