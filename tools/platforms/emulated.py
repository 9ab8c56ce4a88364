"""Other processors under qemu: big-endian s390x, riscv64, x86-64 without AVX and with AVX2 only."""

from pathlib import Path

from .suites import c_tests
from .table import Failure, Skip, Table
from .workshop import Workshop

# s390x is the big-endian one. Both have no vectors of ours and run the scalar target.
FOREIGN = {"s390x": "s390x-linux-gnu", "riscv64": "riscv64-linux-gnu"}
# What each processor has; it must choose the last. qemu has no AVX-512: the machine's own tests run that.
X86_64 = {"qemu64": "scalar", "Haswell": "scalar avx2"}

QUICK = ("s390x", "qemu64")


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    for architecture, triple in FOREIGN.items():
        compiler, emulator = f"{triple}-gcc", f"qemu-{architecture}-static"
        with table.row(f"Linux {architecture}", built=compiler, tested="C tests", by=emulator) as row:
            if quick and architecture != QUICK[0]:
                raise Skip("not in the quick part")
            shop.need({compiler: f"gcc-{triple}", emulator: "qemu-user-static"})
            shop.install(f"libc6-dev-{architecture}-cross")
            log = f"emulated-{architecture}"
            tree = shop.sources(log)
            row.result = c_tests(
                shop,
                tree,
                log=log,
                cc=compiler,
                arch=architecture,
                extra="-static",
                runner=emulator,
                isas="scalar",
            )
            row.result += f"; isa {which_isa(shop, tree, log, compiler, emulator)}"
    check_x86_64(shop, table, quick)


def check_x86_64(shop: Workshop, table: Table, quick: bool) -> None:
    """One build, two processors."""
    log = "emulated-x86_64"
    tree = shop.sources(log)
    for processor, isas in X86_64.items():
        with table.row(
            f"x86-64 as {processor}", built="gcc", tested="C tests, choice of ISA", by="qemu-x86_64-static"
        ) as row:
            if quick and processor != QUICK[1]:
                raise Skip("not in the quick part")
            shop.need({"qemu-x86_64-static": "qemu-user-static", "gcc": "gcc", "make": "make"})
            emulator = f"qemu-x86_64-static -cpu {processor}"
            row.result = c_tests(
                shop, tree, log=log, cc="gcc", arch="x86_64", extra="-static", runner=emulator, isas=isas
            )
            isa = which_isa(shop, tree, log, "gcc", emulator)
            if isa != isas.split()[-1]:
                raise Failure(f"{processor} has {isas}, and {isa} was chosen")
            row.result += f"; isa {isa}"


ISA_PROGRAM = """
#include <stdio.h>
#include "chainrule.h"
int main(void) { puts(cr_isa()); return 0; }
"""


def which_isa(shop: Workshop, tree: Path, log: str, compiler: str, emulator: str) -> str:
    """What the library in the tree's csrc/build chooses on that processor."""
    csrc = tree / "csrc"
    source, program = csrc / "build" / "isa.c", csrc / "build" / "isa"
    source.write_text(ISA_PROGRAM, encoding="utf-8")
    library = csrc / "build" / "libchainrule.a"
    shop.run([compiler, "-static", "-pthread", "-I", csrc, source, library, "-lm", "-o", program], log=log)
    return shop.run([*emulator.split(), program], log=log).splitlines()[-1]  # after what qemu warns of
