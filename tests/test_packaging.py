"""What setup.py puts into a wheel and an editable installation, and what it says without a compiler."""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ("chainrule.h", "chainrule_functions.inc.h", "chainrule_kernels.inc.h")
pytest.importorskip("setuptools")
BUILD_PY = """
from setuptools.dist import Distribution
import distutils.core
command = distutils.core.run_setup("setup.py", stop_after="init").get_command_obj("build_py")
command.editable_mode = True
command.ensure_finalized()
command.run()
"""


@pytest.fixture
def tree(tmp_path):
    """The sources that setup.py reads."""
    built = shutil.ignore_patterns("build", "fuzz", "tests", "__pycache__", "*.so", "*.egg-info", *HEADERS)
    for name in ("csrc", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=built)
    for name in HEADERS:
        shutil.copy(ROOT / "csrc" / name, tmp_path / "csrc")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def sdist(tmp_path):
    """The names of files in an sdist of all that is here."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "build", "dist", "results", "__pycache__", "*.so", "*.egg-info", ".*_cache"
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    for name in HEADERS:  # as after an editable installation
        (tree / "src" / "chainrule" / "include" / name).write_text("a link")
    done = python(tree, "setup.py", "-q", "sdist", "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [path] = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_an_sdist_has_what_its_pages_name(sdist):
    pages = [name for name in sdist if name.endswith(".md") and not name.startswith("docs/")]
    assert {"README.md", "SECURITY.md", "CONTRIBUTING.md", "benchmarks/README.md"} <= set(pages)
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) in sdist, f"{page}: {link}"
    for page in ("docs/benchmarks.md", "docs/benchmarks/zen4/README.md"):
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert posixpath.join(posixpath.dirname(page), picture) in sdist
    assert [name for name in sdist if name.endswith("/chainrule.h")] == ["csrc/chainrule.h"]


def python(tree, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], cwd=tree, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_what_was_deleted_is_in_no_later_wheel(tree):
    package = tree / "out" / "chainrule"
    (package / "old").mkdir(parents=True)
    for name in ("gone.py", "old/gone.py", "_core.cpython-310.so"):
        (package / name).write_text("left by an earlier build")
    done = python(tree, "setup.py", "-q", "build_py", "--build-lib", "out")
    assert done.returncode == 0, done.stderr
    assert (package / "model.py").is_file()
    assert not [path for path in package.rglob("*") if "gone" in path.name or path.suffix == ".so"]
    for name in HEADERS:
        assert (package / "include" / name).read_bytes() == (ROOT / "csrc" / name).read_bytes()


def test_an_editable_installation_has_its_headers(tree):
    include = tree / "src" / "chainrule" / "include"
    assert sorted(os.listdir(include)) == ["chainrule_api.h"]
    for _ in range(2):  # a second time, over the links of the first
        done = python(tree, "-c", BUILD_PY)
        assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(include)) == sorted(["chainrule_api.h", *HEADERS])
    for name in HEADERS:  # a link, or on Windows perhaps a file that includes it
        found = (include / name).read_text(encoding="utf-8")
        assert found == (ROOT / "csrc" / name).read_text(encoding="utf-8") or f"../../../csrc/{name}" in found
    # A wheel built from here all the same holds the headers themselves.
    done = python(tree, "setup.py", "-q", "build_py", "--build-lib", "out")
    assert done.returncode == 0, done.stderr
    for name in HEADERS:
        copy = tree / "out" / "chainrule" / "include" / name
        assert not copy.is_symlink() and copy.read_bytes() == (ROOT / "csrc" / name).read_bytes()


def test_headers_where_there_are_no_links(tree):
    """They are included instead, by a path from where they are asked for."""
    script = f"from pathlib import Path\nPath.symlink_to = lambda *_: (_ for _ in ()).throw(OSError)\n{BUILD_PY}"
    done = python(tree, "-c", script)
    assert done.returncode == 0, done.stderr
    include = tree / "src" / "chainrule" / "include"
    for name in HEADERS:
        assert (include / name).read_text(encoding="utf-8") == f'#include "../../../csrc/{name}"\n'
        assert (include / f"../../../csrc/{name}").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Microsoft's compiler is found another way")
def test_a_missing_compiler_is_named(tree):
    pytest.importorskip("Cython")
    done = python(tree, "setup.py", "-q", "build_ext", "--build-lib", "out", CC="no-such-compiler")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs a C compiler, and no-such-compiler cannot be run" in done.stderr
    assert "apt install gcc libc6-dev" in done.stderr
