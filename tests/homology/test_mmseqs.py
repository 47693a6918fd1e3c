import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.errors import UserError
from arg_utils.homology import mmseqs
from arg_utils.homology.mmseqs import (
    COLUMNS,
    best_hits,
    cluster,
    connect,
    renumber,
    search,
    sequence_database,
)

MIXED = (8, 0, 9, 4, 1, 5, 10)  # members of three families, in no order


@pytest.fixture(scope="module")
def proteins():
    return synthetic.families(np.random.default_rng(0), count=3, size=4)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A cache for this module, empty at first: a question asked by two tests is computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shared_cache(shelf, monkeypatch):
    monkeypatch.setenv("ARG_CACHE", str(shelf))


def test_hits_are_relatives_only_and_best_first(shared_cache, proteins):
    hits = search(proteins, proteins)
    assert list(hits.columns) == list(COLUMNS)
    assert len(hits) == 3 * 4 * 4
    assert (hits["query"] // 4 == hits["target"] // 4).all()
    assert hits["query"].is_monotonic_increasing
    best = best_hits(proteins, proteins)
    assert (best["target"] == best["query"]).all()  # each is its own best hit
    assert (best["identity"] == 1).all()
    assert (best[["query_coverage", "target_coverage"]] == 1).all(axis=None)
    assert hits.loc[hits["query"] != hits["target"], "identity"].between(0.65, 0.95).all()


def test_coverage_tells_query_from_target(shared_cache, proteins):
    hit = best_hits([proteins[0][:75]], proteins[:1]).iloc[0]
    assert (hit["query_coverage"], hit["target_coverage"]) == (1.0, 0.5)


def test_of_equal_targets_the_first_wins(shared_cache, proteins):
    targets = [proteins[4], proteins[0], proteins[0]]
    assert best_hits([proteins[0]], targets)["target"].tolist() == [1]


def test_a_query_without_relatives_has_no_row(shared_cache, proteins):
    assert best_hits([proteins[8], proteins[0]], proteins[:4])["query"].tolist() == [1]


def test_options_limit_what_is_reported(shared_cache, proteins):
    assert (search(proteins, proteins, min_identity=0.999)["identity"] == 1).all()
    assert len(search([proteins[0][:75]], proteins[:1], min_coverage=0.6)) == 0
    assert len(search([proteins[0][:75]], proteins[:1], min_coverage=0.4)) == 1


def test_what_could_be_dna_is_searched_as_protein(shared_cache, proteins):
    """Left to guess, MMseqs2 takes these for DNA: it fails, or answers in translation."""
    doubtful = ["AACCCCTATTTGTTTATTTT", "TCTAAATACATTCAAATATG", "N" * 50, "ACGT" * 75, "M"]
    assert len(search(doubtful, proteins[:1])) == 0
    assert cluster(doubtful).tolist() == [0, 1, 2, 3, 4]


def test_nothing_in_nothing_out(shared_cache, proteins):
    for empty in (search([], proteins), search(proteins, [])):
        assert len(empty) == 0
        assert list(empty.columns) == list(COLUMNS)
        assert empty["query"].dtype == np.int64
    assert cluster([]).shape == (0,)


def test_answers_come_from_the_cache_and_damage_is_noticed(own_cache, proteins, monkeypatch):
    first = search(proteins, proteins)
    with monkeypatch.context() as patch:
        patch.setattr(mmseqs, "_search", lambda *_: pytest.fail("searched again"))
        pd.testing.assert_frame_equal(search(proteins, proteins), first)
    (stored,) = (own_cache / "homology").glob("search-*.npy")
    stored.write_bytes(stored.read_bytes()[:99])
    pd.testing.assert_frame_equal(search(proteins, proteins), first)


def test_a_database_answers_like_its_sequences(shared_cache, proteins, tmp_path, monkeypatch):
    targets = sequence_database(tmp_path / "some" / "targets", proteins[2:])
    whole = search(proteins, proteins[2:])
    pd.testing.assert_frame_equal(search(proteins, targets), whole)
    assert search([], targets).empty
    (tmp_path / "some" / "targets" / "done").unlink()  # as if its making had been interrupted
    assert sequence_database(tmp_path / "some" / "targets", proteins[2:]) == targets
    pd.testing.assert_frame_equal(search(proteins, targets), whole)
    monkeypatch.setattr(mmseqs, "run_mmseqs", lambda *_: pytest.fail("made again"))
    sequence_database(tmp_path / "some" / "targets", proteins[2:])


def test_the_question_decides_the_answer(shared_cache, proteins):
    assert len(search(proteins[:2], proteins[2:])) == 4
    assert len(search(proteins[:3], proteins[3:])) == 3  # same residues, split differently
    assert mmseqs.answer_key("x", [], ["MA"], ["MC"]) != mmseqs.answer_key("x", [], ["M"], ["AMC"])
    assert mmseqs.answer_key("x", ["-s", "1"], ["MA"]) != mmseqs.answer_key(
        "x", ["-s", "2"], ["MA"]
    )


def test_clusters_are_the_families_in_order_of_appearance(shared_cache, proteins):
    assert cluster([proteins[i] for i in MIXED]).tolist() == [0, 1, 0, 2, 1, 2, 0]
    assert cluster(["MKV"]).tolist() == [0]


def test_same_question_same_answer(shared_cache, proteins, tmp_path, monkeypatch):
    mixed = [proteins[i] for i in MIXED]
    first, groups = search(proteins, proteins), cluster(mixed)
    monkeypatch.setenv("ARG_CACHE", str(tmp_path / "another"))
    pd.testing.assert_frame_equal(search(proteins, proteins), first)
    np.testing.assert_array_equal(cluster(mixed), groups)


def test_coverage_of_both_is_asked_of_a_cluster(shared_cache, proteins):
    halves = [proteins[0], proteins[0][:75], proteins[4], proteins[4][:135]]
    assert cluster(halves).tolist() == [0, 1, 2, 2]


def test_connect_merges_along_chains():
    groups = np.array([0, 0, 1, 2, 3, 4])
    merged = connect(groups, np.array([1, 3]), np.array([3, 5]))
    assert merged.tolist() == [0, 0, 1, 0, 2, 0]
    assert connect(groups, np.array([], dtype=int), np.array([], dtype=int)).tolist() == [*groups]
    assert renumber(np.array([7, 7, 3, 9, 3])).tolist() == [0, 0, 1, 2, 1]


def test_a_failure_shows_the_programs_own_words_and_leaves_no_litter(
    own_cache, proteins, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UserError, match=r"search failed with exit code 1: Error in .*--max-seqs"):
        search(proteins, proteins, max_hits=-1)
    search(proteins[:1], proteins[:1])
    assert list(tmp_path.glob("arg-*")) == []
    assert len(list((own_cache / "homology").iterdir())) == 1
