"""The release habit: one version everywhere, the wheels we promise, workflows that say what they prove."""

import importlib.util
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr

ROOT = Path(__file__).resolve().parent.parent
STATING = ("pyproject.toml", "CHANGELOG.md", "CITATION.cff", "csrc/chainrule.h")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
RELEASE = VERSION.partition(".dev")[0]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """The files that state a version, made those of a release: nothing pending, and an address of the sources."""
    for name in STATING:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[project.urls]\nSource = "https://example.org"\n')
    path = tmp_path / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?s)(## \[Unreleased\]\n).*?(?=## \[)", r"\1\n", text)
    if VERSION != RELEASE:
        text = text.replace("[Unreleased]\n", f"[Unreleased]\n\n## [{RELEASE}] - 2030-04-05\n")
        for name in ("pyproject.toml", "csrc/chainrule.h"):
            file = tmp_path / name
            file.write_text(file.read_text(encoding="utf-8").replace(VERSION, RELEASE), encoding="utf-8")
        file = tmp_path / "CITATION.cff"
        cited = re.sub(r"(?m)^version: .*", f"version: {RELEASE}", file.read_text(encoding="utf-8"))
        file.write_text(re.sub(r"date-released: .*", "date-released: 2030-04-05", cited), encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    return tmp_path


def test_this_tree_states_one_version(release):
    assert release.check_versions(ROOT) == VERSION == cr.__version__


def test_the_tag_is_the_version(release, tree):
    assert release.check_versions(tree, f"v{RELEASE}") == RELEASE
    with pytest.raises(release.Refused, match="the tag is"):
        release.check_versions(tree, "v9.9.9")


@pytest.mark.parametrize("name", STATING)
def test_a_version_stated_otherwise_is_refused(release, tree, name):
    path = tree / name
    text = path.read_text(encoding="utf-8")
    assert RELEASE in text
    path.write_text(text.replace(RELEASE, "7.7.7"), encoding="utf-8")
    with pytest.raises(release.Refused):
        release.check_versions(tree)


@pytest.fixture
def between(tree):
    """The tree after its release, with news."""
    for name in ("pyproject.toml", "csrc/chainrule.h"):
        path = tree / name
        path.write_text(path.read_text(encoding="utf-8").replace(RELEASE, "8.1.0.dev0"), encoding="utf-8")
    news(tree)
    return tree


def news(tree):
    path = tree / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("## [Unreleased]\n", "## [Unreleased]\n\n- news\n"), encoding="utf-8")


def test_between_releases_the_last_one_is_cited(release, between):
    assert release.check_versions(between) == "8.1.0.dev0"
    with pytest.raises(release.Refused, match=r"^8\.1\.0\.dev0 is a version between releases$"):
        release.check_versions(between, "v8.1.0.dev0")
    path = between / "CITATION.cff"
    path.write_text(path.read_text(encoding="utf-8").replace(RELEASE, "8.1.0.dev0"), encoding="utf-8")
    with pytest.raises(release.Refused, match=r"CITATION\.cff says version 8\.1\.0\.dev0, expected"):
        release.check_versions(between)


def test_a_version_that_is_out_is_not_developed_any_more(release, between):
    for name in ("pyproject.toml", "csrc/chainrule.h"):
        path = between / name
        path.write_text(path.read_text(encoding="utf-8").replace("8.1.0", RELEASE), encoding="utf-8")
    with pytest.raises(release.Refused, match=r"CHANGELOG\.md has released"):
        release.check_versions(between)


def test_pending_entries_of_the_changelog_are_refused(release, tree):
    """With a tag or without: what they say is not in the release that the tree claims to be."""
    news(tree)
    for tag in (None, f"v{RELEASE}"):
        with pytest.raises(release.Refused, match="Unreleased"):
            release.check_versions(tree, tag)


def test_a_release_without_addresses_is_refused(release, tree):
    path = tree / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("[project.urls]", "[tool.urls]"), encoding="utf-8")
    with pytest.raises(release.Refused, match="urls"):
        release.check_versions(tree, f"v{RELEASE}")


