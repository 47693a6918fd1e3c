"""docs/bad-input.md, row by row: what is given, what becomes of it, and what is said.

A row of the page is a case here, under the same words. Of what is refused the page has the
sentence; of what is accepted, how it is read. Files are called FILE there, folders FOLDER.
"""

import bz2
import gzip
import lzma
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import workspaces

from arg_utils.__main__ import main
from arg_utils.data.fasta import read_fasta
from arg_utils.esm2 import weights as weights_module
from arg_utils.files import ROOT
from arg_utils.labels import CLASSES
from arg_utils.prediction.reading import read_queries

PAGE = ROOT / "docs" / "bad-input.md"
DNA = "ATGGCTAACTACGGTCGTAAGCTTGACCTG" * 3


@dataclass
class Bench:
    """A data folder and a run fitted on it that needs no backbone, to try inputs on."""

    folder: Path
    run: Path
    data: Path
    capsys: pytest.CaptureFixture
    patch: pytest.MonkeyPatch
    names: dict[str, str] = field(default_factory=dict)  # a path, and what the page calls it

    def call(self, *arguments: object) -> tuple[str, str]:
        """What becomes of a command, and what it says beyond its results."""
        self.capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, said = self.capsys.readouterr()
        if code == 2:
            assert said.startswith("error: ")
            assert (said.count("\n"), out) == (1, "")
            return "refused", self.shown(said.removeprefix("error: "))
        assert code == 0, said
        notes = re.findall("note: .*", out + said)
        changed = any(" was read as " in note for note in notes)
        return "repaired" if changed else "accepted", self.shown(" ".join(notes))

    def shown(self, text: str) -> str:
        """A text with the names that the page gives to this test's folders."""
        for path, name in {**self.names, str(self.folder): "FOLDER"}.items():
            text = text.replace(path, name)
        return text.strip()

    def file(self, content: bytes | str, name: str = "in.faa") -> Path:
        """A file of this content, FILE to the page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.names[str(path)] = "FILE"
        return path


Case = Callable[[Bench], tuple[str, str]]
CASES: dict[str, Case] = {}


def add_case(kind: str) -> Callable[[Case], Case]:
    """A case of its own."""

    def add(function: Case) -> Case:
        assert kind not in CASES
        CASES[kind] = function
        return function

    return add


def outcome(bench: Bench, arguments: list[object], out: Path, read: Callable[[], str]):
    """Of a command that writes ``out``: nothing is left of it if it is refused."""
    what, said = bench.call(*arguments, "--out", out)
    assert out.exists() == (what != "refused")
    return what, said if what == "refused" else f"{read()} {said}".strip()


def short(text: str) -> str:
    return text if len(text) < 30 else f"{text[:12]}… ({len(text):,} residues)"


def proteins(kind: str, content: bytes | str, same: bool = True, only: str = "") -> None:
    """A protein FASTA file, for ``submit`` as test.fasta and for ``predict`` as it is."""

    def case(bench: Bench) -> tuple[str, str]:
        def read() -> str:
            found = [f"{q.id!r}: {short(q.sequence)}" for q in read_queries([str(path)])]
            return ", ".join(found[:2]) + (
                "" if len(found) < 3 else f", … ({len(found):,} proteins)"
            )

        results, out = {}, bench.folder / "out"
        for command in (only,) if only else ("predict", "submit"):
            if command == "predict":
                path = bench.file(content)
                arguments = ["predict", path, "--run", bench.run]
            else:
                path = bench.file(content, "test.fasta")
                arguments = ["submit", "--data", bench.folder, "--run", bench.run]
            results[command] = outcome(bench, arguments, out, read)
            out.unlink(missing_ok=True)
        first, *others = results.values()
        assert all(other == first for other in others), results
        return first

    add_case(kind)(case)


def labelled(kind: str, text: str, part: str = "train") -> None:
    """A labelled FASTA file: put before one of a whole data folder (+), or in its place."""

    def case(bench: Bench) -> tuple[str, str]:
        path = bench.data / f"{part}.fasta"
        first = path.with_name("train.fasta").read_text().split("\n")[1]
        new = text.replace("{train}", first)
        path.write_text(new.removeprefix("+") + (path.read_text() if new.startswith("+") else ""))
        bench.names[str(path)] = "FILE"
        before = f"\n{path.read_text()}".count("\n>")
        arguments = ["fit", "--data", bench.data, "--method", "majority"]

        def read() -> str:
            records = read_fasta(path, labelled=True)
            assert len(records) == before
            return f"{records[0].id!r}: {CLASSES[records[0].label or 0]}"

        return outcome(bench, arguments, bench.folder / "run-2", read)

    add_case(kind)(case)


proteins("CRLF, a byte order mark, blank lines", "\ufeff>s\r\n\r\nMKV\r\nLA\r\n")
proteins("old Mac line ends", ">s\rMKV\rLA\r")
proteins("no line end at the end", ">s\nMKV")
proteins("lower case; blanks inside", ">s\nmk vla\n")
proteins("a stop at the end (`*`, or `.` as gffread has it)", ">s\nMKV*\n>t\nMA.\n")
proteins("a stop inside", ">s\nMK*VLA\n")
proteins("a gap", ">s\nMK-VLA\n")
proteins("gaps written as `.`", ">s\nMK..VLA\n")
proteins("a digit", ">s\nMK1VLA\n")
proteins("another character", ">s\nMKV−LA\n")
proteins("a control character in the sequence", ">s\nMK\x01V\n")
proteins("a control character in the id", ">s\x07x\nMKV\n")
proteins("B, Z, U, O and X", ">s\nMBZUOX\n")
proteins("J (leucine or isoleucine), which ESM-2 does not know", ">s\nMJV\n")
proteins("X alone", ">s\n" + "X" * 20 + "\n")
proteins("one residue", ">s\nM\n")
proteins("10,000 proteins", "".join(f">s{i}\nMKV\n" for i in range(10_000)))
proteins("DNA", f">s\n{DNA}\n")
proteins("DNA in lower case, over lines, with N", f">s\nnnnn{DNA[:40].lower()}\n{DNA.lower()}\n")
proteins("DNA with other IUPAC codes", f">s\nATGCGYGATR{DNA}\n")
proteins("DNA masked with X", f">s\n{'X' * 20}{DNA}\n")
proteins("DNA with gaps", f">s\n{DNA}-{DNA}\n")
proteins("RNA", f">s\n{DNA.replace('T', 'U')}\n")
proteins("DNA among proteins", f">s\nMKV\n>d\n{DNA}\n")
proteins("short reads", "".join(f">r{i}\nATGGCTAACTACGGTCGTAA\n" for i in range(9)))
proteins("two oligonucleotides, too short to tell", ">a\nAACCCCTATTTGTTTATTTT\n>b\nTCTAAATACA\n")
proteins("a header without a sequence", ">s\n>t\nMKV\n")
proteins("a sequence without a header", "MKV\n>s\nMKV\n")
proteins("a blank before the first `>`", " >s\nMKV\n")
proteins("an empty header", ">\nMKV\n")
proteins("two records run together", ">s\nMKV>t\nMA\n")
proteins("ids with quotes, commas, parentheses", '>aac(6\')-Ib,"x" words\nMKV\n')
proteins("an id with a no-break space", ">s\xa01\nMKV\n")
proteins("an id twice (`submit`)", ">s one\nMKV\n>s two\nMA\n", only="submit")
proteins("an id twice (`predict`)", ">s one\nMKV\n>s two\nMA\n", only="predict")
proteins("an empty file", "")
proteins("blank lines alone", "\n\n")
proteins("a table", "id,sequence\ns,MKV\n")
proteins("FASTQ", "@r\nACGT\n+\nIIII\n")
proteins("a binary file", b"\x7fELF\x02\x01\x01" + bytes(20))
proteins("a web page in the file's place", "<!DOCTYPE html>\n<html>sign in</html>\n")
proteins("a Git LFS pointer in the file's place", "version https://git-lfs.github.com/spec/v1\n")
proteins("UTF-16", ">s\nMKV\n".encode("utf-16"))
proteins("UTF-16 without a byte order mark", ">s\nMKV\n".encode("utf-16-le"))
proteins("UTF-32", ">s\nMKV\n".encode("utf-32"))
proteins("Latin-1", b">s caf\xe9\nMKV\n")
proteins("byte order marks in the middle, from joined files", "\ufeff>s\nMKV\n\ufeff>t\nMA\n")
proteins("a byte order mark inside a line", ">s\nMKV\ufeff>t\nMA\n")
proteins("gzip, of several members", gzip.compress(b">s\nMK") + gzip.compress(b"V\n>t\nMA\n"))
proteins("gzip inside gzip", gzip.compress(gzip.compress(b">s\nMKV\n")))
proteins("gzip, cut off", gzip.compress(f">s\n{'MKVLA' * 400}\n".encode())[:-9])
proteins("bzip2, damaged", bz2.compress(b">s\nMKV\n")[:20] + bytes(30))
proteins("xz, its second member damaged", lzma.compress(b">s\nMKV\n") + b"\xfd7zXZ!" + bytes(30))


@add_case("35,000 residues: ESM-2 sees the first 1,022, and the row's flag says so")
def long(bench: Bench) -> tuple[str, str]:
    path, out = bench.file(">s\n" + "MKVLA" * 7000 + "\n"), bench.folder / "out.tsv"
    what, _ = bench.call("predict", path, "--run", bench.run, "--out", out)
    names, row = (line.split("\t") for line in out.read_text().splitlines())
    return what, f"flags: {dict(zip(names, row, strict=True))['flags']}"


@add_case("zip and tar archives")
def archives(bench: Bench) -> tuple[str, str]:
    member = bench.file(">s\nMKV\n", "a.fasta")
    with zipfile.ZipFile(bench.folder / "a.zip", "w") as packed:
        packed.write(member)
    with tarfile.open(bench.folder / "a.tar.gz", "w:gz") as packed:
        packed.add(member)
    for name in ("a.tar.gz", "a.zip"):
        bench.names[str(bench.folder / name)] = "FILE"
        what = bench.call("predict", bench.folder / name, "--run", bench.run)
    return what


@add_case("a file that is not there")
def missing(bench: Bench) -> tuple[str, str]:
    bench.names[str(bench.folder / "in.faa")] = "FILE"
    return bench.call("predict", bench.folder / "in.faa", "--run", bench.run)


@add_case("a folder without FASTA files")
def empty_folder(bench: Bench) -> tuple[str, str]:
    (bench.folder / "sub").mkdir()
    return bench.call("predict", bench.folder / "sub", "--run", bench.run)


@add_case("two files with the same ids")
def same_ids(bench: Bench) -> tuple[str, str]:
    paths = [bench.file(">s\nMKV\n", name) for name in ("a/x.faa", "b/x.faa")]
    what, _ = bench.call("predict", *paths, "--run", bench.run)
    assert what == "refused"
    paths[1] = bench.file(">s\nMKV\n", "b/y.faa")
    found = ", ".join(repr(query.id) for query in read_queries(list(map(str, paths))))
    return bench.call("predict", *paths, "--run", bench.run)[0], f"{found}; equal names: refused"


@add_case("a folder whose FASTA files are hidden")
def hidden(bench: Bench) -> tuple[str, str]:
    bench.file(">s\nMKV\n", "sub/._x.faa")
    return bench.call("predict", bench.folder / "sub", "--run", bench.run)


@add_case("a name of a file that no id can begin with, among several files")
def odd_name(bench: Bench) -> tuple[str, str]:
    paths = [
        bench.file(">s\nMKV\n", name) for name in ("a\tb.faa", os.fsdecode(b"\xe9.faa"), "c.faa")
    ]
    what = [bench.call("predict", path, paths[2], "--run", bench.run) for path in paths[:2]]
    for path in paths[:2]:  # alone it is read, whatever its name
        page = bench.folder / "page.html"
        assert bench.call("predict", path, "--run", bench.run, "--report", page)[0] == "accepted"
        assert page.stat().st_size
    assert what[1][0] == "refused"
    return what[0]


@add_case(
    "rows or a report over what is read: a file of a folder, `--gff`, another's `.part`, the run's"
)
def over_inputs(bench: Bench) -> tuple[str, str]:
    gff, contigs = bench.file(GFF, "g.gff"), bench.file(f">c\n{CONTIG}\n", "c.fna")
    paths = [bench.file(">s\nMKV\n", name) for name in ("x.part", "sub/in.faa")]
    paths += [bench.run / "metrics.json"]
    before = [path.read_bytes() for path in (gff, contigs, *paths)]
    calls = [
        (contigs, "--out", paths[2]),
        (contigs, "--gff", gff, "--out", gff),
        (paths[0], "--out", bench.folder / "x"),
        (paths[1].parent, "--report", paths[1]),
        (paths[1].parent, "--out", paths[1]),
    ]
    said = [bench.call("predict", *words, "--run", bench.run) for words in calls]
    assert before == [path.read_bytes() for path in (gff, contigs, *paths)]
    assert {what for what, _ in said} == {"refused"}
    return said[-1]


@add_case("proteins among genomes, to be written as GFF3")
def placeless(bench: Bench) -> tuple[str, str]:
    paths = [bench.file(GFF, "g.gff"), bench.file(">s\nMKV\n")]
    return bench.call("predict", *paths, "--run", bench.run, "--format", "gff3")


@add_case("`--genetic-code` that is none")
def no_code(bench: Bench) -> tuple[str, str]:
    path = bench.file(">s\nMKV\n")
    return bench.call("predict", path, "--run", bench.run, "--genetic-code", "99")


labelled("an ARG", "+>A0A1|FEATURES|UNIPROT|polymyxin|arnC\nMKV\n")
labelled("no ARG", "+>sp|P07389|X_ECOLI words\nMKV\n")
labelled("a well-known other name of a class", "+>A0A1|FEATURES|x|Phenicols|cat\nMKV\n")
labelled("an unknown class", "+>A0A1|F|x|penicillins|g\nMKV\n>B|F|x|quinolon|g\nMKV\n")
labelled("too few fields", "+>A0A1|FEATURES|x\nMKV\n")
labelled("`sp|` and the class of an ARG", "+>sp|P1|x|beta_lactam|TEM-1\nMKV\n")
labelled("an accession that comes again", "+>sp|P7|x\nMKV\n")
labelled("a protein of validation that is in training too", "+>sp|Q1|x\n{train}\n", "val")
labelled("one sequence with two labels", "+>A0A1|F|x|polymyxin|g\n{train}\n")
labelled("one class alone", ">sp|P1|x\nMKV\n")
labelled("a class of validation that training lacks", "+>A0A1|F|x|rifampin|arr\nMKV\n", "val")
labelled("a class that validation lacks", "+>A0A1|F|x|rifampin|arr\nMKV\n")
labelled("no proteins for validation", "", "val")
labelled("any fault of the list above", "+>sp|P9|x\nMK-V\n")


def answers(kind: str, text: str, key: bool = False) -> None:
    """A submission for ``check``, or a key for ``data``, of the test proteins SEQ0 and SEQ1."""

    def case(bench: Bench) -> tuple[str, str]:
        (bench.data / "test.fasta").write_text(">SEQ0\nMKV\n>SEQ1\nMA\n")
        path = bench.file(text, "data/test_key.csv" if key else "s.csv")
        command = ["data"] if key else ["check", path]
        return bench.call(*command, "--data", bench.data)

    add_case(kind)(case)


WHOLE = "id,label\nSEQ0,0\nSEQ1,14\n"
answers("rows in another order", "id,label\nSEQ1,14\nSEQ0,0\n")
answers("CRLF, or no last line end", "id,label\r\nSEQ0,0\r\nSEQ1,14")
answers("quoted fields", 'id,label\n"SEQ0","0"\nSEQ1,14\n')
answers("an empty submission", "")
answers("another header", WHOLE.replace("label", "class"))
answers("a byte order mark in a submission", "\ufeff" + WHOLE)
answers("a label out of range", WHOLE.replace("14", "15"))
answers("a label that is no integer", WHOLE.replace("14", "14.0"))
answers("the name of a class in a submission", WHOLE.replace("14", "nonarg"))
answers("a protein left out", "id,label\nSEQ0,0\n")
answers("a protein twice", WHOLE + "SEQ0,1\n")
answers("a protein of another file", WHOLE + "SEQ2,1\n")
answers("a blank line", WHOLE + "\n")
answers("a further column", WHOLE.replace("14", "14,x"))
answers("a key with names of classes, an index column, a byte order mark",
        "\ufeffn,label,id\n0,Beta-lactams,SEQ0\n1,14,SEQ1\n", key=True)  # fmt: skip
answers("an empty key", "", key=True)
answers("a key without its columns", "id,class\nSEQ0,1\n", key=True)
answers("a key whose columns are not what their names say", "id,label\n0,SEQ0\n", key=True)
answers("a key with a label that is none", "id,label\nSEQ0,15\nSEQ1,penam\n", key=True)
answers("a key with further columns", ",id,label\n0,SEQ7,1,9,9\n", key=True)
answers("a key that leaves out a protein", "id,label\nSEQ0,1\n", key=True)


@add_case("a key in another encoding than UTF-8")
def key_encoding(bench: Bench) -> tuple[str, str]:
    path = bench.data / "test_key.csv"
    bench.names[str(path)] = "FILE"
    path.write_bytes("id,label,gène\nSEQ0,1,x\nSEQ1,2,y\n".encode("latin-1"))
    return bench.call("data", "--data", bench.data)


@add_case("a folder in the place of the key")
def key_folder(bench: Bench) -> tuple[str, str]:
    path = bench.data / "test_key.csv"
    bench.names[str(path)] = "FILE"
    path.mkdir()
    return bench.call("data", "--data", bench.data)


@add_case("a submission over what is read: data, or a file of the run")
def submitted_over(bench: Bench) -> tuple[str, str]:
    said = []
    for path in (bench.run / "run.json", bench.data / "train.fasta"):
        before, bench.names[str(path)] = path.read_bytes(), "FILE"
        arguments = ["submit", "--data", bench.data, "--run", bench.run]
        said += [bench.call(*arguments, "--out", path)]
        said += [bench.call(*arguments, "--out", bench.folder / "s.csv", "--answers", path)]
        assert path.read_bytes() == before
    assert bench.call(*arguments, "--out", "-")[1] == "- is no file to write; give a name."
    assert len(set(said)) == 1
    return said[0]


def genome(kind: str, content: bytes | str, *options: str) -> None:
    """An assembly, or an annotated genome."""

    def case(bench: Bench) -> tuple[str, str]:
        path = bench.file(content)
        what, said = bench.call("predict", path, "--run", bench.run, *options)
        if what == "accepted":
            said = ", ".join(f"{q.id!r}: {q.sequence}" for q in read_queries([str(path)]))
        return what, said

    add_case(kind)(case)


CONTIG = "ATGAAACGTTAA" * 6
ROW = "c\tx\tCDS\t1\t12\t.\t+\t0\tID=g\n"
HALVES = ROW.replace("12", "6").replace("ID=g", "Parent=g")
HALVES += ROW.replace("\t1\t", "\t7\t").replace("ID=g", "Parent=g")
CIRCLE = ROW.replace("12", "72").replace("CDS", "region").replace("ID=g", "Is_circular=true")
TURNED = f"##gff-version 3\n{CIRCLE}{ROW.replace('1', '64').replace('642', '72')}"
TURNED += f"{ROW.replace('12', '3')}##FASTA\n>c\n{CONTIG[9:]}{CONTIG[:9]}\n"
GFF = f"##gff-version 3\n{ROW}##FASTA\n>c\n{CONTIG}\n"


def genbank(place: str) -> str:
    """A GenBank file of `CONTIG` with a gene at this place."""
    lines = ["LOCUS       c                         72 bp    DNA     linear   BCT 01-JAN-1980"]
    lines += ["FEATURES             Location/Qualifiers", f"     CDS             {place}"]
    lines += ['                     /locus_tag="g"', "ORIGIN", f"        1 {CONTIG[:60]}"]
    return "\n".join([*lines, f"       61 {CONTIG[60:]}", "//", ""])


genome("GFF3 with its contigs", GFF)
genome("GFF3 with a byte order mark", "\ufeff" + GFF)
genome("GFF3 whose contigs follow without `##FASTA`", GFF.replace("##FASTA\n", ""))
genome("rows of one gene, by `Parent` alone", GFF.replace(ROW, HALVES))
genome("a gene of two rows across the origin of a circular contig", TURNED)
genome("an empty ID", GFF.replace("ID=g", "locus_tag=;ID="))
genome("Latin-1 in a comment of GFF3", GFF.replace("\n", "\n# caf\xe9\n", 1).encode("latin-1"))
genome("Latin-1 in an ID of GFF3", GFF.replace("ID=g", "ID=caf\xe9").encode("latin-1"))
genome("GenBank: Latin-1 in a name", genbank("1..12").replace('="g', '="caf\xe9').encode("latin-1"))
genome("GFF3 without contigs", f"##gff-version 3\n{ROW}")
genome("a row of GFF3 with other columns", GFF.replace("\t.\t+", "\t+"))
genome("GTF", GFF.replace("ID=g", 'gene_id "g"; transcript_id "t";'))
genome("a strand that is none", GFF.replace("\t+\t", "\t\t"))
genome("a phase that is none", GFF.replace("\t0\t", "\t7\t"))
genome("a gene on both strands", GFF.replace(ROW, HALVES.replace("\t+\t", "\t-\t", 1)))
genome("a place that is none", GFF.replace("\t1\t12", "\t12\t1"))
genome("a gene beyond its contig", GFF.replace("\t1\t12", "\t61\t90"))
genome("a contig that is not there", GFF.replace(">c", ">d"))
genome("a contig twice in GFF3", f"{GFF}>c\n{CONTIG[::-1]}\n")
genome("a contig twice, for gene calling", f">c\n{CONTIG}\n>c\n{CONTIG}\n", "--genome")
genome("a stop inside a gene", GFF.replace("\t1\t12", "\t1\t24"))
genome("letters that are no bases", GFF.replace("ATGAAACG", "ATGA?ACG"))
genome("GenBank: a gene beyond its contig", genbank("61..90"))
DNA_GIVEN = f'1..12\n                     /translation="{CONTIG}"'
genome("GenBank: DNA as `/translation`", genbank(DNA_GIVEN))
genome("GenBank with a byte order mark", "\ufeff" + genbank("1..12"))
genome("GenBank, cut off", "LOCUS       c   72 bp    DNA     UNK 01-JAN-1980\nFEATURES\n")
genome("gene calling asked for where genes are annotated", GFF, "--genome", "--closed")
genome("proteins for contigs", ">s\nMKVLAWHTE\n", "--genome")
genome("RNA for contigs", f">s\n{CONTIG.replace('T', 'U')}\n", "--genome")
genome("contigs without a gene", ">s\nACGTTGCATTAA\n", "--genome")


def weights(kind: str, make: Callable[[Path], object] | bytes) -> None:
    """A file that ARG_ESM2_WEIGHTS names."""

    def case(bench: Bench) -> tuple[str, str]:
        path = bench.file(make if isinstance(make, bytes) else b"", "w.pt")
        if not isinstance(make, bytes):
            make(path)
        bench.patch.setenv("ARG_ESM2_WEIGHTS", str(path))
        load = weights_module.load_weights.__wrapped__  # not the answer of another test
        bench.patch.setattr(weights_module, "load_weights", load)
        return bench.call("weights")

    add_case(kind)(case)


class Bomb:
    """Makes a folder when unpickled the ordinary way."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def sized(width: int) -> Callable[[Path], object]:
    shapes = weights_module.parameter_shapes()
    wider = {name: [width if n == 320 else n for n in shape] for name, shape in shapes.items()}
    return lambda path: torch.save({n: torch.zeros(s) for n, s in wider.items()}, path)


