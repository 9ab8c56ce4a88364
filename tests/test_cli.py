"""The commands: `chainrule` and `python -m chainrule`."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli


def command(*arguments, **settings):
    """Run `python -m chainrule`; settings are those of subprocess.run."""
    settings = {"capture_output": True, "text": True, "timeout": 120, **settings}
    return subprocess.run([sys.executable, "-W", "error", "-m", "chainrule", *arguments], **settings)


def test_version():
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"chainrule {cr.__version__}\n", "")


def test_info():
    done = command("info")
    assert done.returncode == 0 and not done.stderr
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in done.stdout.splitlines())
    assert facts["version"] == cr.__version__ and facts["numpy"] == np.__version__
    assert facts["isa"] in facts["isas supported"].split() and int(facts["threads"]) >= 1


def test_no_command_shows_help_and_info():
    done = command()
    assert done.returncode == 0 and "usage: chainrule" in done.stdout and "isas built" in done.stdout


def test_the_console_script_is_the_same_command():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="chainrule")
    assert script.load() is cli.main


def test_help(capsys):
    for arguments, words in (
        (["--help"], ["usage: chainrule [-h] [--version] COMMAND ...", "demo", "info"]),
        (["demo", "--help"], ["--epochs", "--seeds", "--threads", "--plot", "(default: 20)"]),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        out = capsys.readouterr().out
        assert stop.value.code == 0 and all(word in out for word in words)


@pytest.mark.parametrize(("arguments", "message"), [
    (["train"], "argument COMMAND: invalid choice: 'train'"),
    (["--colour"], "unrecognized arguments: --colour"),
    (["demo", "--epochs", "0"], "argument --epochs: expected a whole number from 1 to 10000, got '0'"),
    (["demo", "--epochs", "many"], "argument --epochs: expected a whole number from 1 to 10000, got 'many'"),
    (["demo", "--seeds", "1.5"], "argument --seeds: expected a whole number from 1 to 1000, got '1.5'"),
    (["demo", "--threads", "-1"], "argument --threads: expected a whole number from 1 to 1024, got '-1'"),
    (["demo", "--batch-size"], "argument --batch-size: expected one argument"),
    (["info", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
])  # fmt: skip
def test_bad_options_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_bad_options_exit_with_2_as_a_process():
    done = command("demo", "--epochs", "-3")
    assert done.returncode == 2 and "expected a whole number" in done.stderr and "Traceback" not in done.stderr


def test_demo(capsys):
    threads = cr.get_num_threads()
    assert cli.main(["demo", "--epochs", "3", "--seeds", "2", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert "UCI optical digits: 1442 rows to train on, 355 held out" in out
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) ms/epoch +([\d.]+) ms/epoch +([\d.]+)x +([\d.e+-]+)$", out, re.M)
    assert [row[0] for row in rows] == ["5", "6"]
    for _, accuracy, _, _, _, difference in rows:
        assert float(accuracy) > 0.85 and float(difference) < 1e-2
    assert re.search(r"^lowest test accuracy [\d.]+; NumPy takes [\d.]+ times as long$", out, re.M)
    assert cr.get_num_threads() == threads


def test_the_demo_reaches_its_accuracy(capsys):
    """At least 0.97 on the held-out fifth, as the README promises, with one of its seeds."""
    assert cli.main(["demo", "--seeds", "1"]) == 0
    assert float(re.search(r"lowest test accuracy ([\d.]+)", capsys.readouterr().out)[1]) >= 0.97


def test_plot_without_matplotlib_says_how_to_get_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["demo", "--plot", str(tmp_path / "out.png")]) == 1
    streams = capsys.readouterr()
    assert streams.err == 'chainrule demo: --plot needs matplotlib: pip install "chainrule[plot]"\n' and not streams.out
    assert not os.listdir(tmp_path)


def test_plot(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    assert cli.main(["demo", "--epochs", "2", "--seeds", "1", "--plot", str(picture)]) == 0
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and f"wrote {picture}" in capsys.readouterr().out
    for name, message in (
        ("no folder/out.png", "there is no such folder"),
        ("out.xyz", "cannot write .xyz; choices: "),
    ):
        assert cli.main(["demo", "--plot", str(tmp_path / name)]) == 1
        assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["out.png"]


def test_a_plot_that_cannot_be_is_refused_before_training(capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    os.mkdir("d.png")
    for name, message in (
        (".", "this is a folder; name a picture in it, such as demo.png"),
        ("", "this is a folder"),
        ("d.png", f"this is a folder; name a picture in it, such as {os.path.join('d.png', 'demo.png')}"),
        ("d.png/", "this is a folder"),
        ("dd.png/", "this is a folder"),
        ("noext", "the name must end in the kind of picture, such as noext.png"),
        (".png", "the name must end in the kind of picture, such as .png.png"),
    ):
        assert cli.main(["demo", "--plot", name]) == 1
        streams = capsys.readouterr()
        assert streams.err.startswith(f"chainrule demo: --plot {name}: {message}") and not streams.out
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cli.main(["demo", "--plot", "out.png"]) == 1
    assert capsys.readouterr().err == "chainrule demo: --plot out.png: it may not be written\n"
    assert os.listdir() == ["d.png"] and not os.listdir("d.png")


def test_a_plot_that_fails_after_all_leaves_the_figures(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    if not os.path.exists("/dev/full"):
        pytest.skip("no full disk at hand")
    (tmp_path / "out.png").symlink_to("/dev/full")
    assert cli.main(["demo", "--epochs", "2", "--seeds", "1", "--plot", str(tmp_path / "out.png")]) == 1
    streams = capsys.readouterr()
    assert "lowest test accuracy" in streams.out and "wrote" not in streams.out
    assert streams.err.startswith("chainrule demo: --plot: [Errno 28]")


def test_ctrl_c_ends_the_demo_without_a_traceback(monkeypatch, capsys):
    from chainrule import demo

    def interrupted(**settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().out == "\nstopped\n"


@pytest.mark.skipif(os.name != "posix", reason="needs pipes as on Unix")
def test_nobody_reads_on():
    shell = f'"{sys.executable}" -m chainrule demo --epochs 5 --seeds 3 | head -n 1'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_show_config(capsys):
    facts = cr.show_config("dict")
    assert set(facts) == {
        "version",
        "compiler",
        "isa",
        "isas_built",
        "isas_supported",
        "threads",
        "processors",
        "numpy",
    }
    assert "scalar" in facts["isas_built"] and set(facts["isas_supported"]) <= set(facts["isas_built"])
    assert cr.show_config() is None
    assert f"version         {cr.__version__}\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"^mode 'dic' is unknown; did you mean 'dict'\? choices: stdout, dict$"):
        cr.show_config("dic")


def test_the_header_is_shipped():
    include = cr.get_include()
    with open(os.path.join(include, "chainrule_functions.inc.h"), encoding="utf-8") as header:
        assert "cr_network_train_step" in header.read()
    assert os.path.exists(os.path.join(os.path.dirname(include), "chainrule.pxd"))
    assert os.path.exists(os.path.join(os.path.dirname(include), "py.typed"))
