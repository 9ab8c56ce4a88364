"""Build the release into dist/ and check it; see RELEASING.md.

    python tools/release.py                 sdist and this platform's wheel, built and checked
    python tools/release.py --twice         the same, built again in another folder: every byte must agree
    python tools/release.py --versions TAG  tag, version, changelog, header and citation say the same
    python tools/release.py --check DIST    the files of a folder; with --complete, that every promised wheel is there

Needs the tools of the dependency group `release` (pip install --group release). Same sources, compiler and tools give
the same bytes: times are those of the last commit (or SOURCE_DATE_EPOCH), owners and orders are fixed.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from sizes import check_sizes

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("cp311-abi3", "cp314-cp314t")
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_28_aarch64",
    "musllinux_1_2_x86_64",
    "musllinux_1_2_aarch64",
    "macosx_11_0_x86_64",
    "macosx_11_0_arm64",
    "win_amd64",
    "win_arm64",
)
IN_EVERY_WHEEL = (
    "chainrule/py.typed",
    "chainrule/chainrule.pxd",
    "chainrule/_core.pyi",
    "chainrule/include/chainrule.h",
    "chainrule/include/chainrule_functions.inc.h",
    "chainrule/include/chainrule_kernels.inc.h",
    "chainrule/include/chainrule_api.h",
)


class Refused(Exception):
    """A release that must not leave the house, and why."""


def require(condition, message):
    if not condition:
        raise Refused(message)


def find(pattern, path):
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    require(match, f"{path.name}: nothing matches {pattern}")
    return match.group(1)


def version_of(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def check_versions(root, tag=None):
    """The version, if everything that states it agrees.

    Between releases it is the next one's with .dev0; what is dated and cited is then the last release.
    """
    version, changes, citation = version_of(root), root / "CHANGELOG.md", root / "CITATION.cff"
    require(tag in (None, f"v{version}"), f"the tag is {tag}, the version in pyproject.toml {version}")
    found = find(r'#define CR_VERSION "([^"]+)"', root / "csrc" / "chainrule.h")
    require(found == version, f"chainrule.h says version {found}, pyproject.toml {version}")
    developed = ".dev" in version
    require(not (developed and tag), f"{version} is a version between releases")
    last = find(r"^## \[(\d[^\]]*)\] - ", changes) if developed else version
    require(not developed or not version.startswith(f"{last}."), f"CHANGELOG.md has released {last} before {version}")
    found = find(r"^version: (\S+)", citation)
    require(found == last, f"CITATION.cff says version {found}, expected {last}")
    released = find(rf"^## \[{re.escape(last)}\] - (\d{{4}}-\d\d-\d\d)$", changes)
    cited = find(r"^date-released: (\S+)", citation)
    require(cited == released, f"CITATION.cff says released on {cited}, CHANGELOG.md {released}")
    pending = find(r"^## \[Unreleased\]\n((?:(?!^## ).*\n)*)", changes).strip()
    require(developed or not pending, f"CHANGELOG.md has entries under [Unreleased], which are not in {version}")
    if tag is not None:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        require(project.get("urls"), "pyproject.toml has no [project.urls]: a release says where its sources are")
    return version


def run(*command, **options):
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **options)


def epoch():
    """SOURCE_DATE_EPOCH, or the time of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True))


