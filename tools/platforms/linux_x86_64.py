"""Linux on x86_64: a manylinux2014 wheel, the whole suite on every CPython, the oldest and the newest NumPy."""

import shutil
from pathlib import Path

from .suites import TEST_PACKAGES, python_tests
from .table import Row, Skip, Table
from .wheels import CrossTarget, linux_wheel, unpack, zig_version
from .workshop import Workshop

PLATFORM = "Linux x86_64 glibc 2.17"
TARGET = CrossTarget("linux-x86_64", "x86_64-linux-gnu.2.17", "linux-x86_64")
OLDEST_NUMPY = "numpy==1.26.0"
INSTALLED = ["3.11", "3.12", "3.13"]
FROM_DEBIAN = ["3.14", "3.15"]  # in sid; the last is the newest there is


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    zig = zig_version(shop)
    wheel = linux_wheel(shop, table, PLATFORM, TARGET, "manylinux2014_x86_64")
    if wheel is None:
        return
    runs = [(version, numpy) for version in INSTALLED for numpy in ("numpy", OLDEST_NUMPY if version == "3.11" else "")]
    for version, numpy in runs:
        if numpy:
            name = f"CPython {version}, {'newest NumPy' if numpy == 'numpy' else numpy}"
            with table.row(PLATFORM, built=zig, tested="full suite, golden hashes", by=name) as row:
                if quick and (version, numpy) != ("3.11", OLDEST_NUMPY):
                    raise Skip("not in the quick part")
                python = installed_python(shop, version, numpy, wheel)
                test(shop, row, python, version)
    for version in FROM_DEBIAN:
        with table.row(PLATFORM, built=zig, tested="full suite, golden hashes", by=f"CPython {version}") as row:
            if quick:
                raise Skip("not in the quick part")
            python = debian_python(shop, version, unpack(shop, wheel, f"linux-x86_64-{version}-wheel"))
            test(shop, row, python, version)


def test(shop: Workshop, row: Row, python: Path, version: str) -> None:
    log = f"linux-x86_64-{version}"
    python_tests(shop, row, python, "linux-x86_64-tests", log=log, by="CPython {python}, NumPy {numpy}")


def installed_python(shop: Workshop, version: str, numpy: str, wheel: Path) -> Path:
    """A fresh environment of a Python of this machine, with the wheel."""
    # pyenv's own first: what it puts on PATH ends with 127 unless that version is switched on.
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    found = str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")
    if found is None:
        raise Skip(f"no python{version} on PATH, nor in ~/.pyenv")
    name = f"venv-{version}-{numpy.replace('==', '-')}"
    python = shop.venv(name, numpy, *TEST_PACKAGES, python=found)
    shop.run([python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel], log=name)
    return python


def debian_python(shop: Workshop, version: str, module: Path) -> Path:
    """A Python of Debian sid with its own C library, under one name."""
    packages = [f"python{v}{suffix}" for v in FROM_DEBIAN for suffix in ("", "-venv")]
    root = shop.debian_root(
        "sid-root", "sid", "amd64", *packages, "libc6", "libgcc-s1", "libstdc++6", "dash", "coreutils"
    )
    site = shop.foreign_site(f"site-{version}", "manylinux_2_28_x86_64", version, "numpy", *TEST_PACKAGES)
    return shop.script(
        f"python-{version}",
        f'PYTHONHOME={root}/usr PYTHONPATH={site}:{module} exec {root}/usr/lib64/ld-linux-x86-64.so.2 --argv0 "$0" '
        f'--library-path {root}/usr/lib/x86_64-linux-gnu {root}/usr/bin/python{version} "$@"',
    )