def flawed(path: Path, value: float | torch.Tensor) -> None:
    """Weights of the right shapes, with another first parameter."""
    state = {name: torch.zeros(shape) for name, shape in weights_module.parameter_shapes().items()}
    first = next(iter(state))
    state[first] = value if isinstance(value, torch.Tensor) else state[first] + value
    torch.save(state, path)


weights("weights that are not there", lambda path: path.unlink())
weights("another size of ESM-2", lambda path: sized(480)(path))
weights("a pickle that would run a command", lambda path: torch.save({"x": Bomb()}, path))
weights("numbers that are not finite", lambda path: flawed(path, float("nan")))
weights("whole numbers", lambda path: flawed(path, torch.zeros(33, 320, dtype=torch.int8)))
weights("tensors without names", lambda path: torch.save({1: torch.zeros(3)}, path))
weights("text for weights", b"hello, world\n")
weights("weights cut off", b"PK\x03\x04" + bytes(100))
weights("a web page for weights", b"<!DOCTYPE html>\n<html>sign in</html>\n")
weights("an LFS pointer for weights", b"version https://git-lfs.github.com/spec/v1\n")
weights("an empty file for weights", b"")


def environment(kind: str, variable: str, value: str, *command: str) -> None:
    """A variable of the environment; FOLDER/file is a file."""

    def case(bench: Bench) -> tuple[str, str]:
        (bench.folder / "file").write_text("x")
        bench.patch.setenv(variable, value.replace("FOLDER", str(bench.folder)))
        return bench.call(*(word.replace("FOLDER", str(bench.folder)) for word in command))

    add_case(kind)(case)


