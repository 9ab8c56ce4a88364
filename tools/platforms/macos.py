"""macOS: wheels for arm64 and x86_64 that link and pass the checks. Nothing here can run them."""

import shutil
from pathlib import Path

from .table import Failure, Skip, Table
from .wheels import CrossTarget, build, examine, zig_version
from .workshop import Workshop

# -undefined dynamic_lookup: the interpreter brings Python's symbols. -bundle makes zig's linker crash.
LINK = "-shared -undefined dynamic_lookup -Wl,-headerpad_max_install_names"
TARGETS = {
    "arm64": CrossTarget("macos-arm64", "aarch64-macos.11.0", "macosx-11.0-arm64", LINK, "macosx_14_0_arm64"),
    "x86_64": CrossTarget("macos-x86_64", "x86_64-macos.11.0", "macosx-11.0-x86_64", LINK, "macosx_10_15_x86_64"),
}


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    zig = zig_version(shop)
    for architecture, target in TARGETS.items():
        platform = f"macOS {architecture}"
        wheel = None
        with table.row(platform, built=zig, tested="links, abi3audit, size") as row:
            if quick:
                raise Skip("not in the quick part")
            wheel = build(shop, target)
            row.result = examine(shop, wheel, target.name)
        if wheel is None:
            continue
        with table.row(platform, built=zig, tested="delocate", by="llvm-otool") as row:
            provide_otool(shop)
            output = shop.run(["delocate-listdeps", "--all", wheel], log=target.name)
            libraries = output.split()
            if libraries != ["/usr/lib/libSystem.B.dylib"]:
                raise Failure(f"the wheel needs {libraries}")
            shop.run(["delocate-wheel", "-w", wheel.parent / "delocated", wheel], log=target.name)
            row.result = f"needs {libraries[0]} alone"
        with table.row(platform, built=zig, tested="Python suite") as row:
            raise Skip("nothing here runs macOS programs; the release workflow's machines do")


def provide_otool(shop: Workshop) -> None:
    """The Apple tools that delocate calls, from LLVM, on the PATH of `shop.run`."""
    shop.install("llvm-19")
    bench = shop.bench().parent
    for name in ("lipo", "install-name-tool"):
        found = shutil.which(f"llvm-{name}-19")
        if found is None:
            raise Skip(f"llvm-{name}-19 not found")
        script(bench / name.replace("-", "_"), f'exec {found} "$@"')
    # delocate calls otool -m, which LLVM's does not know.
    script(
        bench / "otool", 'for word; do shift; [ "$word" = -m ] || set -- "$@" "$word"; done; exec llvm-otool-19 "$@"'
    )


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
