"""The benchmark room: it draws the same networks for a seed, checks results before it times, and says what it measured.

No time is looked at here but for being one.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def room(*arguments: str) -> str:
    """What `python -m benchmarks` prints; it must exit with 0."""
    # One processor is enough, and the room's children must not wait for what this process's helpers do.
    environment = {**os.environ, "CHAINRULE_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def listed(*arguments: str) -> list[str]:
    return room("--list", *arguments).splitlines()


def test_random_networks_are_those_of_the_seed():
    first = listed("--random", "4", "--seed", "1")
    assert first == listed("--random", "4", "--seed", "1")
    assert first != listed("--random", "4", "--seed", "2")
    assert len(first) == 4 * 5  # a step, an epoch and three predictions of each


def test_lists_what_a_pattern_selects():
    cases = listed("--cases", "steps: .*4-16-1 ")
    assert cases and all("train_step 4-16-1 b" in case for case in cases)


def test_a_pattern_that_is_none_is_refused(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import __main__ as commands

    with pytest.raises(SystemExit) as stop:
        commands.main(["--cases", "["])
    assert stop.value.code == 2
    assert "argument --cases: '[' is no regular expression: unterminated character set" in capsys.readouterr().err


def test_a_block_begins_with_a_reset_and_a_call_that_are_not_timed(monkeypatch):
    """A fresh optimizer's memory is given out when its first step touches it."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import rivals, worker

    done = []
    monkeypatch.setattr(worker.time, "perf_counter_ns", lambda: done.append("clock") or len(done))

    class Run:
        def reset(self):
            done.append("reset")

        def repeat(self, calls):
            done.append(calls)

    player = worker.Local(rivals.RIVALS["chainrule"], "float32", 1)
    player._run = Run()
    player.measure(3)
    assert done == ["reset", 1, "clock", 3, "clock"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("room")
    room("--random", "1", "--seed", "3", "--rivals", "numpy_careful", "--rounds", "2", "--block-ms", "1", "--no-pin",
         "--no-peak", "--out", str(out))  # fmt: skip
    return out / "results.json"


def test_measures_what_is_right(results):
    run = json.loads(results.read_text())
    assert [case["unit"] for case in run["cases"]] == ["step", "step", "call", "call", "call"]
    for case in run["cases"]:
        assert set(case["results"]) == set(case["error_over_bound"]) == {"chainrule", "numpy_careful"}
        assert not case["wrong"] and all(error <= 1 for error in case["error_over_bound"].values())
        assert all(result["ns"]["median"] > 0 for result in case["results"].values())
        assert case["results"]["chainrule"]["ratio"]["median"] == 1


def test_sums_up_and_compares(results):
    summary = room("summary", str(results))
    assert "| NumPy, careful | 5 |" in summary
    assert "faster, slower" in room("compare", str(results), str(results))


def test_two_processors_are_placed_by_their_rates_and_the_time_one_way(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.processors import Look

    assert Look((0.52, 0.55), 25.0).place == "one core"
    assert Look((0.98, 0.83), 40.0).place == "cores that share a cache"
    assert Look((0.55, 1.0), 30.0).place == "cores that share a cache"  # the first one was disturbed
    assert Look((1.0, 1.0), 180.0).place == "cores that share no cache"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are pinned on Linux alone")
def test_one_processor_alone_is_refused(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import processors

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert processors.main([]) == 1
    assert capsys.readouterr().out == "not measured: this process may use one processor, 5\n"


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2 or shutil.which("cc") is None,
    reason="wants Linux, two processors and a C compiler",
)
def test_looks_at_two_processors():
    lines = room("processors", "--rests", "2", "--rest-ms", "1").splitlines()
    assert lines[0].startswith("alone: ") and all("ns one way" in line for line in lines[1:3])
    assert sum(int(line.split()[0]) for line in lines[3:]) == 2  # "1 of 2: one core", ..
