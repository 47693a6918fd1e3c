import json

import numpy as np
import pytest
import synthetic
from catalogues import SEQUENCES, TITLES, catalogue, database

from arg_utils.data.folders import load_dataset
from arg_utils.data.proteins import Record
from arg_utils.errors import UserError
from arg_utils.labels import CLASSES, INDEX, NONARG
from benchmarks import blast_database, external
from benchmarks.blast_database import RESIDUES, Protein, read_proteins


@pytest.mark.parametrize("version", [4, 5])
def test_a_database_is_read_as_it_was_written(tmp_path, version):
    read = list(read_proteins(*database(tmp_path, version)))
    assert read == list(zip(TITLES, SEQUENCES, strict=True))


def test_names_are_taken_from_titles(tmp_path, monkeypatch):
    class Wheel:
        def fetch(self, folder):
            return dict(enumerate(database(tmp_path)))

    monkeypatch.setattr(blast_database, "WHEEL", Wheel())
    first, second, third = blast_database.read_catalogue()
    assert first == Protein("blaX", "class A beta-lactamase X-1", "WP_1.1", "MKVLA")
    assert (second.gene, second.product) == ("aac(6')-[x]", "a [2Fe-2S] protein")
    assert (third.gene, third.product, third.accession) == ("", "", "")


@pytest.mark.parametrize(
    ("changes", "which", "words"),
    [
        ({"version": 3}, None, "x.pin is no index of a protein BLAST database"),
        ({"kind": 0}, None, "x.pin is no index of a protein BLAST database"),
        ({}, 0, "no index"),
        ({}, 1, "x.psq is shorter"),
        ({}, 2, "x.phr is shorter"),
    ],
)
def test_another_format_and_files_cut_short_are_refused(tmp_path, changes, which, words):
    paths = database(tmp_path, **changes)
    if which is not None:
        paths[which].write_bytes(paths[which].read_bytes()[:-3])
    with pytest.raises(UserError, match=words):
        list(read_proteins(*paths))


def test_a_missing_file_or_a_strange_byte_is_named(tmp_path):
    paths = database(tmp_path)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content.replace(bytes([RESIDUES.index("K")]), b"\x63", 1))
    with pytest.raises(UserError, match="x, protein 1: "):
        list(read_proteins(*paths))
    paths[1].unlink()
    with pytest.raises(UserError, match=r"x\.psq cannot be read"):
        list(read_proteins(*paths))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("blaTEM inhibitor-resistant extended-spectrum class A beta-lactamase", "beta_lactam"),
        ("mecA ceftaroline-resistant PBP2a family peptidoglycan transpeptidase", "beta_lactam"),
        ("aac(3)-Ia aminoglycoside N-acetyltransferase AAC(3)-Ia", "aminoglycoside"),
        ("armA 16S rRNA (guanine(1405)-N(7))-methyltransferase ArmA", "aminoglycoside"),
        ("str streptomycin adenylyltransferase Str", "aminoglycoside"),
        ("erm(B) 23S rRNA (adenine(2058)-N(6))-methyltransferase Erm(B)", CLASSES[1]),
        ("vga(A) ABC-F type ribosomal protection protein Vga(A)", CLASSES[1]),
        ("mcr-1 phosphoethanolamine--lipid A transferase MCR-1.1", "polymyxin"),
        ("fosA fosfomycin resistance glutathione transferase FosA", "fosfomycin"),
        ("dfrA1 trimethoprim-resistant dihydrofolate reductase DfrA1", "trimethoprim"),
        ("bcrA bacitracin resistance ABC transporter ATP-binding subunit BcrA", "bacitracin"),
        ("qnrB1 quinolone resistance pentapeptide repeat protein QnrB1", "quinolone"),
        ("oqxB multidrug efflux RND transporter permease subunit OqxB", "multidrug"),
        ("floR chloramphenicol/florfenicol efflux MFS transporter FloR", "chloramphenicol"),
        ("tet(M) tetracycline resistance ribosomal protection protein", "tetracycline"),
        ("arr NAD(+)--rifampin ADP-ribosyltransferase", "rifampin"),
        ("sul1 sulfonamide-resistant dihydropteroate synthase Sul1", "sulfonamide"),
        ("vanH-B D-lactate dehydrogenase VanH-B", "glycopeptide"),
        ("aac(6')-Ib-cr fluoroquinolone-acetylating aminoglycoside 6'-N-acetyltransferase", "two"),
        ("cmeB multidrug efflux CmeB, ciprofloxacin and florfenicol resistance type", "two"),
        ("cfr 23S rRNA (adenine(2503)-C(8))-methyltransferase Cfr", "no class"),
        ("optrA ABC-F type ribosomal protection protein OptrA", "no class"),
        ("qacE quaternary ammonium compound efflux SMR transporter QacE", "no class"),
        ("merA mercury(II) reductase", "no class"),
        ("ere(A) inactive erythromycin esterase Ere(A2)", "inactive"),
        ("gyrA DNA gyrase quinolone resistance mutant", "mutant"),
        (" ", "no class"),
    ],
)
def test_a_name_tells_one_class_or_why_it_does_not(names, told):
    label, reason = external.class_of(names)
    assert (CLASSES[label] == told and not reason) if told in CLASSES else (told in reason)
    assert (label is None) == (told not in CLASSES)


