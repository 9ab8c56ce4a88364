"""CPython without the GIL, built from source: the whole suite, the GIL stays off, many threads at once."""

from pathlib import Path

from .cpython import build_python
from .suites import TEST_PACKAGES, python_tests
from .table import Failure, Skip, Table
from .wheels import CrossTarget, build, examine, repair, unpack, zig_version
from .workshop import Workshop

# Debian has no free-threaded Python; the suite that holds the source, and the last NumPy with wheels for it.
VERSIONS = {"3.13": ("trixie", "numpy==2.4.6"), "3.14": ("sid", "numpy")}


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    for version, (suite, numpy) in VERSIONS.items():
        platform = f"free-threaded CPython {version}t"
        tag = f"cp{version.replace('.', '')}t"
        log = f"free-threaded-{version}"
        target = CrossTarget(log, "x86_64-linux-gnu.2.17", "linux-x86_64")
        with table.row(platform, built="Debian's source, gcc", tested="the interpreter") as row:
            if quick:
                raise Skip("not in the quick part")
            shop.install("gcc", "make", "zlib1g-dev", "libffi-dev", "libssl-dev")
            interpreter = build_python(shop, version, suite, log, "--disable-gil")
            row.result = shop.run([interpreter, "-VV"], log=log).strip()
        if not row.passed:
            continue
        wheel = None
        with table.row(platform, built=zig_version(shop), tested="auditwheel, size") as row:
            tools = shop.foreign_site(f"{log}-tools", "manylinux_2_28_x86_64", version, numpy, "Cython>=3.1",
                                      "setuptools>=77", "build", abi=tag)  # fmt: skip
            built = build(shop, target, interpreter, {"PYTHONPATH": str(tools)})
            wheel = repair(shop, built, log, f"{tag}-manylinux2014_x86_64")
            row.result = examine(shop, wheel, log, abi3=False)
        if wheel is None:
            continue
        site = shop.foreign_site(f"{log}-site", "manylinux_2_28_x86_64", version, numpy, *TEST_PACKAGES, abi=tag)
        module = unpack(shop, wheel, f"{log}-wheel")
        python = shop.script(f"python-{version}t", f'PYTHONPATH={site}:{module} exec {interpreter} "$@"')
        with table.row(platform, built=zig_version(shop), tested="GIL stays off, thread stress") as row:
            code = "import sys, chainrule; print('GIL', sys._is_gil_enabled())"
            if "GIL False" not in shop.run([python, "-W", "error", "-c", code], log=log):
                raise Failure("importing chainrule turns the GIL on")
            row.result = shop.run([python, Path(__file__).with_name("thread_stress.py")], log=log).strip()
        with table.row(platform, built=zig_version(shop), tested="full suite, golden hashes") as row:
            python_tests(shop, row, python, f"{log}-tests", log=log, by="CPython {python}t, NumPy {numpy}")
