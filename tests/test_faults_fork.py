"""Children that train after parallel work in their parent, many threads at one model, and sub-interpreters."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from children import data, train, train_into
from models import compiled, counts, everything, weight_bits
from tools import EMULATED

import chainrule as cr

SECONDS = 5  # what a child may take: the promise. A busy machine has ten times that; a child that hangs has not.


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# Python 3.12 and later warn of a fork in a process with threads; that it goes well is what is tested.
with_threads = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def has_helpers():
    """Whether this process, which has one Python thread, has threads of the library; True where nobody can say (an
    emulator's own threads are in the list).
    """
    tasks = "/proc/self/task"
    return EMULATED or not os.path.isdir(tasks) or len(os.listdir(tasks)) == 3


@needs_fork
@with_threads
@counts(20, 200)
def test_children_of_fork_train(count):
    """The parent trains in three threads of the library and, at the same time, in another Python thread."""
    expected, going = train(), True
    x, _ = data()
    model = cr.Sequential([cr.Dense(2048, "tanh"), cr.Dense(10)], seed=1)  # wide enough to be split among threads
    model.build(128)

    def predict():
        while going:
            model.predict(x)

    thread = threading.Thread(target=predict)
    thread.start()
    slowest = 0.0
    try:
        for _ in range(count):
            assert train() == expected
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                signal.alarm(10 * SECONDS)
                os._exit(int(train() != expected) + 2 * (not has_helpers()))
            _, status = os.waitpid(child, 0)
            assert not os.WIFSIGNALED(status), "killed by the alarm"
            assert status == 0, {1: "other bits", 2: "no threads"}.get(os.waitstatus_to_exitcode(status), status)
            slowest = max(slowest, time.monotonic() - start)
    finally:
        going = False
        thread.join()
    assert slowest < 10 * SECONDS
    print(f"os.fork: {count} children, the slowest took {slowest:.2f} s")


@with_threads
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@counts(2, 200)
def test_children_of_multiprocessing_train(method, count):
    context = multiprocessing.get_context(method)
    expected = train()
    queue, slowest = context.Queue(), 0.0
    for _ in range(count):
        assert train() == expected
        start = time.monotonic()
        child = context.Process(target=train_into, args=(queue,))
        child.start()
        result = queue.get(timeout=10 * SECONDS)
        child.join(10 * SECONDS)
        assert child.exitcode == 0 and result == expected
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 10 * SECONDS
    print(f"{method}: {count} children, the slowest took {slowest:.2f} s")


@counts(3, 40)
def test_sixteen_threads(count):
    """All predict with one model while each of them fits its own."""
    shared, x = compiled(everything(), dtype="float32"), np.sin(np.arange(1500.0)).reshape(300, 5).astype("f4")
    expected, wrong, trained = shared.predict(x).tobytes(), [], {}
    barrier = threading.Barrier(16)

    def work(i):
        barrier.wait()
        model = compiled(everything(), "adam", dtype="float32", seed=7)
        for epoch in range(count):
            model.fit(x, np.arange(300) % 4, epochs=epoch + 1, initial_epoch=epoch, batch_size=50)
            for _ in range(5):
                if shared.predict(x).tobytes() != expected or shared(x).tobytes() != expected:
                    wrong.append(i)
        trained[i] = weight_bits(model)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(trained) == 16 and len(set(trained.values())) == 1


@counts(30, 2000)
def test_of_two_fits_on_one_model_one_is_refused(count):
    """Whichever comes first trains, bit for bit as if it were alone; the other is told why it does not."""
    x, y = np.sin(np.arange(1000.0)).reshape(200, 5), np.arange(200) % 3
    for i in range(count):
        model, alone, said = compiled(), compiled(), []
        barrier = threading.Barrier(4)

        def work(model=model, barrier=barrier, said=said):
            barrier.wait()
            try:
                model.fit(x, y, epochs=3, batch_size=2)
                said.append(None)
            except RuntimeError as error:
                said.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refusals = [text for text in said if text is not None]
        assert set(refusals) <= {"fit: this model is already training, in another thread or around this call"}
        for _ in range(4 - len(refusals)):  # those that came one after the other
            alone.fit(x, y, epochs=3, batch_size=2)
        assert weight_bits(model) == weight_bits(alone) and len(refusals) < 4, i


SUBINTERPRETER = """
import sys
{before}
try:
    import _interpreters as interpreters
    run = lambda code: interpreters.exec(interpreters.create(), code)
except ImportError:
    import _xxsubinterpreters as interpreters
    run = lambda code: interpreters.run_string(interpreters.create(), code)
code = '''
try:
    import chainrule as cr
except ImportError as error:
    with open({path!r}, "w") as file:
        file.write("ImportError: " + str(error))
else:
    import numpy as np
    model = cr.Sequential([cr.Dense(2)])
    model.compile("sgd", "squared_error")
    model.train_step(np.ones((3, 2), "f4"), np.ones((3, 2), "f4"))
    with open({path!r}, "w") as file:
        file.write("works")
'''
run(code)
try:
    import chainrule as cr
except ImportError as error:
    assert "interpreter" in str(error).lower()  # the first interpreter of the process that asks has the module
else:
    cr.Sequential([cr.Dense(2)]).build(3)
print("well")
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the module is CPython's")
@pytest.mark.skipif(sys.platform == "win32", reason="under wine NumPy in a sub-interpreter does not come to its end")
@pytest.mark.parametrize("before", ["", "import chainrule"], ids=["first there", "after the main one"])
def test_sub_interpreters_are_told_or_work(before, tmp_path):
    path = tmp_path / "said"
    code = SUBINTERPRETER.format(before=before, path=path.as_posix())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    said = path.read_text()
    # NumPy, which comes first, may refuse or only warn.
    assert said == "works" or (said.startswith("ImportError: ") and "interpreter" in said), said
    assert done.returncode == 0 and done.stdout.strip() == "well", done.stderr
