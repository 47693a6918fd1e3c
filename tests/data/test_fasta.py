import gzip
import io
import re

import pytest

from arg_utils.data.fasta import iterate_fasta, read_fasta, write_fasta
from arg_utils.data.proteins import Record, unique_ids
from arg_utils.data.sources import open_source
from arg_utils.errors import UserError
from arg_utils.labels import INDEX, NONARG


def put(tmp_path, content, name="x.fasta"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_reads_every_kind_of_labelled_header(tmp_path):
    path = put(
        tmp_path,
        ">A0A0E1JG76|FEATURES|UNIPROT|polymyxin|arnC\nMKV\nLA\n"
        ">ACN58946.1|FEATURES|NCBI|macrolide-lincosamide-streptogramin|macB|any words|0\nMA\n"
        ">sp|P07389|NAME_ECOLI Some protein\nMG\n",
    )
    records = read_fasta(path, labelled=True)
    assert [(r.id, r.sequence, r.label) for r in records] == [
        ("A0A0E1JG76", "MKVLA", INDEX["polymyxin"]),
        ("ACN58946.1", "MA", INDEX["macrolide-lincosamide-streptogramin"]),
        ("P07389", "MG", NONARG),
    ]
    assert records[2].header == "sp|P07389|NAME_ECOLI Some protein"


@pytest.mark.parametrize(
    ("content", "records"),
    [
        ("> SEQ0 words|here\nMKV\n>sp|P1|x\nMA\n", {"SEQ0": "MKV", "sp|P1|x": "MA"}),
        ("\ufeff\r\n>s\r\nmk v\r\n\r\n  jlUOBZX\tA* \r\n>t\nmma", {"s": "MKVXLUOBZXA", "t": "MMA"}),
        (">s one\x01t two\nMKV\n", {"s": "MKV"}),  # NCBI joins the headers of equal proteins so
    ],
)  # fmt: skip
def test_reads_what_users_have(tmp_path, content, records):
    read = read_fasta(put(tmp_path, content), labelled=False)
    assert {record.id: record.sequence for record in read} == records
    assert {record.label for record in read} == {None}


def test_repeated_accessions_get_ids_of_their_own(tmp_path):
    path = put(tmp_path, ">sp|P1|a\nMK\n>sp|P1|b\nMA\n>sp|P1#2|c\nMC\n")
    assert [r.id for r in read_fasta(path, labelled=True)] == ["P1", "P1#3", "P1#2"]
    assert unique_ids(["a", "a", "b", "a"]) == ["a", "a#2", "b", "a#3"]


def test_streams_one_record_at_a_time_with_its_line(tmp_path):
    with open_source(put(tmp_path, ">a\nMK\n>b\nMA\n>bad\nM1\n")) as handle:
        stream = iterate_fasta(handle, "these")
        assert [(record.id, record.line) for record in (next(stream), next(stream))] == [
            ("a", 1),
            ("b", 3),
        ]
        with pytest.raises(UserError, match=r"^these, line 6"):
            next(stream)


def test_what_is_no_file_on_disk_is_streamed_too():
    content = b">a\nMK\n>a\nMA\n"
    assert len(list(iterate_fasta(io.BytesIO(content), "-", unique=False))) == 2
    with pytest.raises(UserError, match=r"^-, line 3.*second time"):
        list(iterate_fasta(io.BytesIO(content), "-"))


def test_bad_records_are_told_and_left_out(tmp_path):
    content = b">a\nMK\n>\nMA\n>b\nM1\n>c \xe9\nMA\n>d\nMC\n>a\nMF\n>e\n" + b"ACGT" * 20
    told: list[str] = []
    with open_source(put(tmp_path, content)) as handle:
        records = list(iterate_fasta(handle, "x", skip_bad=told.append))
    assert [record.id for record in records] == ["a", "d"]
    lines = [int(re.search("line ([0-9]+)", fault)[1]) for fault in told]
    assert lines == [3, 6, 7, 11, 13]
    assert "DNA among proteins" in told[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n\nid,label\n", "line 3.*not FASTA"),
        (">s\nMA\n>t\n\n", "line 3.*'t' has no sequence"),
        (">s\n*\n", "line 1.*no sequence"),
        (
            ">E one\nMA\n>E two\nMC\n",
            "line 3.*'E' .*first word.* second time: 'E one' on line 1, 'E two",
        ),
        (">s\nMK\nM@V\n", "line 3.*'@' is not a residue"),
        (">s\nMKßV\n", "line 2.*'ß' is not a residue"),
        (">s\nMK\n\nM-V\n", "line 4.*gap.*alignment.*remove the gaps"),
        (">s\nMA\nM.V.\n", r"line 3: '\.' \(stop\) inside.*cut.*gaps"),
        (">a\n" + "acgu" * 8 + "\n>b\n" + "acgu" * 8 + "\n", "line 3.*looks like RNA"),
        (b">s\nMA\n>t \xe9\nMA\n", "line 3.*not UTF-8"),
        (b">s\nM\0A\n", "line 2.*binary"),
        (">s\x07x words\nMA\n", r"line 1: the id 's\\x07x' holds the control .*'\\x07'; remove"),
        (gzip.compress(b">s\nMKV\n")[:-8] + b"\0" * 8, "damaged .*gzip.*CRC"),
    ],
)
def test_refuses_what_is_no_protein_file(tmp_path, content, words):
    """Beside the rows of docs/bad-input.md."""
    path = put(tmp_path, content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}.*{words}.*[.]$"):
        read_fasta(path, labelled=False)


@pytest.mark.parametrize(
    "sequence",
    [
        "ACGTN" * 11 + "ACGT",  # 59: too short to tell
        "N" * 70,
        "AAT" * 30,  # antifreeze
        "GAGAGSGAGAGSGAGAGY" * 5,  # silk: letters of bases alone, but too few sure ones
        "CGT" * 50 + "E" + "ACG" * 50,
    ],
)
def test_a_protein_that_could_almost_be_dna_is_read(tmp_path, sequence):
    assert read_fasta(put(tmp_path, f">s\n{sequence}\n"), False)[0].sequence == sequence


@pytest.mark.parametrize("name", ["aac(6')-Ib", "s,1", 'ant"x"', "s\xa01", "β-1", "a;b"])
def test_any_word_is_an_id(tmp_path, name):
    path = put(tmp_path, f">{name} aph(3'')-Ib\tmore\nMKV\n")
    assert read_fasta(path, False)[0].id == name


def test_the_index_of_a_class_is_no_class_in_a_header(tmp_path):
    path = put(tmp_path, ">sp|P1|x\nMA\n>A|FEATURES|NCBI|11|x\nMA\n>B|F|x|Phenicols\nMA\n")
    words = "line 3: 1 header without a known class.*'11'.*use aminoglycoside"
    with pytest.raises(UserError, match=words):
        read_fasta(path, labelled=True)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"absent\.fasta cannot be read.*No such file"):
        read_fasta(tmp_path / "absent.fasta", False)
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        read_fasta(tmp_path, False)


def test_what_is_written_is_read_again(tmp_path):
    records = [Record("A1", "A1|FEATURES|x|bacitracin|b", "MKV", INDEX["bacitracin"])]
    path = write_fasta(tmp_path / "new" / "y.fasta", records)
    assert path.read_bytes() == b">A1|FEATURES|x|bacitracin|b\nMKV\n"
    assert read_fasta(path, labelled=True) == records