FIT = ("fit", "--data", "FOLDER/data", "--method", "majority", "--out", "FOLDER/new")
environment("`ARG_DATA` names no folder", "ARG_DATA", "FOLDER/none", "data")
environment("`ARG_DATA` and a user who is none", "ARG_DATA", "~nobody-here/x", "data")
environment("`ARG_PROFILE` names no profile", "ARG_PROFILE", "huge", *FIT)
environment("`ARG_CACHE` cannot be made", "ARG_CACHE", "FOLDER/file/x", "cache")
environment("`ARG_PRECISION` is none", "ARG_PRECISION", "float8", *FIT[:-3], "frozen_linear",
            "--out", "FOLDER/new")  # fmt: skip
environment("a file for the folder of data", "X", "", "data", "--data", "FOLDER/file")
environment("a folder that is not there", "X", "", "data", "--data", "FOLDER/none")
environment("a file for the folder of a run", "X", "", *FIT[:-1], "FOLDER/file")
environment("a folder for the file to write", "X", "", "submit", "--data", "FOLDER/data", "--run",
            "FOLDER/run", "--out", "FOLDER")  # fmt: skip


@add_case("data under other names")
def misnamed(bench: Bench) -> tuple[str, str]:
    (bench.data / "val.fasta").rename(bench.data / "val.faa.gz")
    (bench.data / "train.fasta").rename(bench.data / "Train.FASTA")
    return bench.call("data", "--data", bench.data)