def test_another_day_of_release_is_refused(release, tree):
    path = tree / "CITATION.cff"
    path.write_text(re.sub(r"date-released: .*", "date-released: 2001-01-01", path.read_text()), encoding="utf-8")
    with pytest.raises(release.Refused, match="2001-01-01"):
        release.check_versions(tree)


def archive(times, owner, names):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as made:
        for name, time in zip(names, times, strict=True):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = 3, time, owner
            made.addfile(member, io.BytesIO(name[:3].encode()))
    return data.getvalue()


def test_sdists_differ_by_contents_alone(release):
    first = release.normalise_sdist(archive([1, 2], "ann", ["aaa", "bbb"]), 1000)
    assert first == release.normalise_sdist(archive([4, 3], "bob", ["bbb", "aaa"]), 1000)
    assert first != release.normalise_sdist(archive([1, 2], "ann", ["aaa", "ccc"]), 1000)
    with tarfile.open(fileobj=io.BytesIO(first)) as made:
        assert [(member.name, member.mtime, member.uname) for member in made] == [("aaa", 1000, ""), ("bbb", 1000, "")]


def write_wheel(path, release, extra=(), core=b"", leave_out=()):
    files = {name: b"" for name in release.IN_EVERY_WHEEL if name not in leave_out}
    files |= {"chainrule/_core.abi3.so": core, "chainrule-0.dist-info/licenses/LICENSE": b"", **dict(extra)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def test_wheels_are_checked(release, tmp_path):
    path = tmp_path / "x.whl"
    release.check_wheel(write_wheel(path, release))
    sizes = sys.modules["sizes"]
    faults = {
        "has .* bytes": {"core": np.random.default_rng(0).bytes(sizes.LARGEST_WHEEL)},
        "unpacks to": {"core": bytes(sizes.LARGEST_INSTALLED)},
        "holds": {"extra": {"chainrule.libs/libgomp-1.so.1": b""}},
        "lacks": {"leave_out": ["chainrule/include/chainrule_api.h"]},
    }
    for message, fault in faults.items():
        with pytest.raises(release.Refused, match=message):
            release.check_wheel(write_wheel(path, release, **fault))


def test_the_promise_counts_a_wheel_by_its_newest_tag(release):
    name = "chainrule-1.0-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.manylinux_2_28_x86_64.whl"
    assert release.first_platform(name) == "chainrule-1.0-cp311-abi3-manylinux_2_28_x86_64.whl"
    assert len(release.promised("1.0")) == len(release.PYTHONS) * len(release.PLATFORMS)


@pytest.mark.parametrize(
    ("system", "archs"), [("linux", "x86_64,aarch64"), ("macos", "x86_64,arm64"), ("windows", "AMD64,ARM64")]
)
def test_cibuildwheel_builds_what_we_promise(release, system, archs):
    pytest.importorskip("cibuildwheel")
    command = [sys.executable, "-m", "cibuildwheel", "--platform", system, "--archs", archs]
    listed = subprocess.run(
        [*command, "--print-build-identifiers", str(ROOT)], capture_output=True, text=True, check=True
    ).stdout.split()
    kinds = {"manylinux": "manylinux_2_28", "musllinux": "musllinux_1_2", "macosx": "macosx_11_0", "win": "win"}
    found = {
        (python, f"{kinds[kind]}_{machine}")
        for python, kind, machine in (re.match(r"(\w+)-([a-z]+)_(\w+)", item).groups() for item in listed)
    }
    wanted = [name for name in release.PLATFORMS if name.startswith(tuple(kinds[k] for k in kinds_of(system)))]
    pythons = {"cp311", "cp312", "cp313", "cp314", "cp314t"}
    assert found == {(python, platform) for python in pythons for platform in wanted}


def kinds_of(system):
    return {"linux": ["manylinux", "musllinux"], "macos": ["macosx"], "windows": ["win"]}[system]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_says_what_it_proves(path):
    lines = path.read_text(encoding="utf-8").split("jobs:\n", 1)[1].splitlines()
    jobs = [number for number, line in enumerate(lines) if re.fullmatch(r"  [\w-]+:", line)]
    assert jobs
    for number in jobs:
        assert number > 0 and lines[number - 1].startswith("  # Proves "), lines[number]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    for used in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
        assert used.startswith("./") or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used), used
