import json

import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data.proteins import Record
from arg_utils.labels import INDEX, NONARG
from benchmarks import grey_zone
from benchmarks.curated import NO_CLASS, TWO_CLASSES

BETA_LACTAM, MULTIDRUG = INDEX["beta_lactam"], INDEX["multidrug"]


def test_pseudogenes_with_stops_are_left_out_and_counted(tmp_path, monkeypatch):
    (tmp_path / "A.faa").write_text(">b1\nMKVL\n>b2\nMK*LL\n>b3\nMAA*\n")

    class Wheel:
        package = "x"

        def fetch(self, folder):
            return {"some/A.faa": tmp_path / "A.faa"}

    monkeypatch.setattr(grey_zone, "GENOMES", Wheel())
    records, faulty = grey_zone.read_proteomes()["A"]
    assert [(record.id, record.sequence) for record in records] == [("b1", "MKVL"), ("b3", "MAA")]
    assert faulty == 1


@pytest.fixture
def proteomes(work, monkeypatch):
    """Two made-up genomes; the classes of their families by sequence."""
    rng = np.random.default_rng(6)
    args = [r.sequence for r in work.data.train if r.label == BETA_LACTAM]
    near = [synthetic.mutant(rng, sequence, 0.9) for sequence in args[:6]]
    far, unlike = synthetic.mutant(rng, args[0], 0.6), synthetic.protein(rng, 70)
    curated = {near[0]: BETA_LACTAM, near[3]: NO_CLASS, near[4]: TWO_CLASSES, args[0]: BETA_LACTAM}
    first = [*near[:2], args[0], unlike]
    second = [*near[2:5], far]

    def named(genome, sequences):
        return [Record(f"{genome}{i}", "", sequence) for i, sequence in enumerate(sequences)]

    genomes = {"A": (named("A", first), 3), grey_zone.E_COLI: (named("E", second), 0)}
    monkeypatch.setattr(grey_zone, "read_proteomes", lambda: genomes)
    monkeypatch.setattr(
        grey_zone,
        "curated_classes",
        lambda sequences: np.array([curated.get(each, NONARG) for each in sequences]),
    )


@pytest.mark.usefixtures("settings", "proteomes")
def test_what_resembles_an_arg_is_asked_about_unless_seen_or_without_a_class(work):
    zone = grey_zone.grey_zone(work)
    assert [record.id for record in zone.records] == ["A0", "A1", "E0", "E3"]
    assert zone.true.tolist() == [BETA_LACTAM, NONARG, NONARG, NONARG]
    assert zone.genome.tolist() == ["A", "A", grey_zone.E_COLI, grey_zone.E_COLI]
    assert zone.counts.loc["A"].tolist() == [4, 3, 3, 1, 0, 0, 2, 0, 1]
    assert zone.counts.loc[grey_zone.E_COLI].tolist() == [4, 0, 4, 0, 1, 1, 2, 0, 0]


@pytest.mark.usefixtures("settings", "proteomes")
def test_the_table_is_printed_and_written(work, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(grey_zone, "METHODS", ("best_hit", "frozen_linear"))
    monkeypatch.setattr(grey_zone, "open_workspace", lambda: work)
    monkeypatch.setattr(grey_zone, "RESULTS", tmp_path)
    assert grey_zone.main([]) == 0
    assert "AMRFinderPlus" in capsys.readouterr().out
    written = json.loads((tmp_path / "grey_zone.json").read_text())
    rows = pd.DataFrame(written["rows"]).set_index(["genomes", "method"])
    assert written["support"] == {"beta_lactam": 1, "nonarg": 3}
    best = rows.loc[("all", "best_hit")]
    assert (best["args"], best["right"], best["called"], best["false_args"]) == (1, 1, 4, 3)
    assert best["taken_for"] == {"beta_lactam": 3}
    strict = rows.loc[("all", "best_hit, identity >= 80%")]
    assert (strict["right"], strict["false_args"]) == (1, 2)  # the far one is not called
    assert rows.loc[("A", "best_hit")]["false_args"] == 1
    alone = rows.loc[("in no training", "best_hit")]
    assert alone["false_args"] == 1
    assert np.isnan(rows.loc[(grey_zone.E_COLI, "best_hit")]["recall"])


def test_calls_are_cut_where_as_many_are_right():
    true = np.array([BETA_LACTAM, BETA_LACTAM, NONARG, NONARG, BETA_LACTAM])
    called = np.array([BETA_LACTAM, BETA_LACTAM, MULTIDRUG, MULTIDRUG, MULTIDRUG])
    confidence = np.array([0.9, 0.5, 0.7, 0.3, 0.1])

    def kept(right):
        return grey_zone.at_equal_recall(true, called, confidence, right) != NONARG

    assert kept(1).tolist() == [True, False, False, False, False]
    assert kept(2).tolist() == [True, True, True, False, False]
    assert kept(3).tolist() == kept(2).tolist()  # no more are right, however many are called
    assert not kept(0).any()


def test_scores_count_wrong_classes_and_false_args_apart():
    true = np.array([BETA_LACTAM, BETA_LACTAM, BETA_LACTAM, NONARG, NONARG, NONARG])
    called = np.array([BETA_LACTAM, MULTIDRUG, NONARG, MULTIDRUG, BETA_LACTAM, NONARG])
    row = grey_zone.score(true, called)
    assert (row["args"], row["not_args"], row["called"]) == (3, 3, 4)
    assert (row["right"], row["wrong_class"]) == (1, 1)
    assert (row["recall"], row["precision"]) == (pytest.approx(1 / 3), 1 / 4)
    assert (row["false_args"], row["false_args_but_multidrug"]) == (2, 1)
    assert row["false_share"] == pytest.approx(2 / 3)
    assert row["taken_for"] == {"multidrug": 1, "beta_lactam": 1}
    assert row["recall_low"] < 1 / 3 < row["recall_high"]


def test_an_interval_is_wilsons():
    """As in Newcombe 1998, table I (doi:10.1002/(SICI)1097-0258(19980430)17:8<857): 15 of 148."""
    told = grey_zone.proportion("p", 15, 148)
    assert told["p_low"] == pytest.approx(0.0624, abs=1e-4)
    assert told["p_high"] == pytest.approx(0.1605, abs=1e-4)
    assert grey_zone.proportion("p", 0, 0) == {"p": None, "p_low": None, "p_high": None}
