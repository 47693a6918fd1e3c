"""Inputs of every kind give the same proteins, and say what is wrong and where."""

import gzip
import io
import sys

import numpy as np
import pytest
import synthetic
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import BeforePosition, FeatureLocation, SeqFeature
from Bio.SeqRecord import SeqRecord

from arg_utils.errors import UserError
from arg_utils.prediction.reading import ReadingOptions, read_queries

rng = np.random.default_rng(7)
PROTEINS = [synthetic.protein(rng, 150) for _ in range(4)]
CONTIG = synthetic.assembly(rng, PROTEINS[:3])
TURNED = str(Seq(CONTIG).reverse_complement())  # its genes on the other strand


def genes(contig=CONTIG):
    """First and last base of each gene of `CONTIG`."""
    places, start = [], 75
    for protein in PROTEINS[:3]:
        places.append((start, start + 3 * len(protein) + 2))
        start = places[-1][1] + 75
    return places


def put(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(*inputs, **options):
    return list(read_queries(inputs, ReadingOptions(**options)))


def gff(rows, fasta=True):
    lines = ["##gff-version 3", "##sequence-region c 1 9", *("\t".join(row) for row in rows)]
    return "\n".join(lines) + (f"\n##FASTA\n>c words\n{CONTIG}\n>d\n{TURNED}\n" if fasta else "\n")


def row(contig, start, end, strand, attributes, kind="CDS", phase="0"):
    return (contig, "x", kind, str(start), str(end), ".", strand, phase, attributes)


def annotated():
    """Rows of the genes on both contigs, which are each other's reverse complement."""
    rows = [row("c", 1, len(CONTIG), "+", "ID=c", "region", ".")]
    for i, (start, end) in enumerate(genes()):
        rows.append(row("c", start, end, "+", f"ID=gene-{i};locus_tag=T_{i}", "gene", "."))
        rows.append(row("c", start, end, "+", f"ID=cds-{i};locus_tag=T_{i};product=a%3B"))
    for i, (start, end) in enumerate(genes()):
        first, last = len(CONTIG) + 1 - end, len(CONTIG) + 1 - start
        rows.append(row("d", first, last, "-", f"ID=PROKKA_{i}"))
    return rows


def test_proteins_carry_their_place_in_the_file(tmp_path):
    path = put(tmp_path, "a.faa", f"\n>p one\n{PROTEINS[0]}*\n>q\n{PROTEINS[1].lower()}\n")
    queries = read(path)
    assert [(q.id, q.sequence) for q in queries] == [("p", PROTEINS[0]), ("q", PROTEINS[1])]
    assert queries[1].where == f"{path}, line 4"
    assert (queries[0].contig, queries[0].flags) == (None, ())


@pytest.mark.filterwarnings("ignore:sequence should be")
def test_genes_are_called_in_either_mode_and_cut_ones_flagged(tmp_path):
    start, end = genes()[2]
    cut = CONTIG[: end - 60]
    path = put(tmp_path, "a.fna", f">c\n{cut}\n>d\n{TURNED}\n")
    queries = read(path, genome=True)
    assert [q.sequence for q in queries] == [*PROTEINS[:2], PROTEINS[2][:-19], *PROTEINS[2::-1]]
    last = queries[2]
    assert (last.id, last.contig, last.strand, last.start) == ("c_3", "c", "+", start)
    assert [q.flags for q in queries[1:3]] == [(), ("partial_gene",)]
    assert queries[3].strand == "-"
    closed = read(path, genome=True, closed=True)
    assert all(not q.flags for q in closed)
    with pytest.raises(UserError, match=r"single mode.*use metagenomic"):
        read(path, genome=True, mode="single")
    with pytest.raises(UserError, match="use single mode"):
        read(path, genome=True, genetic_code=4)
    long = "".join(synthetic.assembly(rng, PROTEINS) for _ in range(14))
    path = put(tmp_path, "b.fna", f">c\n{long}\n")
    single = read(path, genome=True, mode="single", genetic_code=11)
    assert set(PROTEINS) & {q.sequence for q in single}


def test_gff3_with_its_contigs_inside_or_beside(tmp_path):
    inside = read(put(tmp_path, "a.gff", gff(annotated())))
    assert [q.sequence for q in inside] == [*PROTEINS[:3], *PROTEINS[:3]]
    assert [q.id for q in inside][2:4] == ["T_2", "PROKKA_0"]
    assert (inside[1].contig, inside[1].start, inside[1].end) == ("c", *genes()[1])
    assert (inside[3].strand, inside[3].flags) == ("-", ())
    beside = put(tmp_path, "b.gff", gff(annotated(), fasta=False))
    contigs = put(tmp_path, "b.fna.gz", gzip.compress(f">c\n{CONTIG}\n>d\n{TURNED}\n".encode()))
    assert [q.sequence for q in read(contigs, gff=beside)] == [q.sequence for q in inside]
    with pytest.raises(UserError, match="no section ##FASTA; give its contigs"):
        read(beside)
    with pytest.raises(UserError, match="goes with one FASTA file, not 2"):
        read(contigs, contigs, gff=beside)


def test_gff3_partial_pseudo_and_joined_genes(tmp_path):
    start, end = genes()[0]
    middle = start + 3 * 50
    rows = [
        row("c", start, middle - 1, "+", "ID=joined"),
        row("c", middle, end, "+", "ID=joined"),
        row("c", start + 1, end, "+", "ID=phased;partial=true", phase="2"),
        row("c", start, end, "+", "ID=dead;pseudo=true"),
        row("c", start, end, "+", "ID=named;start_range=.,75"),
        row("d", len(CONTIG) + 1 - end, len(CONTIG) - start - 149, "-", "ID=turned"),
        row("d", len(CONTIG) - start - 148, len(CONTIG) + 1 - start, "-", "ID=turned"),
    ]
    queries = {q.id: q for q in read(put(tmp_path, "a.gff", gff(rows)))}
    assert list(queries) == ["joined", "phased", "named", "turned"]
    assert queries["joined"].sequence == queries["turned"].sequence == PROTEINS[0]
    assert queries["phased"].sequence == PROTEINS[0][1:]
    assert (queries["phased"].start, queries["phased"].end) == (start + 3, end)
    assert [q.flags for q in queries.values()] == [(), ("partial_gene",), ("partial_gene",), ()]


@pytest.mark.parametrize("fault", [{"phase": "7"}, {"strand": "-"}, {"start": "x"}])
@pytest.mark.parametrize("place", [0, 1])
def test_a_gene_with_a_bad_row_is_left_out_whole(tmp_path, fault, place):
    start, end = genes()[0]
    middle = start + 3 * 50
    parts = [{"start": start, "end": middle - 1}, {"start": middle, "end": end}]
    parts[place] |= fault
    rows = [row(**{"contig": "c", "strand": "+", "attributes": "ID=g"} | p) for p in parts]
    whole = row("c", *genes()[1], "+", "ID=whole")
    said = []
    queries = read(put(tmp_path, "a.gff", gff([*rows, whole])), skip_bad=said.append)
    assert [q.id for q in queries] == ["whole"]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("attributes", "flags"),
    [
        ("partial=00", ()), ("partial=0", ()), ("partial=FALSE", ()),
        ("partial=10", ("partial_gene",)), ("partial=01", ("partial_gene",)),
    ],
)  # fmt: skip
def test_prodigal_says_with_digits_which_ends_are_cut(tmp_path, attributes, flags):
    path = put(tmp_path, "a.gff", gff([row("c", *genes()[0], "+", f"ID=g;{attributes}")]))
    assert [q.flags for q in read(path)] == [flags]


