"""Linux on aarch64: a manylinux2014 wheel, golden hashes and the suite in an emulated arm64 Python (the NEON path)."""

from .suites import TEST_PACKAGES, python_tests
from .table import Table
from .wheels import CrossTarget, linux_wheel, unpack, zig_version
from .workshop import Workshop

PLATFORM = "Linux aarch64 glibc 2.17"
TARGET = CrossTarget("linux-aarch64", "aarch64-linux-gnu.2.17", "linux-aarch64")
PYTHON = "3.11"  # of bookworm


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    log = TARGET.name
    wheel = linux_wheel(shop, table, PLATFORM, TARGET, "manylinux2014_aarch64")
    if wheel is None:
        return
    tested = "golden hashes" if quick else "full suite, few cases a test; golden hashes"
    with table.row(PLATFORM, built=zig_version(shop), tested=tested, by=f"qemu, CPython {PYTHON}") as row:
        shop.need({"qemu-aarch64-static": "qemu-user-static"})
        root = shop.debian_root("arm64-root", "bookworm", "arm64", "python3", "libc6", "libgcc-s1", "libstdc++6")
        site = shop.foreign_site("arm64-site", "manylinux_2_28_aarch64", PYTHON, "numpy", *TEST_PACKAGES)
        module = unpack(shop, wheel, "arm64-wheel")
        # The script is the interpreter's own name for itself, so tests that start another one come here again.
        python = shop.script(
            "python-arm64",
            f'exec qemu-aarch64-static -L {root} -0 "$0" -E CHAINRULE_EMULATED=1 -E PYTHONHOME={root}/usr '
            f'-E PYTHONPATH={site}:{module} {root}/usr/bin/python{PYTHON} "$@"',
        )
        by = "qemu, CPython {python}, NumPy {numpy}"
        python_tests(shop, row, python, "arm64-tests", log=log, by=by, suite=not quick, isa="neon")
