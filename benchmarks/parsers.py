"""What reads files of users, each with examples to start malformed input from (`benchmarks.fuzz`).

A reader may return, or raise `UserError`: anything else is a fault of the library.
"""

import bz2
import gzip
import io
import lzma
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import BeforePosition, FeatureLocation, SeqFeature
from Bio.SeqRecord import SeqRecord
from safetensors.torch import save

from arg_utils.data.fasta import iterate_fasta
from arg_utils.data.sources import open_source, zstd
from arg_utils.data.submission import check_submission, read_key
from arg_utils.esm2.weights import read_weights
from arg_utils.prediction.annotations import read_genbank, read_gff

IDS = ["SEQ0", "aac(6')-Ib", 'a,"b"', "β"]
MOST = 1 << 20  # bytes unpacked of one input: a few hundred can hold gigabytes


@dataclass(frozen=True)
class Parser:
    """How bytes are read; whole examples; and words that mean something to it."""

    read: Callable[[bytes], object]
    examples: tuple[bytes, ...]
    words: tuple[bytes, ...]


def on_disk(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of bytes out of one of files."""
    folder = tempfile.TemporaryDirectory(prefix="arg-malformed-")

    def from_bytes(content: bytes) -> object:
        path = Path(folder.name, "input")
        path.write_bytes(content)
        return read(path)

    return from_bytes


def unpack(path: Path) -> bytes:
    """What a compressed file holds, up to `MOST` bytes."""
    with open_source(path) as handle:
        return handle.read(MOST)


def proteins(labelled: bool) -> Callable[[bytes], object]:
    """A reader of protein FASTA."""
    return lambda content: list(iterate_fasta(io.BytesIO(content), "x", labelled))


def annotated(kind: Callable[..., object]) -> Callable[[bytes], object]:
    """A reader of an annotated genome."""
    return lambda content: list(kind(io.BytesIO(content), "x", 11, None))  # type: ignore[call-overload]


def genbank() -> bytes:
    """A contig with genes on both strands, one of them without its beginning."""
    record = SeqRecord(Seq("ATGAAACGTTAA" * 6), "c.1", "c", annotations={"molecule_type": "DNA"})
    for place, words in [
        (FeatureLocation(0, 12, 1), {"protein_id": ["P.1"], "transl_table": ["11"]}),
        (FeatureLocation(12, 24, -1), {"locus_tag": ["G"], "translation": ["MAAAJ"]}),
        (FeatureLocation(BeforePosition(1), 12, 1), {"locus_tag": ["H"], "codon_start": [2]}),
        (FeatureLocation(24, 36, 1), {"locus_tag": ["dead"], "pseudo": [""]}),
    ]:
        record.features.append(SeqFeature(place, "CDS", qualifiers=words))
    text = io.StringIO()
    SeqIO.write([record], text, "genbank")
    return text.getvalue().encode()


PROTEINS = (
    b">SEQ0 words\nMKV\nLAWHT*\n>SEQ1\r\nmkvlx\r\n",
    b"\xef\xbb\xbf>a\x01b c\nMKVJ.\n>c\nMBZUO\n",
    b">d\n" + b"ACGTN" * 20 + b"\n",
)
LABELLED = (
    b">A0A0E1JG76|FEATURES|UNIPROT|polymyxin|arnC\nMKV\n>sp|P07389|X_ECOLI words\nMA\n",
    b">B|F|x|Beta-lactams|TEM-1|more|0\nMKV\n>sp|P1|x|nonarg\nMC\n",
)
GFF = (
    b"##gff-version 3\nc\tx\tregion\t1\t72\t.\t+\t.\tIs_circular=true\n"
    b"c\tx\tCDS\t1\t12\t.\t+\t0\tID=a;locus_tag=T%3B1\nc\tx\tCDS\t13\t24\t.\t-\t1\tID=b;partial=true\n"
    b"c\tx\tCDS\t61\t84\t.\t+\t0\tID=c;transl_table=11;transl_except=(pos:1..3%2Caa:Sec)\n"
    b"##FASTA\n>c\n" + b"ATGAAACGTTAA" * 6 + b"\n",
)
ANSWERS = (
    'id,label\nSEQ0,0\naac(6\')-Ib,14\n"a,""b""",3\nβ,11\n'.encode(),
    'id,label\r\nβ,1\r\n"a,""b""",3\r\nSEQ0,0\r\naac(6\')-Ib,14'.encode(),
)
KEYS = (*ANSWERS, "\ufeffn,label,id\n0,Beta-lactams,SEQ0\n1,14,β\n".encode())


def pickled() -> bytes:
    """A small table of tensors as ``torch.save`` writes it."""
    buffer = io.BytesIO()
    torch.save({"model": {"embed_tokens.weight": torch.zeros(2, 2)}}, buffer)
    return buffer.getvalue()


PACKED = tuple(
    pack(PROTEINS[0]) * times
    for pack in (gzip.compress, bz2.compress, lzma.compress, zstd.compress)
    for times in (1, 2)
)
TENSORS = (save({"esm.encoder.layer.0.output.dense.bias": torch.zeros(4)}), pickled())
LINES = (b"\n", b"\r", b">", b" ", b"\t", b"\xef\xbb\xbf", b"\xff", b"\0")
PLACES = (b"..", b"join(", b"complement(", b"order(", b"<", b">", b"X:1..5", b"9" * 5000)
GENES = (b"CDS", b"codon_start=4", b"transl_table=", b"pseudo", b"\xc2\xb2", b"//")
TABLE = (b",", b'"', b'""', b"\r\n", b"\n", b"id", b"label", b"14", b"15", b"1.0", b"SEQ0")

PARSERS = {
    "protein FASTA": Parser(proteins(False), PROTEINS, (*LINES, b"*", b".", b"-", b"J")),
    "labelled FASTA": Parser(proteins(True), LABELLED, (*LINES, b"|", b"sp|", b"nonarg", b"1")),
    "GFF3": Parser(annotated(read_gff), GFF, (*LINES, *PLACES, *GENES, b"=", b";", b"##FASTA")),
    "GenBank": Parser(annotated(read_genbank), (genbank(),), (*LINES, *PLACES, *GENES, b'/"')),
    "compressed files": Parser(on_disk(unpack), PACKED, (b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0")),
    "submission": Parser(on_disk(lambda p: check_submission(p, IDS)), ANSWERS, TABLE),
    "answer key": Parser(on_disk(lambda p: read_key(p, IDS)), KEYS, (*TABLE, b"MLS")),
    "weights": Parser(on_disk(read_weights), TENSORS, (b"data_offsets", b"F32", b"shape")),
}