@pytest.mark.parametrize(
    ("strand", "attributes", "phase", "first"),
    [
        ("+", "ID=g", "0", "M"),
        ("+", "ID=g;partial=true;start_range=.,75", "0", "I"),
        ("+", "ID=g;partial=10", "0", "I"),
        ("+", "ID=g;partial=true;end_range=527,.", "0", "M"),
        ("-", "ID=g;partial=true;end_range=527,.", "0", "I"),
        ("-", "ID=g;partial=10", "0", "M"),
        ("+", "ID=g;partial=true", "2", "I"),
    ],
)
def test_only_a_whole_gene_begins_with_a_start(tmp_path, strand, attributes, phase, first):
    """ATT is one of bacteria's start codons, and else isoleucine."""
    bases = "AA" * (phase == "2") + "ATT" + "GCT" * 60 + "TAA"
    contig = "ACGTC" * 5 + (bases if strand == "+" else str(Seq(bases).reverse_complement()))
    gene = row("c", 26, 25 + len(bases), strand, attributes, phase=phase)
    text = gff([gene], fasta=False) + f"##FASTA\n>c\n{contig}ACGTCACGTC\n"
    (query,) = read(put(tmp_path, "a.gff", text))
    assert query.sequence == first + "A" * 60


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("code", [27, 28, 31])
def test_a_stop_that_is_one_at_the_end_alone(tmp_path, code):
    bases = "ATG" + "GCT" * 60 + "TGA" * (code != 31) + "TAA" * (code == 31)
    gene = gff([row("c", 4, 3 + len(bases), "+", "ID=g")], fasta=False)
    path = put(tmp_path, "a.gff", f"{gene}##FASTA\n>c\nACG{bases}ACG\n")
    assert [q.sequence for q in read(path, genetic_code=code)] == ["M" + "A" * 60]


