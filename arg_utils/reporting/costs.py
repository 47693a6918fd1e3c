"""What screening costs, from rates measured on this library and an assumed price."""

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
    if predict := measured.get("predict"):
        whole = predict["genome"]["residues_per_second"] / predict["cores"]
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
