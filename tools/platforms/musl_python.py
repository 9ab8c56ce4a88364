"""A CPython for musl to test with: the registries have NumPy's wheels for it, but no interpreter.

musl is compiled first: NumPy's wheels want a newer one (1.2.4, with packed relocations) than Debian 12 has. Its
musl-gcc finds no header of the machine's own C library, so zlib and libffi are compiled, too, and what else CPython
can use (OpenSSL, SQLite, readline ...) is left out. The interpreter starts through the loader in the cache.
"""

import platform
from pathlib import Path

from .cpython import build_python, install_from_source
from .suites import TEST_PACKAGES
from .table import Skip
from .workshop import Workshop

VERSION, SUITE = "3.13", "trixie"
LIBFFI_SUITE = "bookworm"  # the last whose source comes with its configure made
TRIPLET = "x86_64-linux-musl"


def make_python(shop: Workshop, log: str) -> tuple[Path, Path]:
    """The interpreter, and the folder with NumPy and the test packages."""
    if platform.machine() != "x86_64":
        raise Skip(f"needs an x86_64 processor, this is {platform.machine()}")
    shop.need({"gcc": "gcc", "make": "make"})
    compiler, libraries = make_libraries(shop, log)
    env = {
        "CC": str(compiler),
        "PKG_CONFIG": "false",  # it names the machine's own libraries
        "ZLIB_CFLAGS": f"-I{libraries}/include",
        "ZLIB_LIBS": f"-L{libraries}/lib -lz",
        "LIBFFI_CFLAGS": f"-I{libraries}/include",
        "LIBFFI_LIBS": f"-L{libraries}/lib -lffi",
    }
    interpreter = build_python(shop, VERSION, SUITE, "musl-python", env=env)
    site = shop.foreign_site("musl-site", "musllinux_1_2_x86_64", VERSION, "numpy", *TEST_PACKAGES)
    return interpreter, site


def make_libraries(shop: Workshop, log: str) -> tuple[Path, Path]:
    """musl's compiler command, and the folder that holds musl, zlib and libffi."""
    with shop.lock("musl-libraries"):
        folder, there = shop.cached("musl-libraries", SUITE)
        # gcc names the triplet of the machine's own C library, which CPython's configure takes for a contradiction.
        compiler = shop.script(
            "musl-gcc", f'[ "$1" = --print-multiarch ] && exec echo {TRIPLET}\nexec {folder}/bin/musl-gcc "$@"'
        )
        if not there:
            install_from_source(shop, "musl", SUITE, folder, "--disable-static", f"--syslibdir={folder}/lib", log=log)
            env = {"CC": str(compiler), "CFLAGS": "-O1 -fPIC"}
            install_from_source(shop, "zlib", SUITE, folder, "--static", log=log, env=env)
            libffi = ["-q", "--disable-shared", "--disable-docs", "--disable-multi-os-directory"]
            libffi += ["--disable-exec-static-tramp"]  # wants the kernel's headers
            install_from_source(shop, "libffi", LIBFFI_SUITE, folder, *libffi, log=log, env=env)
            shop.finish(folder, SUITE)
    return compiler, folder