def test_a_contig_may_have_a_percent_sign_in_its_name(tmp_path):
    gene = gff([row("a%20b", *genes()[0], "+", "ID=g")], fasta=False)
    path = put(tmp_path, "a.gff", f"{gene}##FASTA\n>a%20b\n{CONTIG}\n")
    assert [q.sequence for q in read(path)] == [PROTEINS[0]]


def test_genes_that_share_a_locus_tag_get_the_next_best_name(tmp_path):
    rows = [row("c", *genes()[i], "+", f"ID=cds-{i};locus_tag=T") for i in range(3)]
    path = put(tmp_path, "a.gff", gff(rows))
    assert [q.id for q in read(path)] == ["T", "cds-1", "cds-2"]
    text = genbank(tmp_path).read_text().replace('/protein_id="P.1"', '/locus_tag="G_1"')
    assert [q.id for q in read(put(tmp_path, "b.gb", text))] == [
        "G_1",
        f"c.1_CDS_{genes()[1][0]}",
        "G_2",
    ]


def test_a_genbank_contig_may_come_once(tmp_path):
    text = genbank(tmp_path).read_text()
    path = put(tmp_path, "b.gb", text + text.replace("G_", "H_").replace("P.1", "P.2"))
    with pytest.raises(UserError, match=r"the contig 'c\.1' comes a second time; make LOCUS"):
        read(path)
    said = []
    assert len(read(path, skip_bad=said.append)) == 3
    assert len(said) == 1
    text = text.replace("VERSION     c.1", "VERSION     .")
    other = text.replace("LOCUS       c ", "LOCUS       d ").replace("G_", "H_")
    path = put(tmp_path, "c.gb", text + other.replace("P.1", "P.2"))
    assert {q.contig for q in read(path)} == {"c", "d"}


def test_no_gene_runs_into_unknown_bases(tmp_path):
    start, end = genes()[0]
    gene = "N" * 500 + CONTIG[start - 60 : end + 60] + "N" * 500
    path = put(tmp_path, "a.fna", f">c\n{gene}\n>n\n{'N' * 5000}\n")
    assert [q.sequence for q in read(path, genome=True)] == [PROTEINS[0]]


def test_gff3_across_the_origin_of_a_circular_contig(tmp_path):
    start, end = genes()[0]
    turned = CONTIG[start + 99 :] + CONTIG[: start + 99]  # the gene begins before the end
    first = len(CONTIG) - 99
    rows = [row("c", first, first + end - start, "+", "ID=g")]
    text = gff([row("c", 1, len(CONTIG), "+", "Is_circular=true", "region"), *rows], fasta=False)
    path = put(tmp_path, "a.gff", text + f"##FASTA\n>c\n{turned}\n")
    assert [q.sequence for q in read(path)] == [PROTEINS[0]]
    linear = put(tmp_path, "b.gff", gff(rows, fasta=False) + f"##FASTA\n>c\n{turned}\n")
    with pytest.raises(UserError, match=r"line 3: .*goes beyond the"):
        read(linear)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("c", "x", "CDS", "1"), "4 columns"),
        (row("c", 90, 80, "+", "ID=g"), "no place"),
        (row("c", 75, 530, ".", "ID=g"), "the strand is '.'"),
        (row("e", 75, 530, "+", "ID=g"), "no contig 'e'"),
        (row("c", 76, 530, "+", "ID=g"), "stop inside"),
        (row("c", 75, 530, "+", "ID=g;transl_table=99"), "no genetic code '99'"),
        (row("c", 75, 530, "+", "ID=g;transl_table=" + "9" * 5000), "no genetic code '99"),
        (row("c", 75, "9" * 5000, "+", "ID=g"), "no place"),
        (row("c", *genes()[0], "+", "ID=a%0Ab"), r"the id 'a\\nb' .* control character"),
    ],
)
def test_a_bad_gff3_row_is_named_or_left_out(tmp_path, fault, words):
    good = row("c", *genes()[1], "+", "ID=good")
    path = put(tmp_path, "a.gff", gff([fault, good]))
    with pytest.raises(UserError, match=f"line 3: .*{words}"):
        read(path)
    told = []
    assert [q.id for q in read(path, skip_bad=told.append)] == ["good"]
    assert len(told) == 1


