"""The programs in examples/, run as a reader would run them; those of c_api are in test_c_api.py."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_short_and_listed():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert SCRIPTS == ["backpropagation", "control", "tabular"]
    for name in SCRIPTS:
        assert f"`{name}.py`" in readme
        assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


def test_tabular(capsys, tmp_path, monkeypatch):
    """As a program, from a folder in which it leaves nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "tabular.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"'accuracy': ([\d.]+)", done.stdout)[1]) > 0.85
    young, old = map(float, re.search(r"\['([\d.]+)', '([\d.]+)'\]", done.stdout).groups())
    assert young > 0.9 and old < 0.1 and not list(tmp_path.iterdir())


def test_control(capsys):
    """Sines and exponentials are the system's, so the games are not the same everywhere; what is learned is."""
    lengths = example("control").main()
    assert np.mean(lengths[:5]) < 60 and np.mean(lengths[-20:]) > 120
    assert capsys.readouterr().out.count("update ") == 6


def test_the_policy_loss_has_its_gradient():
    policy_loss = example("control").policy_loss
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 2))
    weights = np.eye(2)[rng.integers(0, 2, 5)] * rng.normal(size=(5, 1))
    _, gradient = policy_loss(logits, weights)
    for at in np.ndindex(5, 2):
        step = np.zeros((5, 2))
        step[at] = 1e-6
        up, down = (policy_loss(logits + sign * step, weights)[0] for sign in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(gradient[at], abs=1e-9)


def test_backpropagation(capsys):
    difference, error = example("backpropagation").main()
    assert difference < 1e-14 and error < 1e-7
    assert capsys.readouterr().out.count("largest difference") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="the Makefile is for Unix")
def test_plain_c(tmp_path):
    """By the commands of its README, but without optimization and of the portable target alone, for time."""
    compiler = shutil.which("cc")
    if compiler is None or shutil.which("make") is None:
        pytest.skip("no C compiler or no make")
    root = EXAMPLES.parent
    readme = (EXAMPLES / "plain_c" / "README.md").read_text(encoding="utf-8")
    made, compiled, run = re.search(r"```sh\n(.*?)```", readme, re.DOTALL)[1].splitlines()
    assert made == "make -C csrc" and run == "./xor"
    subprocess.run(
        ["make", "-s", "-j2", "-C", "csrc", f"BUILD={tmp_path}", "OPT=-O0", "ARCH=none", f"CC={compiler}"],
        cwd=root,
        check=True,
    )
    command = compiled.replace("csrc/build/", f"{tmp_path}/").replace("-o xor", f"-o {tmp_path}/xor").split()
    subprocess.run([*command, "-Wall", "-Wextra", "-Wpedantic", "-Werror"], cwd=root, check=True)
    done = subprocess.run([tmp_path / "xor"], capture_output=True, text=True, check=True)
    found = re.fullmatch(r"scalar, loss ([\d.]+): ([\d.-]+) ([\d.-]+) ([\d.-]+) ([\d.-]+)\n", done.stdout)
    assert [float(number) for number in found.groups()] == pytest.approx([0, 0, 1, 1, 0], abs=0.01)
