"""Who may know whom: the rules of ARCHITECTURE.md, read from the files themselves."""

import ast
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC, PACKAGE = ROOT / "csrc", ROOT / "src" / "chainrule"

LONGEST_FILE = 600
LONGEST_TARGET = 40
WIDEST_LINE = 120


def c_files(folder, *, tests=False):
    files = [path for pattern in ("*.c", "*.h") for path in sorted((CSRC / folder).rglob(pattern))]
    return [path for path in files if tests or "tests" not in path.relative_to(CSRC).parts]


def code(path):
    """The file without comments and string contents, so that a word in a sentence breaks no rule."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line if line.lstrip().startswith("#") else re.sub(r'"[^"\n]*"', '""', line) for line in text.split("\n")]
    return "\n".join(lines)


def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"][^>"]+[>"])', code(path), flags=re.MULTILINE)


def name(path):
    return path.relative_to(ROOT).as_posix()


INTRINSIC = re.compile(
    r"\b(_mm\d*_\w+|__m(?:128|256|512)\w*|__builtin_ia32_\w+|"
    r"v(?:ld|st|fm|add|sub|mul|div|dup|get|set|max|min|abs|neg|sqrt|bsl|c[gl][te]|ceq|and|orr|eor|mvn|sh|trn|zip|"
    r"reinterpret)\w*_[fsu](?:8|16|32|64)\b|"
    r"(?:float|u?int)(?:32x4|64x2)_t|\w*mmintrin\.h|arm_neon\.h)"
)
# Not arithmetic: the floating-point mode of the thread, and the hint for a spinning core.
NOT_ARITHMETIC = {
    "csrc/cpu.h": {"_mm_getcsr", "_mm_setcsr", "xmmintrin.h"},
    "csrc/portability.h": {"_mm_pause", "__builtin_ia32_pause"},
}


@pytest.mark.parametrize("path", [p for p in c_files(".") if p.parent.name != "simd"], ids=name)
def test_intrinsics_live_in_simd_only(path):
    found = set(INTRINSIC.findall(code(path))) - NOT_ARITHMETIC.get(name(path), set())
    assert not found, f"{name(path)} uses {sorted(found)}"


def test_the_pattern_for_intrinsics_finds_them():
    for path in c_files("simd"):
        assert (INTRINSIC.search(code(path)) is not None) == (path.name != "scalar.h"), path.name


@pytest.mark.parametrize("path", c_files("simd"), ids=name)
def test_simd_knows_nothing_of_ours(path):
    ours = {file for file in includes(path) if file.startswith('"')}
    assert ours <= {'"../portability.h"'}


KERNEL_INCLUDES = {"<math.h>", "<float.h>", "<stdint.h>", "<stddef.h>", "<assert.h>"}
KERNEL_HEADERS = {"../portability.h", "../philox.h", "../kernel_table.h"}
# Rounding, absolute value and the constants of math.h are exact everywhere; the rest of libm is not.
LIBM = r"(?:exp|exp2|expm1|log|log2|log10|log1p|pow|tanh|sinh|cosh|sin|cos|tan|erf|erfc|cbrt|hypot|tgamma)[fl]?"
FORBIDDEN_IN_KERNELS = {
    "allocation": r"\b(?:malloc|calloc|realloc|free|alloca|aligned_alloc)\s*\(",
    "input or output": r"\b(?:[fs]?n?printf|puts|fopen|fwrite|fputs)\s*\(",
    "threads": r"\b(?:pthread_\w+|atomic_\w+|_Atomic|thread_local|CR_THREAD_LOCAL|cr_parallel_for)\b",
    "an ISA condition": r"#\s*(?:el)?if.*(?:__AVX|__SSE|__FMA|__ARM|__aarch64|__x86_64|_M_X64|_M_ARM|CR_ISA)",
    "libm": rf"(?<![\w(]){LIBM}\s*\(",
    "a global variable": r"^static\s+(?!inline\b|const\b)[\w\s*]+(?:\[\w*\])*\s*(?:=|;)",
}


@pytest.mark.parametrize("path", c_files("kernels"), ids=name)
def test_kernels_only_compute(path):
    for what, pattern in FORBIDDEN_IN_KERNELS.items():
        found = re.search(pattern, code(path), flags=re.MULTILINE)
        assert found is None, f"{name(path)}: {what}: {found.group(0)!r}"
    for file in includes(path):
        inside = (path.parent / file[1:-1]).is_file() and "/" not in file
        assert inside or file in KERNEL_INCLUDES or file[1:-1] in KERNEL_HEADERS, f"{name(path)} includes {file}"


@pytest.mark.parametrize("path", c_files("targets"), ids=name)
def test_targets_are_free_of_logic(path):
    text = code(path)
    assert len(text.splitlines()) <= LONGEST_TARGET
    assert not re.search(r"\b(?:if|for|while|do|switch|return|goto)\b|^\w[\w\s*]*\([^;]*\)\s*\{", text, re.MULTILINE)
    vocabularies = [file for file in includes(path) if file.startswith('"../simd/')]
    assert vocabularies == [f'"../simd/{path.stem}.h"'], "a target speaks one vocabulary, that of its name"
    kernels = [file for file in includes(path) if file.startswith('"../kernels/')]
    assert kernels == ['"../kernels/all.inc.h"'] * 2, "all kernels, once per dtype"


def test_every_vocabulary_has_a_target_and_a_line_in_the_table():
    table = (CSRC / "targets.txt").read_text(encoding="utf-8")
    listed = {line.split()[0] for line in table.splitlines() if line.strip() and not line.startswith("#")}
    assert {p.stem for p in c_files("simd")} == {p.stem for p in c_files("targets")} == listed


def of_setup(folder, machine):
    """`targets` of setup.py, which cannot be imported, with the table of this folder and for this machine."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    names = ("architecture", "targets")
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    known = {"CSRC": folder, "os": os, "struct": struct, "sysconfig": sysconfig}
    exec(compile(ast.Module(wanted, []), "setup.py", "exec"), known)
    return [target for target, _ in known["targets"](msvc=False)]


