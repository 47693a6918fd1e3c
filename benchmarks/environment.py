"""An environment for the benchmark beside the library's own, which stays as it is.

.venv/bin/python benchmarks/environment.py       # makes .venv/benchmarks, or finds it up to date

`.venv/benchmarks` sees the packages of `.venv` and adds those of benchmarks/requirements.txt, under
the pins of requirements.txt: PyTorch and NumPy are the same files for every contender. What
benchmarks/optional.txt names is added too, unless it does not install.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv" / "benchmarks"
SOURCES = (ROOT / "requirements.txt", ROOT / "benchmarks" / "requirements.txt")
OPTIONAL = ROOT / "benchmarks" / "optional.txt"  # wheels alone: nothing is compiled for it


def prepare() -> None:
    """Make the environment unless its stamp says that it is up to date."""
    stamp = FOLDER / ".stamp"
    wanted = "\n".join(
        [str(FOLDER), sys.version, *(path.read_text() for path in (*SOURCES, OPTIONAL))]
    )
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print("Installing benchmarks/requirements.txt into .venv/benchmarks …", flush=True)
    venv.create(FOLDER, clear=True)
    python = FOLDER / "bin" / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True)
    library = sysconfig.get_path("purelib")
    (Path(answer.stdout.strip()) / "library.pth").write_text(
        f"import site; site.addsitedir({library!r})\n"
    )
    pins, extra = map(str, SOURCES)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    pip += ["--disable-pip-version-check"]
    code = subprocess.run([*pip, "-c", pins, "-r", extra]).returncode
    if code:
        sys.exit(code)  # pip has said why
    wheels = ["--no-deps", "--only-binary", ":all:"]
    if subprocess.run([*pip, *wheels, "-r", str(OPTIONAL)]).returncode:
        print("The benchmark goes on without benchmarks/optional.txt.", flush=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    prepare()
