"""The table of chainrule_api.h: complete, versioned, and good enough for the examples built against it."""

import ctypes
import hashlib
import importlib.util
import math
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "c_api"
INCLUDE = Path(cr.get_include())

# Digest of what a module compiled against the table relies on. When this test fails, raise CR_API_VERSION in
# chainrule_api.h and note version and digest here: modules built against the old table are then refused.
API = (4, "62d308ca453069b1")


def without_comments(text):
    return " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split())


def functions():
    text = without_comments((INCLUDE / "chainrule_functions.inc.h").read_text(encoding="utf-8"))
    kernels = without_comments((INCLUDE / "chainrule_kernels.inc.h").read_text(encoding="utf-8"))
    names = set(re.findall(r"\bcr_(\w+)\(", text))
    return names | {f"{op}_{dtype}" for op in re.findall(r"CR_NAME\((\w+)\)\(", kernels) for dtype in ("f32", "f64")}


def test_the_table_names_every_function_of_the_header():
    header = (INCLUDE / "chainrule_api.h").read_text(encoding="utf-8")
    assert set(re.findall(r"^#define cr_(\w+) CR_THROUGH\(\1\)$", header, re.MULTILINE)) == functions()


def test_no_entry_of_the_table_is_missing():
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(_core._api, b"chainrule._core._api")
    assert ctypes.c_int.from_address(address).value == API[0]
    entries = (ctypes.c_void_p * (2 + len(functions()))).from_address(address)
    assert all(entries[1:])


def test_the_version_of_the_table_changes_with_it():
    names = ("chainrule.h", "chainrule_functions.inc.h", "chainrule_kernels.inc.h")
    text = " ".join(without_comments((INCLUDE / name).read_text(encoding="utf-8")) for name in names)
    text = re.sub(r'#define CR_VERSION "[^"]*"', "", text)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == API[1]


def test_the_declarations_for_cython_name_every_function():
    text = (ROOT / "src" / "chainrule" / "chainrule.pxd").read_text(encoding="utf-8")
    declared = set(re.findall(r"^ {4}(?!ctypedef)[^#\n]*?\bcr_(\w+)\(", text, re.MULTILINE))
    assert declared == functions()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    compiler = (sysconfig.get_config_var("CC") or "").split()
    if sys.platform != "win32" and not (compiler and shutil.which(compiler[0])):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("c_api") / "c_api"
    shutil.copytree(EXAMPLES, folder)
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=folder, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr

    def load(name):
        [path] = [path for path in folder.glob(f"{name}.*") if path.suffix in (".so", ".pyd")]
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return {name: load(name) for name in ("rollout", "classify")}


def test_a_cython_module_calls_a_network(examples):
    policy = cr.Sequential([cr.Dense(8, "tanh"), cr.Dense(1)], seed=3)
    policy.build(2)
    angle, speed = 0.1, 0.0
    for _ in range(50):
        torque = float(policy.predict(np.array([[angle, speed]], np.float32))[0, 0])
        speed += 0.02 * (9.81 * math.sin(angle) + torque)
        angle += 0.02 * speed
    # Compilers may fuse the example's a * b + c. A rounding of float32 grows with exp(sqrt(9.81) t): 23 in a second.
    assert examples["rollout"].swing(policy, 0.1, 0.0, 50) == pytest.approx((angle, speed), rel=50 * 23 * 2**-24)


def test_a_c_module_calls_a_network(examples):
    model = cr.Sequential([cr.Dense(16, "relu"), cr.Dense(5)], seed=1)
    model.build(7)
    x = np.random.default_rng(0).normal(size=(33, 7)).astype(np.float32)
    found = np.frombuffer(examples["classify"].classes(model, x, 7, 5), np.int32)
    np.testing.assert_array_equal(found, model.predict(x).argmax(1))


@pytest.mark.parametrize("name", ["rollout", "classify"])
def test_what_has_no_network_is_refused(examples, name):
    def call(model):
        if name == "rollout":
            return examples[name].swing(model, 0.0, 0.0, 1)
        return examples[name].classes(model, np.zeros((1, 2), np.float32), 2, 1)

    with pytest.raises(TypeError, match="Sequential, got list"):
        call([])
    with pytest.raises(ValueError, match="no native network"):
        call(cr.Sequential([cr.Dense(1)]))


@pytest.mark.parametrize(("dtype", "n_in", "match"), [
    ("float64", 3, "dtype of the model must be float32, got float64"),
    ("float32", 2, "n_in of the model must be 2, got 3"),
])  # fmt: skip
def test_a_c_module_refuses_a_model_that_its_arrays_do_not_fit(examples, dtype, n_in, match):
    model = cr.Sequential([cr.Dense(4)], dtype=dtype)
    model.build(3)
    with pytest.raises(ValueError, match=match):
        examples["classify"].classes(model, np.ones((12, n_in), np.float32), n_in, 4)


@pytest.mark.parametrize(("x", "error", "match"), [
    (np.ones((12, 3)), ValueError, r"^x must be a float32 array of shape \(n, 3\), got format d, 2 dimensions, 3 col"),
    (np.ones((12, 3), np.int32), ValueError, "got format i, 2 dimensions, 3 columns"),
    (np.ones((12, 3), np.dtype(np.float32).newbyteorder()), ValueError, "got format [<>]f, "),
    (np.ones(12, np.float32), ValueError, "got format f, 1 dimensions, 12 columns"),
    (np.float32(1), ValueError, "got format f, 0 dimensions, 0 columns"),
    (np.ones((9, 4), np.float32), ValueError, "got format f, 2 dimensions, 4 columns"),
    (bytes(36), ValueError, "got format B, 1 dimensions, 36 columns"),
    (np.ones((3, 12), np.float32).T, ValueError, "not C-contiguous"),
    ([[1.0, 2.0, 3.0]], TypeError, "bytes-like"),
])  # fmt: skip
def test_a_c_module_takes_only_rows_of_float32(examples, x, error, match):
    model = cr.Sequential([cr.Dense(4)])
    model.build(3)
    with pytest.raises(error, match=match):
        examples["classify"].classes(model, x, 3, 4)


def test_a_c_module_takes_no_rows(examples):
    model = cr.Sequential([cr.Dense(4)])
    model.build(3)
    assert examples["classify"].classes(model, np.ones((0, 3), np.float32), 3, 4) == b""
