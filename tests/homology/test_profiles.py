import numpy as np
import pytest
import synthetic

from arg_utils.homology import mmseqs
from arg_utils.homology.mmseqs import COLUMNS, search
from arg_utils.homology.profiles import profile_database, profile_search


@pytest.fixture(scope="module")
def family():
    """Twelve proteins at about 45 % identity to an ancestor, then a lone one."""
    rng = np.random.default_rng(21)
    ancestor = synthetic.protein(rng, 200)
    members = [synthetic.mutant(rng, ancestor, 0.45) for _ in range(12)]
    return ancestor, [*members, synthetic.protein(rng, 200)]


FAMILIES = np.array([0] * 12 + [1])


@pytest.fixture(autouse=True)
def _cache(own_cache):
    """An empty cache for each test."""


def test_a_family_knows_what_no_member_does(family):
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


def test_a_family_left_out_is_not_found(family):
    ancestor, known = family
    assert not (profile_search([ancestor], known, np.array([-1] * 12 + [0]))["bits"] > 40).any()
    assert profile_search([ancestor], known, np.full(13, -1)).empty
    assert profile_search([], known, FAMILIES).empty


def test_a_lone_protein_is_found_too(family):
    _, known = family
    hits = profile_search([known[12]], known, FAMILIES)
    assert hits.iloc[0]["target"] == 12
    assert hits.iloc[0]["identity"] == pytest.approx(1, abs=0.05)


def test_the_order_of_members_does_not_matter_but_the_families_do(family, monkeypatch):
    ancestor, known = family
    first = profile_search([ancestor], known, FAMILIES)
    monkeypatch.setattr(mmseqs, "run_mmseqs", lambda *_: pytest.fail("searched again"))
    monkeypatch.setattr(
        "arg_utils.homology.profiles.run_mmseqs", lambda *_: pytest.fail("searched again")
    )
    assert profile_search([ancestor], known, FAMILIES).equals(first)
    with pytest.raises(pytest.fail.Exception, match="searched again"):
        profile_search([ancestor], known, np.arange(13))


def test_a_database_of_profiles_answers_like_its_families(family, tmp_path):
    ancestor, known = family
    profiles = profile_database(tmp_path / "profiles", known, FAMILIES)
    assert profile_search([ancestor], profiles).equals(profile_search([ancestor], known, FAMILIES))
    assert profile_search([], profiles).empty


def test_what_could_be_dna_is_searched_as_protein():
    oligos = ["AACCCCTATTTGTTTATTTT", "TCTAAATACATTCAAATATG"]
    assert profile_search(oligos, oligos, np.array([0, 0])).empty
