"""Building a wheel for another platform with zig cc, and the checks that every wheel must pass."""

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sizes import check_sizes

from .table import Failure, Table
from .workshop import Workshop, describe

# The NumPy whose headers are used for another platform; its own are of this one. Any 2.x serves.
HEADER_NUMPY = "numpy==2.4.6"


@dataclass(frozen=True)
class CrossTarget:
    """What one wheel is built for: zig's name, Python's name, and how to link an extension module."""

    name: str
    zig: str
    host_platform: str
    link_flags: str = "-shared"
    numpy_platform: str = ""  # of a NumPy wheel with headers for it, where those of Linux won't do


def zig_version(shop: Workshop) -> str:
    version = shop.run([shop.bench(), "-m", "ziglang", "version"], log="bench").strip()
    return f"zig {version}"


def zig_cc(shop: Workshop, target: str, flags: str = "") -> Path:
    """A compiler command for the target."""
    name = re.sub(r"\W+", "-", f"zcc-{target}{flags}")
    return shop.script(name, f'exec {shop.bench()} -m ziglang cc -target {target} {flags} "$@"')


def build(
    shop: Workshop,
    target: CrossTarget,
    python: Path | None = None,
    extra_env: dict[str, str] | None = None,
) -> Path:
    """Build a wheel from the sdist with zig cc; `python` has setuptools, Cython and NumPy, else the bench's is used."""
    tree = shop.sources(target.name)
    compiler = zig_cc(shop, target.zig)
    # CFLAGS set together with CC replace the interpreter's own, so -DNDEBUG and -fwrapv are said again. Without -O
    # at the link zig would add its UBSan runtime.
    flags = "-g0 -O3 -DNDEBUG -fwrapv"
    if target.numpy_platform:
        flags = f"-I{foreign_numpy(shop, target.numpy_platform)}/numpy/_core/include {flags}"
    env = {
        "CC": str(compiler),
        "CFLAGS": flags,
        "LDFLAGS": "-s",
        "LDSHARED": f"{compiler} -O3 {target.link_flags}",
        "_PYTHON_HOST_PLATFORM": target.host_platform,
    }
    folder = tree / "dist"
    command: list[str | Path] = [python or shop.bench(), "-m", "build", "--no-isolation", "--wheel", "-o", folder, "."]
    shop.run(command, log=target.name, cwd=tree, env=env | (extra_env or {}))
    [wheel] = folder.glob("*.whl")
    return wheel


def foreign_numpy(shop: Workshop, platform: str) -> Path:
    return shop.foreign_site(f"numpy-{platform}", platform, "3.11", "--no-deps", HEADER_NUMPY)


def unpack(shop: Workshop, wheel: Path, name: str) -> Path:
    """The files of a wheel in a folder."""
    folder = shop.work / "sources" / name
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def pack(shop: Workshop, folder: Path, log: str) -> Path:
    """A wheel of the files in a folder."""
    target = folder.with_name(folder.name + "-packed")
    target.mkdir(exist_ok=True)
    shop.run([shop.bench(), "-m", "wheel", "pack", "-d", target, folder], log=log)
    [wheel] = target.glob("*.whl")
    return wheel


def repair(shop: Workshop, wheel: Path, log: str, expected: str) -> Path:
    """auditwheel's copy of a Linux wheel under the tag `expected`; no library may be bundled."""
    target = wheel.parent / "repaired"
    shop.run([shop.bench(), "-m", "auditwheel", "repair", "-w", target, wheel], log=log)
    [repaired] = target.glob("*.whl")
    if expected not in repaired.name:
        raise Failure(f"auditwheel gave {repaired.name}, not {expected}")
    with zipfile.ZipFile(repaired) as archive:
        bundled = [name for name in archive.namelist() if ".libs/" in name]
    if bundled:
        raise Failure(f"auditwheel bundled {bundled}")
    return repaired


def linux_wheel(shop: Workshop, table: Table, platform: str, target: CrossTarget, expected: str) -> Path | None:
    """The row that builds and checks a wheel for glibc; the wheel, or None if there is none to test."""
    wheel = None
    with table.row(platform, built=zig_version(shop), tested="auditwheel, abi3audit, size") as row:
        wheel = repair(shop, build(shop, target), target.name, expected)
        row.result = examine(shop, wheel, target.name)
    return wheel


def examine(shop: Workshop, wheel: Path, log: str, *, abi3: bool = True) -> str:
    """Check size, contents and use of the limited API, keep the wheel; its name, size and hash."""
    with zipfile.ZipFile(wheel) as archive:
        modules = [info.filename for info in archive.infolist() if info.filename.endswith((".so", ".pyd"))]
        headers = [info.filename for info in archive.infolist() if info.filename.endswith((".h", ".pxd"))]
    if len(modules) != 1:
        raise Failure(f"{wheel.name} holds {len(modules)} extension modules: {modules}")
    if not {"chainrule/include/chainrule.h", "chainrule/chainrule.pxd"} <= set(headers):
        raise Failure(f"{wheel.name} lacks its headers: {headers}")
    try:
        _, unpacked = check_sizes(wheel)
    except ValueError as error:
        raise Failure(str(error)) from None
    if abi3:
        output = shop.run([shop.bench(), "-m", "abi3audit", "-v", "--strict", wheel], log=log)
        report = " ".join(output.split())
        if "1 extensions scanned; 0 ABI version mismatches and 0 ABI violations" not in report:
            raise Failure(f"abi3audit: {report[-200:]}")
    kept = shop.wheels / wheel.name
    shutil.copy2(wheel, kept)
    return f"{describe(kept)}, {unpacked / 1000:.0f} kB unpacked"
