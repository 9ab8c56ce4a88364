"""Linux on aarch64: a manylinux2014 wheel, the whole suite in an emulated arm64 Python (the NEON path)."""

from .suites import TEST_PACKAGES, facts, pytest, selftest
from .table import Failure, Table
from .wheels import CrossTarget, build, examine, repair, unpack, zig_version
from .workshop import Workshop

PLATFORM = "Linux aarch64 glibc 2.17"
TARGET = CrossTarget("linux-aarch64", "aarch64-linux-gnu.2.17", "linux-aarch64")
PYTHON = "3.11"  # of bookworm


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    log = TARGET.name
    zig = zig_version(shop)
    wheel = None
    with table.row(PLATFORM, built=zig, tested="auditwheel, abi3audit, size") as row:
        wheel = repair(shop, build(shop, TARGET), log, "manylinux2014_aarch64")
        row.result = examine(shop, wheel, log)
    if wheel is None:
        return
    tested = "golden hashes" if quick else "full suite, golden hashes"
    with table.row(PLATFORM, built=zig, tested=tested, by=f"qemu, CPython {PYTHON}") as row:
        shop.need({"qemu-aarch64-static": "qemu-user-static"})
        root = shop.debian_root("arm64-root", "bookworm", "arm64", "python3", "libc6", "libgcc-s1", "libstdc++6")
        site = shop.foreign_site("arm64-site", "manylinux_2_28_aarch64", PYTHON, "numpy", *TEST_PACKAGES)
        module = unpack(shop, wheel, "arm64-wheel")
        # The script is the interpreter's own name for itself, so tests that start another one come here again.
        python = shop.script(
            "python-arm64",
            f'exec qemu-aarch64-static -L {root} -0 "$0" -E PYTHONHOME={root}/usr -E PYTHONPATH={site}:{module} '
            f'{root}/usr/bin/python{PYTHON} "$@"',
        )
        seen = facts(shop, python, log=log)
        if (seen["machine"], seen["isa"]) != ("aarch64", "neon"):
            raise Failure(f"ran on {seen['machine']} with {seen['isa']}")
        row.by = f"qemu, CPython {seen['python']}, NumPy {seen['numpy']}"
        row.result = f"isa neon; {selftest(shop, python, log=log)}"
        if not quick:
            row.result += f"; {pytest(shop, python, shop.sources('arm64-tests'), log=log)}"