def test_every_class_of_args_has_a_pattern():
    assert set(external.PATTERNS) == set(CLASSES) - {"nonarg"}


def test_each_sequence_comes_once_and_with_one_class(monkeypatch):
    proteins = [
        *catalogue(["MAJ*", "MAX", "MC", "MD*E"]),
        Protein("tet", "tetracycline efflux", "W5", "MC"),
        Protein("qacE", "quaternary ammonium efflux", "W6", "MF"),
    ]
    monkeypatch.setattr(external, "read_catalogue", lambda: proteins)
    (record,), counts = external.read_database()
    assert record == Record("W0", "W0|FEATURES|NCBI|beta_lactam|bla_x", "MAX", INDEX["beta_lactam"])
    assert counts["read"] == 6
    assert counts["the same protein again"] == 2
    assert counts["one protein, two classes"] == counts["no class named"] == 1
    assert counts["a stop or gap inside, or no accession"] == 1


def test_known_proteins_are_dropped(work, monkeypatch):
    known = [part[0].sequence for part in (work.data.train, work.data.val, work.data.test)]
    monkeypatch.setattr(external, "read_catalogue", lambda: catalogue([*known, "MKVLAW"]))
    records, counts = external.external_set(work)
    assert [record.sequence for record in records] == ["MKVLAW"]
    assert counts["identical to a known protein"] == 3
    monkeypatch.setattr(external, "read_catalogue", lambda: catalogue(known))
    with pytest.raises(UserError, match="All proteins of amrfior are in the data"):
        external.external_set(work)


def records(label, sequences):
    kind = CLASSES[label]
    return [
        Record(
            f"P{i}", f"sp|P{i}|x" if label == NONARG else f"P{i}|FEATURES|NCBI|{kind}|g", s, label
        )
        for i, s in enumerate(sequences)
    ]


@pytest.mark.usefixtures("settings")
def test_the_written_folder_is_a_data_set(tmp_path):
    rng = np.random.default_rng(0)
    args = records(INDEX["beta_lactam"], synthetic.families(rng, 10, 2))
    negatives = records(NONARG, synthetic.families(rng, 20, 1))
    like = records(NONARG, [synthetic.mutant(rng, args[0].sequence, 0.9), args[1].sequence])
    written = external.write_folder(tmp_path / "new", args, negatives + like)
    assert written == {"train": 32, "val": 4, "test": 4}
    data = load_dataset(tmp_path / "new")
    known = {record.sequence: record.label for record in args + negatives}
    read = {record.sequence: record.label for record in data.train + data.val}
    read |= {r.sequence: label for r, label in zip(data.test, data.test_labels, strict=True)}
    assert read == known
    assert data.test[0].header == "SEQ0"
    with pytest.raises(UserError, match="is not an empty folder"):
        external.write_folder(tmp_path / "new", args, negatives)
    with pytest.raises(UserError, match="no negatives"):
        external.write_folder(tmp_path / "other", args, [])


def test_scores_are_of_the_classes_present():
    true, groups = np.array([0, 0, 0, 0, 3, 3]), np.arange(6)
    probabilities, near = np.eye(15)[[0, 0, 0, 14, 3, 3]], np.full(6, 0.5)
    base = np.full(6, 14)
    row = external.score(true, probabilities, base, groups, near, threshold=2.0)
    assert row["macro_f1"] == pytest.approx((6 / 7 + 1) / 2)
    assert row["class_f1"] == {"aminoglycoside": pytest.approx(6 / 7), "fosfomycin": 1.0}
    assert row["gain"] == row["macro_f1"]
    assert row["ci_low"] <= row["macro_f1"] <= row["ci_high"] <= 1
    assert row["accuracy"] == row["called_arg"] == pytest.approx(5 / 6)
    assert (row["answered"], row["error_answered"]) == (0, 0)
    sure = external.score(true, probabilities, base, groups, near, threshold=0.5)
    assert (sure["answered"], sure["error_answered"]) == (1, pytest.approx(1 / 6))
    assert "answered" not in external.score(true, probabilities, base, groups, near)
    same = external.score(true, probabilities, probabilities.argmax(axis=1), groups, near)
    assert same["gain"] == same["gain_low"] == same["gain_high"] == 0


@pytest.mark.usefixtures("settings")
def test_the_tables_are_printed_and_written(work, monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(1)
    mutants = [synthetic.mutant(rng, sequence, 0.9) for sequence in work.train.sequences[:6]]
    monkeypatch.setattr(external, "read_catalogue", lambda: catalogue(mutants))
    monkeypatch.setattr(external, "METHODS", ("best_hit", "frozen_linear"))
    monkeypatch.setattr(external, "homology_clusters", lambda known: np.arange(len(known)))
    monkeypatch.setattr(external, "open_workspace", lambda: work)
    monkeypatch.setattr(external, "RESULTS", tmp_path)
    assert external.main([]) == 0
    assert "no negatives" in capsys.readouterr().out
    written = json.loads((tmp_path / "external.json").read_text())
    assert written["counts"]["kept"] == 6
    assert written["support"] == {"beta_lactam": 6}
    assert [row["method"] for row in written["rows"]] == ["best_hit", "frozen_linear"]
    assert written["weights"] == work.weights.name
    file = tmp_path / "external.json"
    assert external.main(["--write", str(file)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
