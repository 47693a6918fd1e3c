"""The data set groups and caps by label, its tokens are fair-esm's, its batches are a partition."""

import esm
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from arg_utils.data.fasta import Record, read_fasta
from arg_utils.errors import UserError
from arg_utils.esm2.batches import ProteinSequenceDataset, shuffled_batches


@pytest.fixture(scope="module")
def records(open_data):
    """Real proteins, in the file's order, the long ones left out."""
    found = read_fasta(open_data / "val.fasta", labelled=True)
    return [record for record in found if len(record.sequence) <= 1022]


def test_tokens_are_those_of_fair_esms_batch_converter(records):
    data = ProteinSequenceDataset(records, max_per_class=3)
    convert = esm.Alphabet.from_architecture("ESM-1b").get_batch_converter()
    _, _, expected = convert([(record.id, record.sequence) for record in data.records])
    assert len({label for _, label in (data[i] for i in range(len(data)))}) == 15
    for i in range(len(data)):
        tokens, _ = data[i]
        assert tokens.dtype == torch.int64
        assert torch.equal(tokens, expected[i, : len(tokens)])
        assert (expected[i, len(tokens) :] == 1).all()  # 1 is <pad>
        assert len(tokens) == len(data.sequences[i]) + 2


def test_j_and_lower_case_are_read_as_the_alphabet_has_them(tmp_path):
    """J (leucine or isoleucine) is not in ESM's alphabet: it becomes X, in one place."""
    path = tmp_path / "a.fasta"
    path.write_text(">a|FEATURES|X|bacitracin|g\nmjkO\n>sp|b|c\nMUZB*\n")
    data = ProteinSequenceDataset.from_fasta(path)
    assert data.sequences == ["MXKO", "MUZB"]
    assert [label for _, label in data] == [5, 14]
    assert data[0][0].tolist() == [0, 20, 24, 15, 28, 2]


def test_grouped_by_label_and_capped(records):
    data = ProteinSequenceDataset(records, max_per_class=4)
    assert data.labels.tolist() == sorted(data.labels.tolist())
    available = np.bincount([record.label for record in records], minlength=15)
    assert np.bincount(data.labels, minlength=15).tolist() == np.minimum(available, 4).tolist()
    assert [record.label for record in data.records] == data.labels.tolist()
    position = {id(record): i for i, record in enumerate(records)}
    for label in range(15):  # within a label, in the file's order
        places = [position[id(r)] for r in data.records if r.label == label]
        assert places == sorted(places)
    assert len(ProteinSequenceDataset(records)) == len(records)


def test_the_seed_decides_which_are_kept(records):
    kept = [ProteinSequenceDataset(records, 4, seed).sequences for seed in (0, 0, 1)]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]


def test_it_is_a_pytorch_data_set(records):
    data = ProteinSequenceDataset(records[:5])
    loader = DataLoader(data, batch_size=2, collate_fn=list)
    assert [len(batch) for batch in loader] == [2, 2, 1]
    with pytest.raises(IndexError):
        data[5]


def test_a_long_protein_is_cut_to_the_window():
    data = ProteinSequenceDataset([Record("a", "a", "M" * 3000, 0)])
    assert len(data[0][0]) == 1024


def test_a_faulty_file_is_named(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(">a|FEATURES|X|penicillin|g\nMK\n")
    with pytest.raises(UserError, match=r"a\.fasta, line 1: .*'penicillin'"):
        ProteinSequenceDataset.from_fasta(path)


@pytest.mark.parametrize("budget", [100, 1000, 10**6])
def test_batches_cover_every_index_once_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(3, 300, 500)
    batches = list(shuffled_batches(lengths, budget, np.random.default_rng(1)))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        assert lengths[batch].sum() <= budget or len(batch) == 1
    assert list(shuffled_batches([], 100, np.random.default_rng(0))) == []


def test_batches_are_random_filled_and_alike_in_length():
    lengths = np.random.default_rng(0).integers(3, 300, 2000)
    draw = lambda seed: list(shuffled_batches(lengths, 2000, np.random.default_rng(seed)))  # noqa: E731
    one, same, other = draw(1), draw(1), draw(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert {tuple(b) for b in one} != {tuple(b) for b in other}
    means = [lengths[batch].mean() for batch in one]
    assert np.mean(np.diff(means) < 0) < 0.65, "long and short ones come in no order"
    spread = np.mean([np.ptp(lengths[batch]) for batch in one])
    assert spread < 0.5 * np.ptp(lengths)
    assert np.median([lengths[batch].sum() for batch in one]) > 0.75 * 2000
