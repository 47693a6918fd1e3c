"""A protein BLAST database written by hand, and catalogues as one would be read."""

import struct

import numpy as np

from benchmarks.blast_database import RESIDUES, Protein

TITLES = (
    "lcl|a [gene=blaX] [protein=class A beta-lactamase X-1] [protein_id=WP_1.1]",
    "lcl|b [gene=aac(6')-[x]] [protein=a [2Fe-2S] protein] [protein_id=WP_2.1] [gbkey=CDS]",
    "lcl|" + "c" * 300,  # its length takes two bytes
)
SEQUENCES = ("MKVLA", "MJOU*", "M")


def database(folder, version=5, kind=1, titles=TITLES, sequences=SEQUENCES):
    """The three files of a BLAST database, written by hand; their paths."""

    def text(words):
        return struct.pack(">I", len(words)) + words

    def entry(title):
        short = len(title) < 0x80
        size = bytes([len(title)]) if short else b"\x82" + struct.pack(">H", len(title))
        return b"\x30\x80\x30\x80\xa0\x80\x1a" + size + title.encode() + bytes(8)

    headers = [entry(title) for title in titles]
    residues = [bytes(RESIDUES.index(letter) for letter in each) + b"\0" for each in sequences]
    volume = struct.pack(">I", 0) if version == 5 else b""
    names = [b"all.fa", b"all.pdb", b"Jan 1, 2025\0"] if version == 5 else [b"all.fa", b"Jan"]
    index = struct.pack(">2I", version, kind) + volume + b"".join(map(text, names))
    index += struct.pack(">I", len(titles)) + struct.pack("<Q", 11) + struct.pack(">I", 5)
    for start, parts in ((0, headers), (1, residues)):
        offsets = start + np.cumsum([0, *map(len, parts)])
        index += struct.pack(f">{len(offsets)}I", *offsets)
    contents = {"pin": index, "psq": b"\0" + b"".join(residues), "phr": b"".join(headers)}
    paths = [folder / f"x.{end}" for end in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


def catalogue(sequences):
    """A beta-lactamase for each sequence."""
    return [Protein("bla x", "beta-lactamase", f"W{i}", s) for i, s in enumerate(sequences)]
