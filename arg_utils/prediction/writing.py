"""Rows of results as text: formats, each with a header and the text of a block of rows."""

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from arg_utils.data.aro import aro_terms
from arg_utils.errors import UserError
from arg_utils.labels import CLASSES, NONARG
from arg_utils.prediction.rows import COLUMNS, PLACE


@dataclass(frozen=True)
class Context:
    """What a file of results says of all its rows.

    Attributes
    ----------
    model : name of the model; ``version`` : of this library; ``data`` : name and identity of the
        model's references.
    genome : whether rows have a place in a genome (the columns of `PLACE`).
    inputs : the user's inputs, as named.
    """

    model: str
    version: str
    data: str
    genome: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, int | None]:
        """The columns to write, and their decimals."""
        return {**COLUMNS, **PLACE} if self.genome else COLUMNS


class Writer(ABC):
    """A format. Text of rows must not depend on the rows before."""

    def __init__(self, context: Context) -> None:
        """`UserError` if the format does not suit the input."""
        self.context = context

    def header(self) -> str:
        """What a file begins with."""
        return ""

    @abstractmethod
    def rows(self, frame: pd.DataFrame) -> str:
        """A block of results (columns of `rows`) as text."""


class TableWriter(Writer):
    """Tab-separated, one line a protein; empty where there is no value."""

    def header(self) -> str:
        return "\t".join(self.context.columns) + "\n"

    def rows(self, frame: pd.DataFrame) -> str:
        columns = self.context.columns
        texts = [[_text(v, columns[name]) for v in frame[name]] for name in columns]
        return "".join("\t".join(row) + "\n" for row in zip(*texts, strict=True))


class JsonLinesWriter(Writer):
    """One JSON object a protein; null where there is no value, ``flags`` a list."""

    def rows(self, frame: pd.DataFrame) -> str:
        columns = self.context.columns
        records = zip(*(frame[name] for name in columns), strict=True)
        return "".join(
            json.dumps({n: _value(n, v, columns[n]) for n, v in zip(columns, r, strict=True)})
            + "\n"
            for r in records
        )


