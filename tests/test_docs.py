"""What the documentation shows, run: the docstrings' examples and the README's code."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr

README = Path(__file__).parent.parent / "README.md"


def modules():
    """All modules of the package but the one that runs the command line when imported."""
    found = pkgutil.walk_packages(cr.__path__, "chainrule.")
    return ["chainrule", *(module.name for module in found if not module.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_readme_code_runs(tmp_path, monkeypatch, capsys):
    """The blocks in order, in one namespace, as somebody would paste them; in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    rng = np.random.default_rng(0)
    names = {
        "x": rng.normal(size=(6, 3)),
        "w": rng.normal(size=(3, 2)),
        "b": rng.normal(size=2),
    }
    for block in blocks:
        if "dense_backward_weight(x, dz)" in block:
            names["dy"] = np.ones((6, 2))
        exec(compile(block, "README.md", "exec"), names)
    assert names["model"].loss is not None
    assert cr.load("digits.npz").n_out == 10
    capsys.readouterr()