def normalise_sdist(data, mtime):
    """The same archive with sorted members, no owners, and one time for all."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, mtime
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(clean, old.extractfile(member) if member.isfile() else None)
    return gzip.compress(out.getvalue(), 9, mtime=0)


def build(dist):
    """An sdist of the sources and a wheel of that sdist, both into dist."""
    dist.mkdir(parents=True, exist_ok=True)
    seconds = epoch()
    os.umask(0o022)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        run(sys.executable, "-m", "build", "--sdist", "--outdir", raw, ROOT, env=environment)
        [made] = raw.glob("*.tar.gz")
        sdist = dist / made.name
        sdist.write_bytes(normalise_sdist(made.read_bytes(), seconds))
        with tarfile.open(sdist) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # CPython 3.11.4 and later
            archive.extractall(folder)
        unpacked = Path(folder, sdist.name.removesuffix(".tar.gz"))
        run(sys.executable, "-m", "build", "--wheel", "--outdir", raw, unpacked, env=environment)
        [wheel] = raw.glob("*.whl")
        if sys.platform.startswith("linux"):
            run(sys.executable, "-m", "auditwheel", "repair", "--only-plat", "-w", dist, wheel, env=environment)
        else:
            (dist / wheel.name).write_bytes(wheel.read_bytes())
    return sorted(dist.iterdir())


def check_wheel(path):
    """Our own rules: sizes, one extension, no other library, the files that other builds need."""
    try:
        sizes = check_sizes(path)
    except ValueError as error:
        raise Refused(str(error)) from None
    with zipfile.ZipFile(path) as archive:
        files = archive.namelist()
    binaries = [name for name in files if re.search(r"\.(so|pyd|dll|dylib)(\.|$)", name)]
    require(len(binaries) == 1 and "/_core." in binaries[0], f"{path.name} holds {binaries}")
    missing = [name for name in IN_EVERY_WHEEL if name not in files]
    require(not missing, f"{path.name} lacks {missing}")
    require(any(name.endswith("licenses/LICENSE") for name in files), f"{path.name} lacks the licence")
    return sizes


def promised(version):
    return {f"chainrule-{version}-{python}-{platform}.whl" for python in PYTHONS for platform in PLATFORMS}


def first_platform(name):
    """The name with the most demanding of several platform tags: auditwheel lists all that hold."""
    stem = name.removesuffix(".whl").split("-")
    tags = [tag for tag in stem[-1].split(".") if tag in PLATFORMS]
    return "-".join([*stem[:-1], tags[0] if tags else stem[-1]]) + ".whl"


def check(dist, complete):
    wheels, sdists = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    require(wheels and len(sdists) == 1, f"{dist} must hold wheels and one sdist")
    version = check_versions(ROOT)
    require(sdists[0].name == f"chainrule-{version}.tar.gz", f"{sdists[0].name} is not version {version}")
    if complete:
        found = {first_platform(wheel.name) for wheel in wheels}
        require(found == promised(version), f"wheels do not match the promise: {sorted(found ^ promised(version))}")
    module = (sys.executable, "-m")
    run(*module, "twine", "check", "--strict", *wheels, *sdists)
    run(*module, "check_wheel_contents", *wheels)
    for wheel in wheels:
        if "-abi3-" in wheel.name:
            run(*module, "abi3audit", "--strict", wheel)
    print(f"\n{'file':<74} {'bytes':>9} {'unpacked':>10}  sha256")
    for path in [*wheels, *sdists]:
        sizes = check_wheel(path) if path.suffix == ".whl" else (path.stat().st_size, "")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name:<74} {sizes[0]:>9} {sizes[1]:>10}  {digest}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="build and check the release artefacts; RELEASING.md says when")
    parser.add_argument("--twice", action="store_true", help="build again in another folder and compare the bytes")
    parser.add_argument("--versions", metavar="TAG", help="only check that tag, version and changelog agree")
    parser.add_argument("--check", metavar="DIST", type=Path, help="only check the files of this folder")
    parser.add_argument("--complete", action="store_true", help="with --check: every promised wheel must be there")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.versions:
            print(check_versions(ROOT, chosen.versions))
        elif chosen.check:
            check(chosen.check, chosen.complete)
        else:
            dist = ROOT / "dist"
            require(not dist.exists() or not any(dist.iterdir()), "dist/ is not empty")
            made = build(dist)
            check(dist, complete=False)
            if chosen.twice:
                with tempfile.TemporaryDirectory() as folder:
                    for first, second in zip(made, build(Path(folder, "again")), strict=True):
                        same = first.name == second.name and first.read_bytes() == second.read_bytes()
                        require(same, f"{first.name}: two builds differ")
                print("the second build gave the same bytes")
    except Refused as reason:
        raise SystemExit(f"release refused: {reason}") from None


if __name__ == "__main__":
    main()