class Gff3Writer(Writer):
    """GFF3, a CDS a protein at its place on the contig; its score is the probability."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        if not context.genome:
            what = "The format gff3 needs genes with a place in a genome"
            raise UserError(f"{what}; give contigs (--genome) or an annotation, or choose tsv.")

    def header(self) -> str:
        return "##gff-version 3\n"

    def rows(self, frame: pd.DataFrame) -> str:
        if (placeless := frame["contig"].isna()).any():
            what = (
                f"{frame['id'][placeless].iloc[0][:60]!r} has no place in a genome, as gff3 needs"
            )
            raise UserError(f"{what}; predict proteins apart from genomes, or choose tsv.")
        return "".join(map(self._row, frame.to_dict("records")))

    def _row(self, row: dict[str, Any]) -> str:
        """What a gene has no value for is left out. All genes begin with a whole codon: phase 0."""
        place = [quote(row["contig"], safe=_GFF3_CONTIG), "arg_utils", "CDS"]
        numbers = [str(row["start"]), str(row["end"]), f"{row['probability']:.4f}", row["strand"]]
        texts = {n: _text(row[n], d) for n, d in self.context.columns.items() if n not in PLACE}
        del texts["probability"]
        named = {"ID": texts.pop("id"), **texts}
        if row["class"] != CLASSES[NONARG]:  # a browser's label
            named["Name"] = texts["nearest_gene"] or texts["class"]
        attributes = (
            f"{name}={quote(text, safe=_GFF3_ATTRIBUTE + ',' * (name == 'flags'))}"
            for name, text in named.items()
            if text
        )
        return "\t".join([*place, *numbers, "0", ";".join(attributes)]) + "\n"


# What GFF3 lets stand beside letters and digits; the rest is percent-encoded.
_GFF3_CONTIG = ".:^*$@!+_?-|"
_GFF3_ATTRIBUTE = " .:^*$@!+_?-|()[]{}'\"/<>#~"
HAMRONIZATION = (
    "input_file_name", "gene_symbol", "gene_name", "reference_database_name",
    "reference_database_version", "reference_accession", "analysis_software_name",
    "analysis_software_version", "genetic_variation_type", "antimicrobial_agent",
    "coverage_percentage", "coverage_depth", "coverage_ratio", "drug_class", "input_gene_length",
    "input_gene_start", "input_gene_stop", "input_protein_length", "input_protein_start",
    "input_protein_stop", "input_sequence_id", "nucleotide_mutation",
    "nucleotide_mutation_interpretation", "predicted_phenotype",
    "predicted_phenotype_confidence_level", "amino_acid_mutation",
    "amino_acid_mutation_interpretation", "reference_gene_length", "reference_gene_start",
    "reference_gene_stop", "reference_protein_length", "reference_protein_start",
    "reference_protein_stop", "resistance_mechanism", "strand_orientation", "sequence_identity",
)  # fmt: skip


class HamronizationWriter(Writer):
    """The table of the hAMRonization specification (github.com/pha4ge/hAMRonization), ARGs only.

    Symbol and reference are those of the nearest known ARG; the gene's name is that of its term in
    the ARO, where it has one: SARG may call it otherwise. The gene's length and place are known of
    genomes only.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        name, _, version = context.data.partition(" [")
        self.terms = aro_terms()
        self.same = {
            "reference_database_name": name,
            "reference_database_version": version.rstrip("]") or name,
            "analysis_software_name": "arg_utils",
            "analysis_software_version": f"{context.version} ({context.model})",
            "genetic_variation_type": "gene_presence_detected",
        }

    def header(self) -> str:
        return "\t".join(HAMRONIZATION) + "\n"

    def rows(self, frame: pd.DataFrame) -> str:
        args = frame[frame["class"] != CLASSES[NONARG]]
        table = io.StringIO()
        lines = csv.DictWriter(table, HAMRONIZATION, delimiter="\t", lineterminator="\n")
        lines.writerows(self._row(row) for row in args.to_dict("records"))
        return table.getvalue()

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        symbol = row["nearest_gene"] or row["class"]
        length = 0 if pd.isna(row["start"]) else row["end"] - row["start"] + 1
        doubt = ", uncertain" if row["uncertain"] == "yes" else ""
        return self.same | {
            "input_file_name": Path(shown(row["file"])).absolute().name,
            "gene_symbol": symbol,
            "gene_name": self.terms.get(row["nearest_id"], symbol),
            "reference_accession": row["nearest_id"] or "none",
            "drug_class": row["class"],
            "resistance_mechanism": row["mechanism"],
            "predicted_phenotype_confidence_level": f"{row['probability']:.4f}{doubt}",
            "sequence_identity": _percent(row["nearest_identity"]),
            "coverage_percentage": _percent(row["reference_coverage"]),
            "input_sequence_id": row["id"] if pd.isna(row["contig"]) else row["contig"],
            "input_gene_length": length or "",
            "input_gene_start": _text(row["start"], 0),
            "input_gene_stop": _text(row["end"], 0),
            "input_protein_length": row["length"],
            "reference_protein_length": _text(row["reference_length"], 0),
            "strand_orientation": _text(row["strand"], None),
        }


FORMATS: dict[str, type[Writer]] = {
    "tsv": TableWriter,
    "jsonl": JsonLinesWriter,
    "gff3": Gff3Writer,
    "hamronization": HamronizationWriter,
}


def shown(name: str) -> str:
    """The name of a file as text: its bytes may be none, and what is written is."""
    return os.fsencode(name).decode(errors="replace")


def _text(value: Any, decimals: int | None) -> str:
    if pd.isna(value):
        return ""
    return str(value) if decimals is None else f"{value:.{decimals}f}"


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f}"


def _value(name: str, value: Any, decimals: int | None) -> Any:
    if name == "flags":
        return value.split(",") if value else []
    if pd.isna(value) or value == "":
        return None
    if decimals is None:
        return value
    return round(float(value), decimals) if decimals else int(value)