def test_letters_on_a_contig_that_are_no_bases(tmp_path):
    start, end = genes()[0]
    for letter, words in [("β", "letters of 'c' are no bases"), ("?", "cannot be translated")]:
        contig = CONTIG[: start + 9] + letter + CONTIG[start + 10 :]
        text = gff([row("c", start, end, "+", "ID=g")], fasta=False)
        with pytest.raises(UserError, match=f"line 3: {words}"):
            read(put(tmp_path, "a.gff", text + f"##FASTA\n>c\n{contig}\n"))


def test_selenocysteine_is_no_stop(tmp_path):
    (start, end), codon = genes()[0], 10
    place = start - 1 + 3 * codon
    contig = CONTIG[:place] + "TGA" + CONTIG[place + 3 :]
    rows = [row("c", start, end, "+", "ID=g;transl_except=(pos:1..3%2Caa:Sec)")]
    path = put(tmp_path, "a.gff", gff(rows, fasta=False) + f"##FASTA\n>c\n{contig}\n")
    assert read(path)[0].sequence == PROTEINS[0][:codon] + "X" + PROTEINS[0][codon + 1 :]


def genbank(tmp_path):
    record = SeqRecord(Seq(CONTIG), "c.1", "c", annotations={"molecule_type": "DNA"})
    (a, b), (c, d), (e, f) = genes()
    given = {"locus_tag": ["G_1"], "translation": ["MAAAJ"]}
    for place, words in [
        (FeatureLocation(a - 1, b, 1), {"protein_id": ["P.1"], "transl_table": ["11"]}),
        (FeatureLocation(c - 1, d, -1), given),
        (FeatureLocation(BeforePosition(e + 1), f, 1), {"locus_tag": ["G_2"], "codon_start": [2]}),
        (FeatureLocation(e - 1, f, 1), {"locus_tag": ["dead"], "pseudo": [""]}),
    ]:
        record.features.append(SeqFeature(place, "CDS", qualifiers=words))
    path = tmp_path / "a.gbff"
    SeqIO.write([record], path, "genbank")
    return path


def test_genbank_uses_the_translation_or_the_contig(tmp_path):
    queries = read(str(genbank(tmp_path)))
    assert [q.id for q in queries] == ["P.1", "G_1", "G_2"]
    assert [q.sequence for q in queries] == [PROTEINS[0], "MAAAX", PROTEINS[2][1:]]
    assert [q.flags for q in queries] == [(), (), ("partial_gene",)]
    assert (queries[1].contig, queries[1].start, queries[1].strand) == ("c.1", genes()[1][0], "-")


def test_annotated_genes_are_not_called_and_options_of_calling_are_refused(tmp_path):
    path = str(genbank(tmp_path))
    assert len(read(path, genome=True)) == 3
    for options in ({"closed": True}, {"mode": "single"}, {"mode": "meta"}):
        with pytest.raises(UserError, match=r"a\.gbff has annotated genes, .*; leave these out"):
            read(path, genome=True, **options)


def test_contigs_without_an_annotated_gene_are_told(tmp_path, capsys):
    read(str(genbank(tmp_path)))
    read(put(tmp_path, "a.gff", gff(annotated())))
    assert capsys.readouterr().err == ""
    on_one = [fields for fields in annotated() if fields[0] == "c"]
    read(put(tmp_path, "a.gff", gff(on_one)))
    assert "a.gff: 1 contig without a CDS passed over (first: d)" in capsys.readouterr().err
    other = SeqRecord(Seq(CONTIG), "e.1", "e", annotations={"molecule_type": "DNA"})
    records = [*SeqIO.parse(genbank(tmp_path), "genbank"), other]
    SeqIO.write(records, tmp_path / "b.gbff", "genbank")
    assert len(read(str(tmp_path / "b.gbff"))) == 3
    assert "b.gbff: 1 contig without a CDS passed over (first: e.1)" in capsys.readouterr().err


