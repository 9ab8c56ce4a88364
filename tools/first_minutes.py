"""What a newcomer waits for and gets: time and bytes of installing, installed size, time and memory of the import.

    python tools/first_minutes.py dist/*                      each wheel and sdist in a fresh environment of its own
    python tools/first_minutes.py dist/* --beside PYTHON scikit-learn jax torch
                                                              and what these take in the environment of PYTHON

A size is that of all files of a package and of what it needs. Times are those of this machine and of the way to its
package index; nothing is taken from pip's cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
N_IMPORTS = 21

# {package: bytes of its files} for the one named and all that it needs, extras left out.
SIZES = """
import json, sys
from importlib.metadata import distribution
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
sizes, waiting = {}, [sys.argv[1]]
while waiting:
    name = canonicalize_name(waiting.pop())
    if name not in sizes:
        found = distribution(name)
        paths = (file.locate() for file in found.files)
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
        needed = map(Requirement, found.requires or [])
        waiting += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
print(json.dumps(sizes))
"""

# Seconds and bytes of memory that importing chainrule takes after NumPy.
IMPORT = """
import os, time
import numpy
def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return float("nan")
memory, start = resident(), time.perf_counter()
import chainrule
print(time.perf_counter() - start, resident() - memory)
"""


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def megabytes(n):
    return f"{n / 1e6:.1f} MB"


def sizes(python, name):
    return json.loads(run(python, "-c", SIZES, name))


def downloaded(artefact):
    """Bytes of the artefact and of what pip fetches beside it; for an sdist that is the tools of the build, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = list(project["project"]["dependencies"])
    if artefact.suffix == ".gz":
        needed += project["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *needed)
        return artefact.stat().st_size + sum(path.stat().st_size for path in Path(folder).iterdir())


def measure(artefact):
    """Install one artefact; print its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        python = Path(folder, "Scripts" if sys.platform == "win32" else "bin", "python")
        start = time.perf_counter()
        run(python, "-m", "pip", "install", "--no-cache-dir", artefact)
        seconds = time.perf_counter() - start
        installed = sizes(python, "chainrule")
        runs = [[float(word) for word in run(python, "-c", IMPORT).split()] for _ in range(N_IMPORTS)]
    imports, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    whole, own = sum(installed.values()), installed["chainrule"]
    print(f"| {artefact.name} | {seconds:.1f} s | {megabytes(downloaded(artefact))} | {megabytes(whole)}, "
          f"{megabytes(own)} of it chainrule | {imports * 1000:.1f} ms, {megabytes(memory)} |", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artefacts", nargs="+", type=Path, metavar="FILE", help="a wheel or an sdist")
    parser.add_argument("--beside", nargs="+", default=[], metavar="PACKAGE", help="an interpreter, its packages")
    chosen = parser.parse_args()
    print("| what | pip install | fetched | installed | import after NumPy |\n| --- | --- | --- | --- | --- |")
    for artefact in chosen.artefacts:
        measure(artefact.resolve())
    for name in chosen.beside[1:]:
        found = sizes(chosen.beside[0], name)
        parts = ", ".join(f"{part} {megabytes(found[part])}" for part in sorted(found, key=found.get, reverse=True))
        print(f"| {name} | | | {megabytes(sum(found.values()))}: {parts} | |")


if __name__ == "__main__":
    main()