def of_makefile(folder, machine):
    shutil.copy(CSRC / "Makefile", folder)
    made = subprocess.run(["make", "-pn", "-C", folder, f"ARCH={machine}"], capture_output=True, text=True)
    return re.search(r"^TARGETS := (.*)$", made.stdout, re.MULTILINE).group(1).split()


def of_portable(folder, machine):
    import platforms.portable

    return [target for target, _ in platforms.portable.targets(folder, machine)]


@pytest.mark.parametrize("read", [of_setup, of_makefile, of_portable], ids=["setup.py", "Makefile", "portable.py"])
@pytest.mark.parametrize(("machine", "there"), [("amd64", "a b d"), ("arm64", "a c d")])
def test_all_who_read_the_table_of_targets_agree(read, machine, there, tmp_path, monkeypatch):
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", f"win-{machine}")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    if read is of_makefile and (shutil.which("make") is None or shutil.which("awk") is None):
        pytest.skip("no make")
    lines = (
        "# one",
        "",
        "a * - -",
        "b x86_64 -mb - # two",
        " c aarch64 - -",
        "d s390x,x86_64,aarch64 -d,-e -",
        "e s390x - -",
    )
    (tmp_path / "targets.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    assert read(tmp_path, machine) == there.split()


@pytest.mark.parametrize("path", [p for p in c_files(".") if p.parent.name not in ("kernels", "targets")], ids=name)
def test_only_targets_see_vocabularies_and_kernels(path):
    for file in includes(path):
        assert "simd/" not in file, f"{name(path)} includes {file}"
        assert "kernels/" not in file or Path(file[1:-1]).name in ("dtype.h", "dtype_end.h"), file


@pytest.mark.parametrize("path", c_files(".", tests=True), ids=name)
def test_no_python_in_the_c_library(path):
    assert not re.search(r"\bPython\.h|\bPy[A-Z_]\w+|\bnumpy/", code(path))


GNU_ONLY = re.compile(r"\b(__attribute__|__builtin_\w+|__asm__|__thread|__extension__|__int128|(?:__)?typeof)\b|\(\{")
# Registers that no intrinsic reaches, beside the intrinsics of Microsoft's compiler that do.
REGISTERS = {"csrc/cpu.h": {"__asm__"}, "csrc/cpu.c": {"__asm__"}}


@pytest.mark.parametrize("path", [p for p in c_files(".") if p.name != "portability.h"], ids=name)
def test_what_only_gnu_compilers_know_stands_in_portability_h(path):
    found = {match.group() for match in GNU_ONLY.finditer(code(path))} - REGISTERS.get(name(path), set())
    assert not found, f"{name(path)} uses {sorted(found)}"


def test_no_compiler_flag_lets_results_differ():
    for path in [ROOT / "setup.py", CSRC / "Makefile", CSRC / "targets.txt"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"fast-math|-Ofast|fp:fast|unsafe-math|-march=native|fopenmp", text), path
    for path in [ROOT / "setup.py", CSRC / "Makefile"]:
        assert "-ffp-contract=off" in path.read_text(encoding="utf-8"), path


# -- Python ------------------------------------------------------------------------------------------------


def python_files():
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """(absolute module name, whether it happens when the file is imported), for every import statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ["chainrule", *path.relative_to(PACKAGE).parts[:-1]]

    def visit(node, at_import):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            ):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, at_import
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) + 1 - child.level] if child.level else []
                base = [*base, child.module] if child.module else base
                for alias in child.names:
                    full = ".".join([*base, alias.name])
                    yield (full if is_module(full) else ".".join(base)), at_import
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, at_import and not function)

    return list(visit(tree, True))


def is_module(full):
    path = PACKAGE.joinpath(*full.split(".")[1:])
    if not full.startswith("chainrule."):
        return False
    return full == "chainrule._core" or path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def own(full):
    """The module's name inside the package: model for chainrule.model, '' for chainrule itself; else None."""
    return full.partition(".")[2] if full.split(".")[0] == "chainrule" else None


# What each file of C above the kernels may know of the others; its own header, and parts that it is made of, too.
C_ROOMS = {
    "activations.c": {"chainrule.h"},
    "common.c": {"kernel_table.h"},
    "cpu.c": set(),
    "dispatch.c": {"cpu.h", "kernel_table.h", "team.h"},
    "random.c": {"cpu.h", "kernel_table.h"},
    "pace.c": {"team.h"},
    "team.c": {"cpu.h", "portability.h"},
    "arrays.c": {"cpu.h", "kernel_table.h", "pace.h", "team.h"},
    "network/network.c": {"cpu.h", "team.h"},
    "network/network_f32.c": {"team.h"},
    "network/network_f64.c": {"team.h"},
    "network/network.h": {"kernel_table.h", "pace.h"},
    "kernel_table.h": {"chainrule.h", "philox.h"},
    "chainrule.h": set(), "cpu.h": {"portability.h"}, "exact_fma.h": {"portability.h"}, "pace.h": set(),
    "philox.h": {"portability.h"}, "portability.h": {"exact_fma.h"}, "team.h": set(),
}  # fmt: skip


def test_c_knows_only_what_is_below():
    files = {path.relative_to(CSRC).as_posix() for folder in (CSRC, CSRC / "network") for path in folder.glob("*.[ch]")}
    assert {file for file in files if not file.endswith(".inc.h")} == set(C_ROOMS)
    for file, allowed in C_ROOMS.items():
        path = CSRC / file
        known = {path.parent.joinpath(inside[1:-1]).resolve() for inside in includes(path) if inside.startswith('"')}
        names = {inside.relative_to(CSRC).as_posix() for inside in known}
        own = {file.removesuffix(".c") + ".h", "network/network.h" if file.startswith("network/") else file}
        others = {one for one in names if not one.endswith(".inc.h") and not one.startswith("kernels/")} - own
        assert others <= allowed, f"{file} includes {sorted(others - allowed)}"


# From the user's end to the C end; a file may import from its own line and from those below it.
ROOMS = """
__main__
cli
demo selftest
gradient_check
io
model
_foundation training summary
rows
layerwise
layers
_layer
_data metrics callbacks run
losses optimizers
schedules initializers kernels
activations _updates
_arrays _describe config progress data numpy_twin
_checks
_core
_specs
"""
# Conveniences that reach up when they are called, not when they are imported: model.save(path).
REACHES_UP = {("model", "io")}
RANK = {module: rank for rank, line in enumerate(reversed(ROOMS.split("\n"))) for module in line.split()}


@pytest.mark.parametrize("path", [p for p in python_files() if module_of(p)], ids=name)
def test_python_knows_only_what_is_below(path):
    room = module_of(path).split(".")[0]
    assert room in RANK, f"{room} has no place in ROOMS"
    for full, at_import in imports(path):
        below = (own(full) or "").split(".")[0]
        if below and (at_import or (room, below) not in REACHES_UP):
            assert RANK[below] <= RANK[room], f"{name(path)} imports {full}"


def test_python_has_no_import_cycle():
    graph = {}
    for path in python_files():
        below = {own(full) for full, at_import in imports(path) if at_import}
        graph[module_of(path)] = below - {None, "", module_of(path)}
    TopologicalSorter({module: below for module, below in graph.items() if module}).prepare()


@pytest.mark.parametrize("path", python_files(), ids=name)
def test_only_numpy_is_needed_to_import(path):
    for full, at_import in imports(path):
        top = full.split(".")[0]
        if at_import and own(full) is None:
            assert top == "numpy" or top in sys.stdlib_module_names, f"{name(path)} imports {top} when imported"
        assert top != "sklearn", f"{name(path)} imports scikit-learn"


def test_the_binding_knows_the_c_header_and_numpy_only():
    files = [PACKAGE / "_core.pyx", *PACKAGE.glob("_core*.pxi")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    cimported = re.findall(r"^\s*(?:from\s+(\S+)\s+cimport|cimport\s+(\S+))", text, flags=re.MULTILINE)
    allowed = {"chainrule", "chainrule.chainrule", ".chainrule", ".", "numpy", "cython", "libc", "cpython"}
    for module in (first or second for first, second in cimported):
        assert module in allowed or module.split(".")[0] in {"libc", "cpython"}, module
    # _specs.py holds the named tuples that stand for C structs, and nothing else
    imported = re.findall(r"^\s*(?:from\s+([.]\S*|chainrule\S*)\s+import|import\s+(chainrule\S*))", text, re.MULTILINE)
    assert {first or second for first, second in imported} <= {"._specs"}
    header = (PACKAGE / "chainrule.pxd").read_text(encoding="utf-8")
    assert set(re.findall(r'extern from "([^"]+)"', header)) == {"chainrule_api.h"}


# -- every file --------------------------------------------------------------------------------------------

SUFFIXES = {".c", ".h", ".py", ".pyi", ".pyx", ".pxi", ".pxd", ".md"}


def test_no_file_is_too_long():
    folders = [CSRC, PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "tools"]
    files = [p for folder in folders for p in folder.rglob("*") if p.suffix in SUFFIXES and p.name != "_core.c"]
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


@pytest.mark.parametrize("path", [path for path in c_files(".", tests=True) if "build" not in path.parts], ids=name)
def test_no_line_of_c_is_too_wide(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [i for i, line in enumerate(lines, 1) if len(line) > WIDEST_LINE] == []