def test_a_genbank_file_cut_off_is_named(tmp_path):
    path = genbank(tmp_path)
    text = path.read_text()
    for end in (300, text.index("ORIGIN"), text.index("ORIGIN") + 200, len(text) - 30):
        with pytest.raises(UserError, match="no whole GenBank file"):
            read(put(tmp_path, "b.gb", text[:end]))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("75..527", "X:75..527", r"P\.1 of c\.1: its place, X"),
        ("75..527", "75..", r"P\.1 of c\.1: its place, None"),
        ("75..527", "join(J1.1:5..22,75..527)", r"P\.1 of c\.1: its place, .*cannot be read"),
        (
            "/codon_start=2",
            "/codon_start=4",
            r"G_2 of .*codon_start, 4, cannot be read; mend",
        ),
        ("/protein_id", "x\n                     /protein_id", "no whole GenBank file"),
    ],
)
@pytest.mark.filterwarnings("ignore::Bio.BiopythonParserWarning")
def test_damage_in_a_genbank_file_is_named(tmp_path, old, new, words):
    text = genbank(tmp_path).read_text()
    assert old in text
    with pytest.raises(UserError, match=words):
        read(put(tmp_path, "b.gb", text.replace(old, new, 1)))


def test_several_files_and_folders_prefix_their_ids(tmp_path):
    first = put(tmp_path, "one.faa.gz", gzip.compress(b">p\nMK\n"))
    second = put(tmp_path, "two.v1.faa", ">p\nMA\n")
    put(tmp_path, "notes.txt", "x")
    expected = [("one:p", "MK"), ("two.v1:p", "MA")]
    assert [(q.id, q.sequence) for q in read(first, second)] == expected
    assert [q.file for q in read(first, second)] == [first, second]
    assert [(q.id, q.sequence) for q in read(str(tmp_path))] == expected
    assert [q.id for q in read(first)] == ["p"]
    with pytest.raises(UserError, match=r"same ids \(one:.*rename"):
        read(first, first)
    with pytest.raises(UserError, match="begin with the file's name 'a:b', which holds ':'"):
        read(first, put(tmp_path, "a:b.faa", ">c\nMK\n"))


def test_a_folder_says_what_it_reads_or_lacks(tmp_path, capsys):
    put(tmp_path, "b.faa", ">p\nMK\n")
    put(tmp_path, "a.fasta", ">p\nMK\n")
    put(tmp_path, "c.fna", ">c\nACGT\n")
    read(str(tmp_path))
    assert "a.fasta, b.faa\n" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no file ending in .*\.fna"):
        read(str(tmp_path / "empty"), genome=True)


def test_an_id_may_come_once_in_a_file(tmp_path):
    path = put(tmp_path, "a.faa", ">p one\nMK\n>p two\nMA\n>q\nMC\n")
    with pytest.raises(UserError, match=r"line 3: the id 'p' .* time \(first: line 1\)"):
        read(path)
    told = []
    assert [q.id for q in read(path, skip_bad=told.append)] == ["p", "q"]
    assert len(told) == 1


def test_contigs_given_as_proteins_and_proteins_as_contigs(tmp_path):
    path = put(tmp_path, "a.fa", f">p\n{PROTEINS[0]}\n>c\n{CONTIG}\n")
    with pytest.raises(UserError, match=r"line 3: 'c' looks like DNA among proteins.*--genome"):
        read(path)
    with pytest.raises(UserError, match=r"line 2: .* is not a base"):
        read(path, genome=True)
    told = []
    assert len(read(path, genome=True, skip_bad=told.append)) == 3
    with pytest.raises(UserError, match="'c' is RNA"):
        read(put(tmp_path, "b.fa", f">c\n{CONTIG.replace('T', 'U')}\n"), genome=True)


def test_reading_is_lazy(tmp_path):
    path = put(tmp_path, "a.faa", ">p\nMK\n>q\nMA\n>bad\nM1\n")
    stream = read_queries([path])
    assert [next(stream).id, next(stream).id] == ["p", "q"]
    with pytest.raises(UserError, match="line 6"):
        next(stream)


@pytest.mark.parametrize("content", [b">a\nMKV1\n", b"", b"PK\x03\x04", b"##gff-version 3\nx\n"])
def test_standard_input_is_called_so(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(UserError, match=r"^standard input"):
        read("-")
