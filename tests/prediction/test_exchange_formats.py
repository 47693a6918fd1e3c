"""GFF3 and hAMRonization: what other programs read."""

import csv
import io
from urllib.parse import unquote

import pandas as pd
import pytest
from hAMRonization.hAMRonizedResult import hAMRonizedResult

from arg_utils.errors import UserError
from arg_utils.prediction import writing
from arg_utils.prediction.rows import COLUMNS, LENGTHS, PLACE
from arg_utils.prediction.writing import Context, Gff3Writer, HamronizationWriter

GENOME = Context("hybrid 1", "0.2.0", "open [ab12cd34]", True, ("folder/a.fna.gz",))
ROW = {
    "id": "c;1=a,b%_3", "class": "beta_lactam", "probability": 0.98765, "second_class": "nonarg",
    "second_probability": 0.01, "uncertain": "no", "nearest_id": "AAA1.1",
    "nearest_gene": "AAC(6')-Ib", "nearest_class": "beta_lactam", "nearest_identity": 0.5,
    "nearest_coverage": 0.9, "reference_coverage": 0.951, "nearest_bits": 120.0, "gene_family": "",
    "mechanism": "efflux pump: MFS family",
    "agree": "yes", "flags": "partial_gene,accessory", "contig": "c >1", "start": 5, "end": 304,
    "strand": "-", "length": 99, "reference_length": 104, "file": "folder/a.fna.gz",
}  # fmt: skip


@pytest.fixture(autouse=True)
def terms(monkeypatch):
    monkeypatch.setattr(writing, "aro_terms", lambda: {"AAA1.1": "AAC(6')-Ib9 (ARO:3000001)"})


def frame(*changes):
    rows = pd.DataFrame(
        [{**ROW, **change} for change in changes], columns=[*COLUMNS, *PLACE, *LENGTHS, "file"]
    )
    return rows.astype(dict.fromkeys(("start", "end", "reference_length"), "Int64"))


def test_gff3_rows_are_valid_and_read_back():
    made = Gff3Writer(GENOME)
    assert made.header() == "##gff-version 3\n"
    none = {"nearest_id": "", "nearest_gene": "", "nearest_identity": None, "flags": ""}
    other = {"class": "nonarg", "nearest_id": "AAA1.1"}
    lines = made.rows(frame({}, {**none, "strand": "+"}, other)).splitlines()
    first, second, third = lines
    fields = first.split("\t")
    assert fields[:8] == ["c%20%3E1", "arg_utils", "CDS", "5", "304", "0.9877", "-", "0"]
    attributes = dict(pair.split("=") for pair in fields[8].split(";"))
    assert unquote(attributes["ID"]) == ROW["id"]
    assert attributes["flags"].split(",") == ["partial_gene", "accessory"]
    assert unquote(attributes["Name"]) == "AAC(6')-Ib"
    assert "Name=beta_lactam" in second
    assert "Name=" not in third, "what is no ARG is not called one"
    assert "nearest_id=AAA1.1" in third
    assert "nearest_id" not in second
    assert "nearest_identity" not in second


def test_gff3_needs_a_genome():
    with pytest.raises(UserError, match="place in a genome"):
        Gff3Writer(Context("m", "1", "d"))


def test_each_row_names_the_file_that_it_is_of():
    made = HamronizationWriter(GENOME)
    rows = made.rows(frame({}, {"file": "b.fna"}, {"file": "-"}, {"file": "caf\udce9.fna"}))
    files = [row.partition("\t")[0] for row in rows.splitlines()]
    assert files == ["a.fna.gz", "b.fna", "-", "caf\ufffd.fna"]


def test_hamronization_is_valid_for_its_own_package():
    made = HamronizationWriter(GENOME)
    none = {"nearest_id": "", "nearest_gene": "", "uncertain": "yes"}
    none |= dict.fromkeys(("nearest_identity", "reference_coverage", "reference_length"))
    proteins = {"contig": None, "start": None, "end": None, "strand": None}
    text = made.header() + made.rows(
        frame({}, {"class": "nonarg"}, {**none, **proteins, "id": '"q'})
    )
    read = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    results = [hAMRonizedResult(**{k: v or None for k, v in row.items()}) for row in read]
    first, second = results
    assert first.input_file_name == "a"  # as that package shortens it
    assert (first.gene_symbol, first.gene_name) == ("AAC(6')-Ib", "AAC(6')-Ib9 (ARO:3000001)")
    assert (first.reference_database_name, first.reference_database_version) == ("open", "ab12cd34")
    assert (first.input_gene_start, first.input_gene_stop, first.input_gene_length) == (5, 304, 300)
    assert first.strand_orientation == "-"
    assert (first.input_sequence_id, first.drug_class) == ("c >1", "beta_lactam")
    assert first.resistance_mechanism == "efflux pump: MFS family"
    assert (first.coverage_percentage, first.sequence_identity) == (95.1, 50.0)
    assert (first.input_protein_length, first.reference_protein_length) == (99, 104)
    assert (second.input_gene_length, second.input_protein_length) == (None, 99)
    assert (second.coverage_percentage, second.reference_protein_length) == (None, None)
    assert (second.input_sequence_id, second.reference_accession) == ('"q', "none")
    assert second.predicted_phenotype_confidence_level == "0.9877, uncertain"
    fields = [field.name for field in hAMRonizedResult.__dataclass_fields__.values()]
    assert list(read[0]) == fields
