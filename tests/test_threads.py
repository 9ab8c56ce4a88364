"""The number of threads, the environment that sets it, the instruction set by name, and fork."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from models import weight_bits
from tools import EMULATED

import chainrule as cr
from chainrule import _core


@pytest.fixture(autouse=True)
def threads_as_before():
    before = cr.get_num_threads()
    yield
    cr.set_num_threads(before)


def large_model():
    """One whose steps are worth several threads."""
    model = cr.Sequential([cr.Dense(512, "relu"), cr.Dense(10)], seed=3)
    model.compile("adam", "softmax_cross_entropy")
    model.build(256)
    return model


def batch(n_rows=256):
    x = np.sin(np.arange(n_rows * 256, dtype="f8")).astype("f4").reshape(n_rows, 256)
    return x, np.arange(n_rows) % 10


def python(code, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in
             ("CHAINRULE_NUM_THREADS", "OMP_NUM_THREADS", "CHAINRULE_ISA")}  # fmt: skip
    return subprocess.run([sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True,
                          timeout=120)  # fmt: skip


# -- the interpreter's lock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum_squares", "count_not_finite", "penalty"])
def test_long_looks_at_an_array_let_other_threads_run(name):
    n = 4_000_000
    x = np.ones(n)
    network = _core.Network(n, [cr.Dense(1, use_bias=False, l2=0.1).core_spec()], x, np.ones(n), None, 0)
    look = network.penalty if name == "penalty" else lambda: getattr(_core, name)(x)
    began, done = threading.Event(), []

    def work():
        began.set()
        look()
        done.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(100.0)  # no thread loses the lock but by giving it up
    try:
        for _ in range(20):  # this thread may be woken late, but not every time
            thread = threading.Thread(target=work)
            thread.start()
            began.wait(60)
            ran = not done
            thread.join(60)
            began.clear()
            done.clear()
            if ran:
                break
    finally:
        sys.setswitchinterval(interval)
    assert ran


# -- the limit -----------------------------------------------------------------------------------------------------


def test_set_and_get():
    for n in (1, 2, 7, np.int64(3)):
        cr.set_num_threads(n)
        assert cr.get_num_threads() == n
    cr.set_num_threads(None)
    default = cr.get_num_threads()
    assert default >= 1
    with cr.num_threads(5):
        assert cr.get_num_threads() == 5
        with cr.num_threads(2):
            assert cr.get_num_threads() == 2
        assert cr.get_num_threads() == 5
    assert cr.get_num_threads() == default


def test_the_limit_comes_back_after_an_exception():
    cr.set_num_threads(3)
    with pytest.raises(KeyError), cr.num_threads(1):
        raise KeyError
    assert cr.get_num_threads() == 3


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (2**31, ValueError), (1.5, TypeError),
                                            ("2", TypeError), (True, TypeError)])  # fmt: skip
def test_bad_limits_change_nothing(bad, error):
    cr.set_num_threads(3)
    match = rf"^n must be an integer >= 1 and <= 2147483647, got {bad!r}$"
    with pytest.raises(error, match=match):
        cr.set_num_threads(bad)
    with pytest.raises(error, match=match), cr.num_threads(bad):
        pass
    assert cr.get_num_threads() == 3


def test_the_limit_may_change_during_training():
    x, y = batch()
    steady, changing = large_model(), large_model()
    for n in (1, 4, 2, 3, 1, 4):
        cr.set_num_threads(n)
        changing.train_step(x, y)
        with cr.num_threads(1):
            steady.train_step(x, y)
    assert weight_bits(steady) == weight_bits(changing)


@pytest.mark.skipif(
    sys.platform != "linux" or EMULATED, reason="needs Linux's list of threads, in which an emulator has one of its own"
)
def test_work_is_split_when_it_is_worth_it():
    """One thread of the system a thread of the limit; none for small work."""
    code = """
