import gzip

import numpy as np
import pytest
import synthetic

from arg_utils.data.genes import call_genes
from arg_utils.errors import UserError


@pytest.fixture
def proteins():
    rng = np.random.default_rng(1)
    return [synthetic.protein(rng, 200) for _ in range(6)]


def test_finds_the_genes_of_each_contig(tmp_path, proteins):
    rng = np.random.default_rng(2)
    first, second = synthetic.assembly(rng, proteins[:4]), synthetic.assembly(rng, proteins[4:])
    path = tmp_path / "a.fasta.gz"
    path.write_bytes(gzip.compress(f">c1 x\n{first}\n>c2\r\n{second.lower()}\r\n".encode()))
    genes = call_genes(path)
    assert [gene.sequence for gene in genes] == proteins
    assert [gene.id for gene in genes] == ["c1_1", "c1_2", "c1_3", "c1_4", "c2_1", "c2_2"]
    assert genes[0].header == f"c1_1 75..{74 + 603} strand +1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (">c\nACGTEACGT\n", "line 2: 'E' is not a base"),
        (">c\n>d\nACGT\n", "line 1: 'c' has no sequence"),
        (">c\nACGTACGTAC\n", "No gene found"),
        ("", "is empty"),
    ],
)
def test_refuses_what_is_no_assembly(tmp_path, content, words):
    path = tmp_path / "a.fasta"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        call_genes(path)
