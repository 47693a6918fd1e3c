"""NCBI's catalogue of resistance proteins, out of a BLAST database, without the BLAST programs.

The catalogue (of AMRFinderPlus) comes inside a wheel, which is read here as data.

Of a database ``x`` of format 4 or 5 three files are read: ``x.pin`` says where each protein begins
in the other two, ``x.psq`` holds residues, a byte each, and ``x.phr`` descriptions, in ASN.1 (BER).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arg_utils.data.downloads import PinnedWheel
from arg_utils.errors import UserError
from arg_utils.files import cache_dir

FOLDER = "AMRfior/databases/ncbi/blast_aa/sequence_aa_blastdb"
WHEEL = PinnedWheel(
    package="amrfior",
    version="0.5.1",
    sha256="9645a1d7f110de1b902d5bcbf6f525823ae2230c756848f89853c637e9067f76",
    size=54_781_452,
    members={
        f"{FOLDER}.pin": "5b23571e23e3de2cf4dc719cc55c6138f1c7a7d23a53d9dba756222282f99b7b",
        f"{FOLDER}.psq": "50ca1de94819fd1f7fe673f9b8dd048b8aaa08ed930df74de6a9ecc1ce47b9c4",
        f"{FOLDER}.phr": "80f9b6b26b7e0412d697935532a945f24b51c4fa4cb14125229fd26b9e0dec8c",
    },
)
RESIDUES = "-ABCDEFGHIKLMNPQRSTVWXYZU*OJ"  # NCBIstdaa: a residue's code is its place here
TEXT = 0x1A  # ASN.1's tag of a VisibleString
CONSTRUCTED = 0x20  # bit of a tag: other values follow inside
OPEN_END = 0x80  # a length that says: until two zero bytes


@dataclass(frozen=True)
class Protein:
    """One protein of the catalogue; a name its title does not give is empty."""

    gene: str
    product: str
    accession: str
    sequence: str


def read_catalogue() -> Iterator[Protein]:
    """All proteins of the catalogue, fetched unless cached; errors as of `read_proteins`."""
    files = WHEEL.fetch(cache_dir("amrfior"))
    for title, sequence in read_proteins(*files.values()):
        gene, product, accession = (_field(title, n) for n in ("gene", "protein", "protein_id"))
        yield Protein(gene, product, accession, sequence)


def read_proteins(pin: Path, psq: Path, phr: Path) -> Iterator[tuple[str, str]]:
    """Title and residues of each protein of a database, in its order.

    Residues are as stored: gaps (``-``), stops (``*``) and J are not removed.

    Raises
    ------
    UserError
        Naming the file, if it is missing, cut short or no BLAST database of proteins.
    """
    index, residues, titles = (_content(path) for path in (pin, psq, phr))
    headers, sequences = _offsets(index, pin)
    if headers[-1] > len(titles) or sequences[-1] > len(residues):
        short = phr if headers[-1] > len(titles) else psq
        raise UserError(f"{short} is shorter than {pin.name} says; fetch the database again.")
    for i in range(len(headers) - 1):
        try:
            title = _title(titles[headers[i] : headers[i + 1]])
            codes = residues[sequences[i] : sequences[i + 1] - 1]  # a zero byte ends each
            yield title, "".join(RESIDUES[code] for code in codes)
        except (IndexError, ValueError) as error:
            where = f"{pin.with_suffix('')}, protein {i + 1}"
            raise UserError(f"{where}: {error}; fetch the database again.") from None


def _content(path: Path) -> bytes:
    """All bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give its path.") from None


def _offsets(index: bytes, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where each protein's title and residues begin; the last offset is the end of all."""
    try:
        version, kind = struct.unpack_from(">2I", index)
        if version not in (4, 5) or kind != 1:
            raise ValueError(f"format {version}, kind {kind}")
        place = 8 if version == 4 else 12  # format 5 counts volumes here
        for _ in range(version - 2):  # title and date; format 5 names a file between them
            place += 4 + struct.unpack_from(">I", index, place)[0]
        (count,) = struct.unpack_from(">I", index, place)
        place += 16  # the count, all residues (8 bytes), the longest protein's (4)
        numbers = struct.unpack_from(f">{2 * (count + 1)}I", index, place)
    except (struct.error, ValueError) as error:
        raise UserError(
            f"{path} is no index of a protein BLAST database of format 4 or 5 ({error}); fetch it "
            f"again."
        ) from None
    return numbers[: count + 1], numbers[count + 1 :]


def _title(entry: bytes) -> str:
    """The first value of an entry: its title."""
    place = 0
    while entry[place] & CONSTRUCTED and entry[place + 1] == OPEN_END:
        place += 2
    if entry[place] != TEXT:
        raise ValueError("its description begins with no title")
    size, place = entry[place + 1], place + 2
    if size > OPEN_END:  # the length itself takes so many bytes
        width = size - OPEN_END
        size, place = int.from_bytes(entry[place : place + width]), place + width
    if place + size > len(entry):
        raise ValueError("its title is cut short")
    return entry[place : place + size].decode("ascii", errors="replace")


def _field(title: str, name: str) -> str:
    """What a title says in ``[name=...]``."""
    found = re.search(rf"\[{name}=(.*?)\](?= \[|$)", title)
    return found.group(1) if found else ""
