"""Much malformed input for all that reads files of users: does any end in a traceback?

    .venv/benchmarks/bin/python -m pip install atheris==3.0.0    # after `make bench` made it
    .venv/benchmarks/bin/python -m benchmarks.fuzz       # some minutes; writes results/fuzz.json

Atheris (coverage-guided, on libFuzzer) changes examples of good files byte by byte and keeps what
reaches new code. A parser may give records or raise `UserError`. At anything else it stops; the
input is then in the folder that is named, to become a test.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEED, INPUTS = 1, 30_000  # inputs a parser


def fuzz_here(name: str, folder: Path, inputs: int, seed: int) -> None:
    """Run Atheris on one parser; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["arg_utils", "Bio"]):
        from arg_utils.errors import UserError
        from benchmarks.parsers import PARSERS
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")
    parser = PARSERS[name]
    counts = np.memmap(folder / "counts", np.int64, "w+", shape=(2,))

    def one(content: bytes) -> None:
        try:
            parser.read(content)
        except UserError:
            counts[1] += 1
        else:
            counts[0] += 1

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, example in enumerate(parser.examples):
        (corpus / str(number)).write_bytes(example)
    words = ("".join(f"\\x{byte:02x}" for byte in word[:60]) for word in parser.words)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))
    options = [f"-runs={inputs}", f"-seed={seed}", f"-dict={folder / 'words'}", "-max_len=6000"]
    options += [f"-artifact_prefix={folder}/", "-timeout=30", "-verbosity=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options], one)
    atheris.Fuzz()


def fuzz(name: str, inputs: int, seed: int) -> dict:
    """Run Atheris on one parser in a process of its own: inputs read, refused, and faults."""
    import numpy as np

    folder = Path(tempfile.mkdtemp(prefix="arg-fuzz-"))
    command = [sys.executable, "-m", "benchmarks.fuzz", "--parser", name, "--folder", str(folder)]
    command += ["--inputs", str(inputs), "--seed", str(seed)]
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    said = done.stdout + done.stderr
    if not (folder / "counts").is_file():
        raise SystemExit(f"Atheris did not run on {name}:\n{said[-2000:]}")
    read, refused = np.memmap(folder / "counts", np.int64, "r", shape=(2,)).tolist()
    if not done.returncode:
        shutil.rmtree(folder)
    fault = re.search(r"Uncaught Python exception: ===\n(.*)", said)
    return {
        "parser": name, "inputs": read + refused, "read": read, "refused": refused,
        "seconds": round(time.perf_counter() - begun, 1),
        "faults": [f"{fault[1] if fault else said[-300:]} ({folder})"] if done.returncode else [],
    }  # fmt: skip


def main() -> int:
    """Fuzz every parser, print and write; exit code 1 if one has a fault."""
    parser = argparse.ArgumentParser(description="Malformed input for every parser.")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="a parser")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--parser", help="one alone; the file's other rows stay")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        fuzz_here(given.parser, given.folder, given.inputs, given.seed)
    from arg_utils.files import RESULTS, write_text
    from benchmarks.parsers import PARSERS

    path = RESULTS / "fuzz.json"
    rows = json.loads(path.read_text())["parsers"] if path.exists() else []
    for name in [given.parser] if given.parser else PARSERS:
        options = f"--parser '{name}' --inputs {given.inputs} --seed {given.seed}"
        command = {"command": f"python -m benchmarks.fuzz {options}"}
        row = command | fuzz(name, given.inputs, given.seed)
        print(json.dumps(row), flush=True)
        rows = [r for r in rows if r["parser"] != name] + [row]
        engine = f"atheris {version('atheris')}"
        result = {"engine": engine, "inputs": sum(r["inputs"] for r in rows), "parsers": rows}
        write_text(path, json.dumps(result, indent=1) + "\n")
    return int(any(row["faults"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
