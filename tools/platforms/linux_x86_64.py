"""Linux on x86_64: a manylinux2014 wheel, the whole suite on every CPython, the oldest and the newest NumPy."""

import shutil
from pathlib import Path

from .suites import TEST_PACKAGES, facts, pytest, selftest
from .table import Row, Skip, Table
from .wheels import CrossTarget, build, examine, repair, unpack, zig_version
from .workshop import Workshop

PLATFORM = "Linux x86_64 glibc 2.17"
TARGET = CrossTarget("linux-x86_64", "x86_64-linux-gnu.2.17", "linux-x86_64")
OLDEST_NUMPY = "numpy==1.26.0"
INSTALLED = ["3.11", "3.12", "3.13"]
FROM_DEBIAN = ["3.14", "3.15"]  # in sid; the last is the newest there is


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    log = TARGET.name
    zig = zig_version(shop)
    wheel = None
    with table.row(PLATFORM, built=zig, tested="auditwheel, abi3audit, size") as row:
        wheel = repair(shop, build(shop, TARGET), log, "manylinux2014_x86_64")
        row.result = examine(shop, wheel, log)
    if wheel is None:
        return
    tree = shop.sources("linux-x86_64-tests")
    runs = [(version, numpy) for version in INSTALLED for numpy in ("numpy", OLDEST_NUMPY if version == "3.11" else "")]
    for version, numpy in runs:
        if numpy:
            name = f"CPython {version}, {'newest NumPy' if numpy == 'numpy' else numpy}"
            with table.row(PLATFORM, built=zig, tested="full suite, golden hashes", by=name) as row:
                if quick and (version, numpy) != ("3.11", OLDEST_NUMPY):
                    raise Skip("not in the quick part")
                python = installed_python(shop, version, numpy, wheel)
                test(shop, row, python, tree, f"linux-x86_64-{version}")
    for version in FROM_DEBIAN:
        with table.row(PLATFORM, built=zig, tested="full suite, golden hashes", by=f"CPython {version}") as row:
            if quick:
                raise Skip("not in the quick part")
            python = debian_python(shop, version, unpack(shop, wheel, f"linux-x86_64-{version}-wheel"))
            test(shop, row, python, tree, f"linux-x86_64-{version}")


def test(shop: Workshop, row: Row, python: Path, tree: Path, log: str) -> None:
    seen = facts(shop, python, log=log)
    row.by = f"CPython {seen['python']}, NumPy {seen['numpy']}"
    row.result = f"isa {seen['isa']}; {selftest(shop, python, log=log)}; {pytest(shop, python, tree, log=log)}"


def installed_python(shop: Workshop, version: str, numpy: str, wheel: Path) -> Path:
    """A fresh environment of a Python of this machine, with the wheel."""
    found = shutil.which(f"python{version}")
    if found is None:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        if not pyenv:
            raise Skip(f"no python{version} on PATH, nor in ~/.pyenv")
        found = str(pyenv[-1])
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
        f'PYTHONHOME={root}/usr PYTHONPATH={site}:{module} exec {root}/lib64/ld-linux-x86-64.so.2 --argv0 "$0" '
        f'--library-path {root}/usr/lib/x86_64-linux-gnu {root}/usr/bin/python{version} "$@"',
    )
