"""Check the sources against the types of another version of PyTorch, without installing it.

    python tools/torch_types.py 2.9.0 2.14.1

Its wheel for a Mac has the same Python files and none of CUDA's libraries: it is downloaded, unpacked beside links
to all other packages of this environment, and mypy reads the sources by it. What PyTorch had not typed yet is
passed over; names and arguments that are not there are errors. Ends with 1 if there are any.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OTHERS = ("torch", "functorch")  # and all that begin so
MACS = [f"--platform=macosx_{major}_0_arm64" for major in range(11, 16)]
UNTYPED = "[no-untyped-call]"


def main() -> int:
    if not sys.argv[1:]:
        print(__doc__)
        return 2
    return max(check(version) for version in sys.argv[1:])


def check(version: str) -> int:
    """1 if the sources do not fit that version."""
    with tempfile.TemporaryDirectory(prefix="torch-types-") as folder:
        python = environment(Path(folder), version)
        command = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--no-warn-unused-ignores",
                   "--cache-dir", f"{folder}/cache"]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    errors = [line for line in lines if ": error: " in line and not line.endswith(UNTYPED)]
    failed = bool(errors) or not lines or done.returncode > 1
    print(f"torch {version}: {'does not fit' if failed else 'fits'}", *errors, done.stderr.strip(), sep="\n  ")
    return int(failed)


def environment(folder: Path, version: str) -> Path:
    """The Python of an environment with all packages of this one, and PyTorch's Python files in that version."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    here = Path(sysconfig.get_paths()["purelib"])
    there = folder / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for entry in here.iterdir():
        if not entry.name.startswith(OTHERS) and entry.suffix != ".pth" and not (there / entry.name).exists():
            (there / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *MACS,
           "--dest", str(folder), f"torch=={version}"]  # fmt: skip
    subprocess.run(pip, check=True)
    with zipfile.ZipFile(next(folder.glob("torch-*.whl"))) as wheel:
        kept = [name for name in wheel.namelist() if name.endswith((".py", ".pyi", "py.typed"))]
        wheel.extractall(there, kept)
    return folder / "env" / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
