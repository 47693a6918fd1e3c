import subprocess

import numpy as np
import pandas as pd
import pytest
import searches
import synthetic

from arg_utils.errors import UserError
from arg_utils.homology import mmseqs
from arg_utils.homology.answers import COLUMNS, answer_key
from arg_utils.homology.databases import profile_database, run_mmseqs, sequence_database
from arg_utils.homology.mmseqs import (
    best_hits,
    cluster,
    profile_search,
    search,
    strongest_hits,
)

MIXED = (8, 0, 9, 4, 1, 5, 10)  # members of three families, in no order


@pytest.fixture(scope="module", autouse=True)
def _candidates():
    """Here MMseqs2 looks for them itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmseqs, "run_mmseqs", searches.run_shortly)
        yield


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
    whole = search(proteins, proteins)
    limit = whole["evalue"].median()
    strict = search(proteins, proteins, evalue=limit)
    assert 0 < len(strict) < len(whole)
    pd.testing.assert_frame_equal(strict, whole[whole["evalue"] <= limit].reset_index(drop=True))
    assert search(proteins, proteins, max_hits=2).groupby("query").size().max() == 2


def test_what_could_be_dna_is_searched_as_protein(shared_cache, proteins):
    """Left to guess, MMseqs2 takes these for DNA: it fails, or answers in translation."""
    doubtful = ["AACCCCTATTTGTTTATTTT", "TCTAAATACATTCAAATATG", "N" * 50, "ACGT" * 75, "M"]
    assert len(search(doubtful, proteins[:1])) == 0
    assert cluster(doubtful).tolist() == [0, 1, 2, 3, 4]
    assert profile_search(doubtful[:2], doubtful[:2], np.array([0, 0])).empty


def test_nothing_in_nothing_out(shared_cache, proteins):
    for empty in (search([], proteins), search(proteins, [])):
        assert len(empty) == 0
        assert list(empty.columns) == list(COLUMNS)
        assert empty["query"].dtype == np.int64
    assert cluster([]).shape == (0,)


def test_a_protein_is_searched_once_in_whatever_company(own_cache, proteins, monkeypatch):
    alone = search(proteins[3:5], proteins)
    both = search(proteins[:5], proteins)
    with monkeypatch.context() as patch:
        patch.setattr(mmseqs, "run_mmseqs", lambda *_: pytest.fail("searched again"))
        pd.testing.assert_frame_equal(search(proteins[:5], proteins), both)
        again = search([*proteins[3:5], proteins[3]], proteins, evalue=1e-5)
        assert again["query"].unique().tolist() == [0, 1, 2]
        pd.testing.assert_frame_equal(again[again["query"] < 2], alone)
        with pytest.raises(pytest.fail.Exception, match="searched again"):
            search(proteins[:5], proteins[:5])
    monkeypatch.setenv("ARG_CACHE", str(own_cache / "another"))
    pd.testing.assert_frame_equal(search(proteins[:5], proteins), both)


def test_a_damaged_answer_is_computed_again(own_cache, proteins):
    first, groups = search(proteins, proteins), cluster(proteins)
    stored = [*(own_cache / "homology").glob("search-*/*.npz")]
    stored += (own_cache / "homology").glob("cluster-*.npy")
    assert len(stored) == 2
    for path in stored:
        path.write_bytes(path.read_bytes()[:99])
    pd.testing.assert_frame_equal(search(proteins, proteins), first)
    assert (cluster(proteins) == groups).all()


def test_a_database_answers_like_its_sequences(shared_cache, proteins, tmp_path):
    targets = sequence_database(tmp_path / "some" / "targets", proteins[2:])
    whole = search(proteins, proteins[2:])
    pd.testing.assert_frame_equal(search(proteins, targets), whole)
    assert search([], targets).empty


def test_the_strongest_hits_are_the_first_of_each_group(shared_cache, proteins, tmp_path):
    targets, groups = [*proteins[::2], proteins[1]], np.array([0, 1, 0, 0, 2, 1, 1])
    queries = [proteins[5], "MKVLAWHTQ" * 9, *proteins[:3]]
    database = sequence_database(tmp_path / "targets", targets)
    whole = search(queries, targets, evalue=1.0)
    whole = whole.sort_values(["query", "bits", "target"], ascending=[True, False, True])
    first = whole.assign(group=groups[whole["target"]]).drop_duplicates(["query", "group"])
    assert 5 < len(first) < len(whole)
    found = strongest_hits(queries, database, groups, evalue=1.0)
    pd.testing.assert_frame_equal(found, first[list(COLUMNS)].reset_index(drop=True))
    pd.testing.assert_frame_equal(strongest_hits(queries, targets, groups, evalue=1.0), found)
    numbers = (np.array([9, 9, 0, 6, 1]), np.arange(7))  # the last query is the second target
    others = whole[numbers[0][whole["query"]] != numbers[1][whole["target"]]]
    rest = others.assign(group=groups[others["target"]]).drop_duplicates(["query", "group"])
    assert rest["target"].tolist() != first["target"].tolist()  # another is the first now
    pd.testing.assert_frame_equal(
        strongest_hits(queries, targets, groups, numbers, evalue=1.0),
        rest[list(COLUMNS)].reset_index(drop=True),
    )
    assert strongest_hits([], database, groups).empty
    assert strongest_hits(queries, [], groups).empty
    nothing = strongest_hits(queries[1:2], database, groups)
    assert nothing.empty
    assert list(nothing.columns) == list(COLUMNS)


def test_the_question_decides_the_answer(shared_cache, proteins):
    assert len(search(proteins[:2], proteins[2:])) == 4
    assert len(search(proteins[:3], proteins[3:])) == 3  # same residues, split differently
    assert answer_key("x", [], ["MA"], ["MC"]) != answer_key("x", [], ["M"], ["AMC"])
    assert answer_key("x", ["-s", "1"], ["MA"]) != answer_key("x", ["-s", "2"], ["MA"])


def test_clusters_are_the_families_in_order_of_appearance(shared_cache, proteins):
    assert cluster([proteins[i] for i in MIXED]).tolist() == [0, 1, 0, 2, 1, 2, 0]
    assert cluster(["MKV"]).tolist() == [0]


def test_coverage_of_both_is_asked_of_a_cluster(shared_cache, proteins):
    halves = [proteins[0], proteins[0][:75], proteins[4], proteins[4][:135]]
    assert cluster(halves).tolist() == [0, 1, 2, 2]


def test_a_temporary_folder_without_programs_is_said_to_be_one(monkeypatch):
    def refuse(line, **_):
        said = "Failed to execute /x/tmp/blastp.sh with error 13."
        return subprocess.CompletedProcess(line, 1, said, "")

    monkeypatch.setattr("subprocess.run", refuse)
    with pytest.raises(UserError, match=r"mmseqs search .*blastp\.sh.*name .* in TMPDIR, not /"):
        run_mmseqs("search")


def test_a_failure_shows_the_programs_own_words_and_leaves_no_litter(
    own_cache, proteins, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UserError, match=r"search failed with exit code 1: Error in .*--max-seqs"):
        search(proteins, proteins, max_hits=-1)
    search(proteins[:1], proteins[:1])
    assert list(tmp_path.glob("arg-*")) == []
    assert len(list((own_cache / "homology").rglob("*.npz"))) == 1


@pytest.fixture(scope="module")
def family():
    """Twelve proteins at about 45 % identity to an ancestor, then a lone one."""
    rng = np.random.default_rng(21)
    ancestor = synthetic.protein(rng, 200)
    members = [synthetic.mutant(rng, ancestor, 0.45) for _ in range(12)]
    return ancestor, [*members, synthetic.protein(rng, 200)]


FAMILIES = np.array([0] * 12 + [1])


def test_a_family_knows_what_no_member_does(shared_cache, family):
    """A relative as far from the ancestor as the members are: weak to each, clear to all."""
    ancestor, known = family
    rng = np.random.default_rng(4)
    queries = [synthetic.mutant(rng, ancestor, 0.35) for _ in range(6)]
    hits = profile_search(queries, known, FAMILIES)
    assert list(hits.columns) == list(COLUMNS)
    best = hits.drop_duplicates("query").set_index("query")["bits"]
    assert set(best.index) == set(range(6))
    single = search(queries, known, evalue=10).drop_duplicates("query").set_index("query")["bits"]
    assert (best > single.reindex(range(6)).fillna(0) + 10).all()
    assert set(hits["target"][hits["bits"] > 40]) == {0}, "the family's first member stands for it"
    assert (hits["query_coverage"].between(0, 1) & hits["target_coverage"].between(0, 1)).all()


def test_a_family_left_out_is_not_found(shared_cache, family):
    ancestor, known = family
    assert not (profile_search([ancestor], known, np.array([-1] * 12 + [0]))["bits"] > 40).any()
    assert profile_search([ancestor], known, np.full(13, -1)).empty
    assert profile_search([], known, FAMILIES).empty


def test_a_lone_protein_is_found_too(shared_cache, family):
    _, known = family
    hits = profile_search([known[12]], known, FAMILIES)
    assert hits.iloc[0]["target"] == 12
    assert hits.iloc[0]["identity"] == pytest.approx(1, abs=0.05)


def test_the_order_of_members_does_not_matter_but_the_families_do(
    shared_cache, family, monkeypatch
):
    ancestor, known = family
    first = profile_search([ancestor], known, FAMILIES)
    monkeypatch.setattr(mmseqs, "run_mmseqs", lambda *_: pytest.fail("searched again"))
    assert profile_search([ancestor], known, FAMILIES).equals(first)
    with pytest.raises(pytest.fail.Exception, match="searched again"):
        profile_search([ancestor], known, np.arange(13))


def test_a_database_of_profiles_answers_like_its_families(shared_cache, family, tmp_path):
    ancestor, known = family
    profiles = profile_database(tmp_path / "profiles", known, FAMILIES)
    assert profile_search([ancestor], profiles).equals(profile_search([ancestor], known, FAMILIES))
    assert profile_search([], profiles).empty