import os
import numpy as np, chainrule as cr
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
cr.set_num_threads(3)
small = cr.Sequential([cr.Dense(4)])
small.build(3)
small.predict(np.ones((5, 3)))
between = count()
large = cr.Sequential([cr.Dense(512, "relu"), cr.Dense(512)])
large.build(512)
large.predict(np.ones((512, 512)))
print(between - before, count() - before)
"""
    done = python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout.split() == ["0", "2"], done.stderr


# -- the environment -------------------------------------------------------------------------------------------------

PRINT = "import chainrule as cr; print(cr.get_num_threads(), end=' '); cr.set_num_threads(9); " \
        "cr.set_num_threads(None); print(cr.get_num_threads())"  # fmt: skip


@pytest.mark.parametrize(("environment", "expected"), [
    ({"CHAINRULE_NUM_THREADS": "3"}, "3 3"),
    ({"CHAINRULE_NUM_THREADS": " 5 "}, "5 5"),
    ({"OMP_NUM_THREADS": "4,2"}, "4 4"),
    ({"CHAINRULE_NUM_THREADS": "3", "OMP_NUM_THREADS": "7"}, "3 3"),
    ({"CHAINRULE_NUM_THREADS": ""}, None),
    ({"OMP_NUM_THREADS": "many"}, None),
])  # fmt: skip
def test_environment(environment, expected):
    done = python(PRINT, **environment)
    assert done.stdout.strip() == (expected or f"{_core.cpu_count()} {_core.cpu_count()}") and not done.stderr


@pytest.mark.parametrize("bad", ["0", "-2", "two", "1.5"])
def test_a_bad_number_in_the_environment_is_named_and_ignored(bad):
    done = python(PRINT, CHAINRULE_NUM_THREADS=bad)
    assert done.returncode == 0 and done.stdout.strip() == f"{_core.cpu_count()} {_core.cpu_count()}"
    assert f"RuntimeWarning: CHAINRULE_NUM_THREADS={bad!r} is not a positive integer and is ignored" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_the_default_respects_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); import chainrule as cr; print(cr.get_num_threads())"
    assert python(code).stdout.strip() == "1"


# -- the instruction set -----------------------------------------------------------------------------------------------


def test_an_isa_by_name():
    for isa in _core.isas_supported():
        for name in (isa, isa.upper()):
            done = python("import chainrule as cr; print(cr.show_config('dict')['isa'])", CHAINRULE_ISA=name)
            assert done.stdout.strip() == isa, done.stderr
    done = python("import chainrule as cr; print(cr.show_config('dict')['isa'])", CHAINRULE_ISA="")
    assert done.stdout.strip() == _core.isas_supported()[-1]


@pytest.mark.parametrize("name", ["avx1024", "sse2", "neon" if "neon" not in _core.isas_supported() else "avx2"])
def test_an_isa_that_is_not_here_is_an_import_error(name):
    done = python("import chainrule", CHAINRULE_ISA=name)
    choices = ", ".join(_core.isas_supported())
    built = ", ".join(_core.isas_built())
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: CHAINRULE_ISA: instruction set {name!r} is not available here; choose one of: {choices}"
        f" (this build has: {built})"
    )


# -- other threads, and fork -------------------------------------------------------------------------------------------


def test_python_threads_that_all_want_the_team():
    """Models of their own in several Python threads, each step large enough to be split."""
    x, y = batch()
    expected = large_model()
    for _ in range(3):
        expected.train_step(x, y)
    results = {}

    def work(i):
        model = large_model()
        for _ in range(3):
            model.train_step(x, y)
        results[i] = weight_bits(model)

    with cr.num_threads(3):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert set(results.values()) == {weight_bits(expected)} and len(results) == 4


FORK = """
import os, signal, sys, warnings
import numpy as np, chainrule as cr

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads about; that is the point
cr.set_num_threads(3)
x = np.sin(np.arange(256 * 256, dtype="f8")).astype("f4").reshape(256, 256)
y = np.arange(256) % 10

def make():
    model = cr.Sequential([cr.Dense(512, "relu"), cr.Dense(10)], seed=3)
    model.compile("adam", "softmax_cross_entropy")
    return model

model = make()
model.fit(x, y, batch_size=128)          # the team exists
child = os.fork()
if child == 0:
    signal.alarm(60)
    model.fit(x, y, epochs=2, initial_epoch=1, batch_size=128)
    other = make()
    other.train_step(x, y)
    grandchild = os.fork()
    if grandchild == 0:
        model.train_step(x, y)
        os._exit(0)
    _, status = os.waitpid(grandchild, 0)
    digest = model.parameters.tobytes()
    with open(sys.argv[1], "wb") as file:
        file.write(digest)
    os._exit(0 if status == 0 else 3)
model.fit(x, y, epochs=2, initial_epoch=1, batch_size=128)  # at the same time as the child
_, status = os.waitpid(child, 0)
assert status == 0, status
with open(sys.argv[1], "rb") as file:
    assert file.read() == model.parameters.tobytes()
model.train_step(x, y)
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_trains_after_fork(tmp_path):
    """The team's threads do not live on in a child; it must make its own, and get the parent's bits."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "bits")], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "well", done.stderr


def test_leaving_python_with_a_team_at_work_is_clean():
    code = """
import threading
import numpy as np, chainrule as cr
cr.set_num_threads(3)
model = cr.Sequential([cr.Dense(512, "relu"), cr.Dense(512)])
model.build(512)
x = np.ones((512, 512), "f4")
def work():
    while True:
        model.predict(x)
threading.Thread(target=work, daemon=True).start()
model.predict(x)
"""
    done = python(code)
    assert done.returncode == 0 and not done.stderr


# -- where helpers run -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two processors"
)
def test_a_helper_that_was_woken_keeps_off_the_callers_processor():
    done = python(
        "import os, time, numpy as np, chainrule as cr\n"
        "cr.set_num_threads(2)\n"
        "model = cr.Sequential([cr.Dense(512, 'relu'), cr.Dense(10)], seed=3)\n"
        "model.build(256)\n"
        "x = np.ones((256, 256), 'f4')\n"
        "for _ in range(20):\n"
        "    model.predict(x)\n"
        "    time.sleep(0.01)\n"
        "own = os.sched_getaffinity(0)\n"
        "others = [os.sched_getaffinity(int(task)) for task in os.listdir('/proc/self/task')]\n"
        "print([len(own - other) for other in others if other < own])\n",
        OPENBLAS_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1]\n"
