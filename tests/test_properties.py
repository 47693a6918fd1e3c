"""What holds for any input, tried on many that hypothesis makes up."""

import bz2
import csv
import gzip
import io
import lzma
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arg_utils.data.fasta import read_fasta, write_fasta
from arg_utils.data.proteins import Record, cap_per_class, unique_ids
from arg_utils.data.sources import open_source, zstd
from arg_utils.data.submission import check_submission, read_key, write_submission
from arg_utils.errors import UserError
from arg_utils.esm2.batches import shuffled_batches, token_batches
from arg_utils.labels import CLASSES, SYNONYMS, class_index, header_class, parse_label
from arg_utils.prediction import model as model_module
from arg_utils.prediction.model import Model, blocks
from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import Scores
from benchmarks.parsers import PARSERS

# The same examples each time, and none kept on disk: a test either fails or does not.
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
# No half characters, and nothing that ends a line or controls a terminal.
ANY = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
WORD = st.text(ANY, min_size=1, max_size=12).filter(lambda word: " " not in word)
HEADER = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
# In ESM's alphabet; with an L no chance of being DNA.
SEQUENCE = st.text("ACDEFGHIKLMNPQRSTVWYBZUOX", max_size=80).map("L".__add__)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all examples of a test."""
    return tmp_path_factory.mktemp("made up")


def first_word(header: str) -> str:
    return header.split(" ")[0]


@FEW
@given(st.lists(st.tuples(HEADER, SEQUENCE), min_size=1, unique_by=lambda r: first_word(r[0])))
def test_what_is_written_is_read(place, entries):
    records = [Record(first_word(header), header, sequence) for header, sequence in entries]
    assert read_fasta(write_fasta(place / "a.fasta", records), labelled=False) == records


FIELD = st.text(ANY.filter(lambda letter: letter not in "| "), min_size=1, max_size=8)


@FEW
@given(st.lists(st.tuples(FIELD, st.sampled_from(CLASSES[:-1]), SEQUENCE), min_size=1))
def test_header_to_label_to_index_and_back(place, entries):
    written = [
        Record(name, f"{name}|FEATURES|x|{kind}|g", sequence)
        for name, kind, sequence in entries
        if name != "sp"
    ]
    if not written:
        return
    read = read_fasta(write_fasta(place / "b.fasta", written), labelled=True)
    kinds = [kind for name, kind, _ in entries if name != "sp"]
    assert [CLASSES[record.label] for record in read] == kinds
    assert [parse_label(str(record.label)) for record in read] == [r.label for r in read]
    assert [header_class(record.header)[1] for record in read] == kinds
    assert len({record.id for record in read}) == len(read)


@FEW
@given(
    st.sampled_from([*CLASSES, *SYNONYMS]),
    st.sampled_from([str.upper, str.title, str.lower, lambda name: name + "s"]),
    st.sampled_from([" ", "_", "-", "/", "  "]),
)
def test_a_class_is_known_however_it_is_spelt(name, spell, between):
    wanted = CLASSES.index(SYNONYMS.get(name, name))
    spelt = spell(between.join(name.replace("_", " ").replace("-", " ").split()))
    assert class_index(spelt) == class_index(f" {spelt} ") == wanted


EDIT = st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=6) | st.none())


@pytest.mark.parametrize("name", PARSERS)
@settings(FEW, max_examples=100)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_read_or_refused(name, data):
    """Bytes of no kind, and whole files with pieces cut out, replaced by others, or put in."""
    parser = PARSERS[name]
    content = data.draw(st.binary(max_size=60) | st.sampled_from(parser.examples))
    for place, length, new in data.draw(st.lists(EDIT, max_size=4)):
        start = int(place * len(content))
        word = data.draw(st.sampled_from(parser.words)) if new is None else new
        content = content[:start] + word + content[start + length :]
    with suppress(UserError):
        parser.read(content)


IDS = ["SEQ0", "s,1", 'ant"x"', "β"]
ROW = st.tuples(st.sampled_from([*IDS, "SEQ9", "seq0", ""]), st.sampled_from(["0", "14", "7"]))
ODD = st.tuples(st.sampled_from(IDS), st.sampled_from(["15", "-1", "3.0", " 3", "", "quinolone"]))
WHOLE = st.permutations([(name, "3") for name in IDS])


@FEW
@given(WHOLE | st.lists(ROW | ODD, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example([(name, "14") for name in IDS], "\n", True)
def test_a_submission_passes_if_and_only_if_it_is_valid(place, rows, end, quoted):
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else 0)
    table.writerows([("id", "label"), *rows])
    (place / "s.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    names, labels = [name for name, _ in rows], {label for _, label in rows}
    valid = sorted(names) == sorted(IDS) and labels <= {str(i) for i in range(15)}
    try:
        check_submission(place / "s.csv", IDS)
    except UserError:
        assert not valid
    else:
        assert valid


@FEW
@given(st.lists(WORD, min_size=1, unique=True), st.data())
def test_a_submission_is_what_another_reader_of_csv_reads(place, names, data):
    labels = data.draw(st.lists(st.integers(0, 14), min_size=len(names), max_size=len(names)))
    path = write_submission(names, labels, place / "w.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert frame["id"].tolist() == names
    assert frame["label"].tolist() == [str(label) for label in labels]
    assert read_key(path, names).tolist() == labels


@FEW
@given(st.lists(st.text("ab#2", max_size=4)))
def test_unique_ids_are_unique_and_keep_the_first(names):
    ids = unique_ids(names)
    assert len(set(ids)) == len(ids) == len(names)
    for name in set(names):
        assert ids[names.index(name)] == name


@FEW
@given(st.lists(st.integers(0, 14)), st.integers(0, 5), st.integers(0, 9))
def test_a_cap_per_class_leaves_as_many_as_it_says(labels, most, seed):
    chosen = cap_per_class(np.array(labels, np.int64), most, seed)
    assert sorted(set(chosen.tolist())) == chosen.tolist()
    counts = np.bincount(np.array(labels, np.int64), minlength=15)
    left = np.bincount(np.array(labels, np.int64)[chosen], minlength=15)
    assert left.tolist() == np.minimum(counts, most).tolist()


LENGTHS = st.lists(st.integers(1, 1100), max_size=60)


@FEW
@given(LENGTHS, st.integers(1, 3000), st.integers(0, 9))
def test_batches_hold_each_sequence_once_within_the_budget(lengths, budget, seed):
    for batches in (
        list(token_batches(lengths, budget)),
        list(shuffled_batches(lengths, budget, np.random.default_rng(seed))),
    ):
        places = [int(place) for batch in batches for place in batch]
        assert sorted(places) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or sum(lengths[place] for place in batch) <= budget


PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}


@FEW
@given(st.sampled_from(list(PACK)), st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_any_members_of_a_compressed_file_come_out_as_they_went_in(place, kind, members):
    (place / "packed").write_bytes(b"".join(map(PACK[kind], members)))
    whole = b">s" + b"".join(members)  # ">" and a zero would be UTF-16
    (place / "packed").write_bytes(PACK[kind](b">s") + (place / "packed").read_bytes())
    with open_source(place / "packed") as handle:
        assert handle.read() == whole


def scorer(sequences, progress):
    """A class by the residues alone."""
    p = np.zeros((len(sequences), len(CLASSES)))
    p[np.arange(len(sequences)), [sum(map(ord, s)) % 15 for s in sequences]] = 0.75
    progress(len(sequences))
    return Scores(p)


@FEW
@given(st.lists(SEQUENCE, min_size=1, max_size=12), st.integers(1, 5), st.randoms())
def test_order_company_and_blocks_change_no_answer(sequences, size, random):
    queries = [Query(str(i), sequence, "x") for i, sequence in enumerate(sequences)]
    shuffled = random.sample(queries, len(queries))
    model = Model("m", "d", 0.5, scorer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_module, "BLOCK_PROTEINS", size)
        parts = list(blocks(shuffled))
        assert [query for part in parts for query in part] == shuffled
        assert max(map(len, parts)) <= size
        together = pd.concat([model.rows(part)[0] for part in parts]).set_index("id")
    for query in queries:
        alone = model.rows([query])[0].set_index("id")
        pd.testing.assert_frame_equal(together.loc[[query.id]], alone)
