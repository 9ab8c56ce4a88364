"""Windows amd64: the C tests and the Python suite under wine, built with mingw and with zig."""

import shutil
from pathlib import Path

from .suites import c_tests, python_tests
from .table import Failure, Skip, Table
from .wheels import CrossTarget, build, examine, foreign_numpy, pack, unpack, zig_cc, zig_version
from .windows_python import NUMPY, make_python
from .workshop import Workshop

PLATFORM = "Windows amd64"
ZIG = "x86_64-windows-gnu"
MINGW = "x86_64-w64-mingw32-gcc"
NUMPY_PLATFORM = "win_amd64"
# The C tests that say nothing there. zig's linker cannot put another malloc in the place of a DLL's; mingw's fma() and
# fmaf(), which these take as the truth, round twice (the library has its own: csrc/exact_fma.h).
WITHOUT = {
    False: "test_memory",
    True: "test_product test_simd_scalar test_simd_avx2 test_simd_avx512",
}
# What the extension module may import: the interpreter's stable DLL, the kernel and the universal C runtime.
ALLOWED_DLLS = ("python3.dll", "kernel32.dll", "api-ms-win-crt-", "ntdll.dll")


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    zig = zig_version(shop)
    for built, compiler in {MINGW: MINGW, zig: str(zig_cc(shop, ZIG))}.items():
        with table.row(PLATFORM, built=built, tested="C tests", by="wine") as row:
            if quick and compiler != MINGW:
                raise Skip("not in the quick part")
            shop.need({MINGW: "gcc-mingw-w64-x86-64", "make": "make"})
            log = f"windows-c-{built.split()[0]}"
            tree = shop.sources(log)
            # mingw's gcc calls what it links .exe, zig as it is told.
            run = f'program=$1; shift; [ -e "$program" ] || program=$program.exe; exec {wine(shop)} "$program" "$@"'
            runner = str(shop.script("wine-test", run))
            without = WITHOUT[compiler == MINGW]
            row.result = c_tests(shop, tree, log=log, cc=compiler, arch="x86_64", runner=runner, without=without)
    log = "windows-python"
    module = None
    with table.row(PLATFORM, built=zig, tested="links, abi3audit, size") as row:
        if quick:
            raise Skip("not in the quick part")
        stand_in = make_python(shop, log)
        wheel = build_wheel(shop, stand_in.headers, stand_in.import_library, log)
        module = unpack(shop, wheel, f"{log}-wheel")
        check_imports(shop, next(module.glob("chainrule/*.pyd")), log)
        row.result = examine(shop, wheel, log)
    if module is None:
        return
    with table.row(PLATFORM, built=zig, tested="full suite, golden hashes", by=f"wine, {NUMPY}") as row:
        path = ";".join(f"Z:{folder}".replace("/", "\\") for folder in (stand_in.site, module))
        text = f"PYTHONPATH='{path}' exec {wine(shop)} {stand_in.interpreter} \"$@\""
        python = shop.script("python-windows", text)
        by = "wine, CPython {python}, NumPy {numpy}"
        python_tests(shop, row, python, "windows-tests", log=log, by=by)


def wine(shop: Workshop) -> Path:
    """wine with a prefix of our own and without its debug messages."""
    shop.install("wine", "wine64")
    prefix = shop.cache / "wine"
    command = shutil.which("wine") or shutil.which("wine64")
    if command is None:
        raise Skip("wine not found")
    with shop.lock("wine"):
        script = shop.script("wine", f'WINEDEBUG=-all WINEPREFIX={prefix} exec {command} "$@"')
        if not prefix.is_dir():
            shop.run([script, "wineboot", "-i"], log="wine", timeout=300)
    return script


def build_wheel(shop: Workshop, headers: list[Path], import_library: Path, log: str) -> Path:
    """The wheel, linked to python3.dll; setup.py runs on Linux and calls the module .so, so it is renamed after."""
    linker = zig_cc(shop, ZIG, f"-O3 -shared -s {import_library}")
    numpy = foreign_numpy(shop, NUMPY_PLATFORM) / "numpy" / "_core" / "include"
    include = " ".join(f"-I{folder}" for folder in [*headers, numpy])
    target = CrossTarget(log, ZIG, "win-amd64")
    env = {"CFLAGS": f"{include} -g0 -O3 -DNDEBUG -fwrapv", "LDSHARED": str(linker), "LDFLAGS": ""}
    folder = unpack(shop, build(shop, target, extra_env=env), f"{log}-unpacked")
    [module] = folder.glob("chainrule/*.so")
    module.rename(folder / "chainrule" / "_core.pyd")
    return pack(shop, folder, log)


def check_imports(shop: Workshop, module: Path, log: str) -> None:
    """No DLL that a plain Windows with CPython lacks."""
    code = "import pefile, sys; print(*(e.dll.decode() for e in pefile.PE(sys.argv[1]).DIRECTORY_ENTRY_IMPORT))"
    names = shop.run([shop.bench(), "-c", code, module], log=log).split()
    foreign = [name for name in names if not name.lower().startswith(ALLOWED_DLLS)]
    if foreign:
        raise Failure(f"the extension module imports {foreign}")