@add_case("a folder that may not be written to")
def read_only(bench: Bench) -> tuple[str, str]:
    allowed = os.access
    bench.patch.setattr(
        os, "access", lambda path, mode: Path(path) != bench.folder and allowed(path, mode)
    )
    arguments = ["submit", "--data", bench.data, "--run", bench.run]
    return bench.call(*arguments, "--out", bench.folder / "s.csv")


@add_case("a full disk")
def full(bench: Bench) -> tuple[str, str]:
    arguments = ["submit", "--data", bench.data, "--run", bench.run]
    return bench.call(*arguments, "--out", "/dev/full")


def page() -> dict[str, tuple[str, str]]:
    """The rows of the page: kind, outcome, and what is said."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| Input"):
            kind, what, said = re.split(r" (?<!\\)\| ", line[2:].removesuffix(" |"))
            rows[kind] = (what, said.strip("` "))
    return {k.replace("\\|", "|"): (w, s.replace("\\|", "|")) for k, (w, s) in rows.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory, settings):
    """A data folder and a run, to be copied."""
    place = tmp_path_factory.mktemp("made")
    workspaces.write_folder(place / "data", with_key=False)
    arguments = ["fit", "--data", place / "data", "--out", place / "run", "--method", "majority"]
    assert main(list(map(str, arguments))) == 0
    return lambda folder: shutil.copytree(place, folder, dirs_exist_ok=True)


@pytest.fixture
def bench(made, tmp_path, capsys, monkeypatch):
    made(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield Bench(tmp_path, tmp_path / "run", tmp_path / "data", capsys, monkeypatch)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", CASES)
def test_the_page_says_what_becomes_of_it(bench, kind):
    what, said = CASES[kind](bench)
    said = re.sub(r"weights \(.*\);", "weights (…);", said)  # PyTorch's own words
    code = f"`{said}`" if said else ""
    row = " | ".join(text.replace("|", "\\|") for text in (kind, what, code))
    assert page().get(kind) == (what, said), f"the row should be: | {row} |"


def test_the_page_has_these_rows_and_no_others():
    assert list(page()) == list(CASES)
