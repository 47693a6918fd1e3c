"""The command ``python -m benchmarks.ablations``; see the package."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from arg_utils.errors import exit_code
from arg_utils.esm2.lora import save_state
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, write_text
from benchmarks import ablations
from benchmarks.ablations import abstention, contrast, families, heads, stacking, tested

COMMAND = "python -m benchmarks.ablations"


def run(work: Workspace, table: str, steps: int) -> pd.DataFrame:
    """Make one table and write its file; what to print of it. ``steps`` are those of families."""
    fewer = f" --steps {steps}" if table == "families" and steps != contrast.STEPS else ""
    content: dict[str, Any] = work.provenance(f"{COMMAND} {table}{fewer}")
    if table == "heads":
        name, content["rows"] = "heads", heads.evaluate(work)
    elif table == "stacking":
        name, content["rows"] = "stacking", stacking.evaluate(work)
        content["partitions"] = len(stacking.SEEDS)
    elif table == "abstention":
        name = "abstention"
        content |= abstention.evaluate(work)
        content["partitions"] = len(stacking.SEEDS)
    elif table == "families":
        name, content["partitions"] = "families", len(families.DIVISIONS)
        settings = json.dumps(vars(contrast.SETTINGS))
        for content["rows"], adapters in families.evaluate(work, steps):
            save_state(adapters, RESULTS / "families_lora.safetensors", settings=settings)
            write(name, content)
    else:
        name, content["rows"] = "ablations", tested.evaluate(work)
    write(name, content)
    return pd.DataFrame(content["rows"]).drop(columns="gains", errors="ignore").round(3)


def write(name: str, content: dict[str, Any]) -> None:
    """Write a table's file."""
    write_text(RESULTS / f"{name}.json", json.dumps(content, indent=1) + "\n")


TABLES = ("heads", "stacking", "abstention", "families", "test")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables named, or all, print them, and write them into ``results/``."""
    parser = argparse.ArgumentParser(
        COMMAND, description=ablations.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument(
        "--steps", type=int, default=contrast.STEPS, metavar="N",
        help="of families: end each training there, unless more steps were done before",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    tables = options.tables or TABLES
    if unknown := set(tables) - set(TABLES):
        parser.error(f"there is no table {min(unknown)}; choose from {', '.join(TABLES)}")
    if options.steps < 1:
        parser.error(f"--steps is {options.steps}; give 1 or more")

    def command() -> None:
        work = open_workspace()
        for table in tables:
            print(run(work, table, options.steps).to_string(index=False))

    return exit_code(command, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
