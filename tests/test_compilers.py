"""Other compilers build the same bits: `pytest -m long tests/test_compilers.py`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMPILERS = ["gcc", *(f"clang{version}" for version in ("", "-14", "-16", "-19"))]

pytestmark = pytest.mark.long


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_build_reproduces_the_published_bits(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info"))
    environment = {**os.environ, "CC": compiler}
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(source)]
    built = subprocess.run(pip, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    environment["PYTHONPATH"] = str(site)
    program = [sys.executable, "-m", "chainrule", "selftest"]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert compiler.split("-")[0] in done.stdout.splitlines()[0], done.stdout
