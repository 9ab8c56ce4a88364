"""Builds the C library and its binding as one extension, chainrule._core. Metadata: pyproject.toml.

Environment variables: CHAINRULE_SANITIZE=address builds with the address and undefined-behaviour
sanitizers, =thread with the thread sanitizer,
CHAINRULE_COVERAGE=1 with coverage counters. A cross build names its target in _PYTHON_HOST_PLATFORM.
"""

import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CSRC = Path("csrc")
API = Path("src", "chainrule", "include")  # of the extension: it includes Python.h, so it is not in csrc
PUBLIC_HEADERS = [CSRC / name for name in ("chainrule.h", "chainrule_functions.inc.h", "chainrule_kernels.inc.h")]
HEADERS = sorted(str(path) for folder in (CSRC, API) for path in folder.rglob("*.h"))

# One abi3 wheel serves every CPython from 3.11 on; free-threaded ones refuse it and get their own.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")
SANITIZE = {"": "", "address": "address,undefined", "thread": "thread"}[os.environ.get("CHAINRULE_SANITIZE", "")]
COVERAGE = os.environ.get("CHAINRULE_COVERAGE", "") == "1"

# The contract of bits: no contraction of a*b+c. No errno from sqrt: it costs a branch and a call. No debug
# information, which the interpreter's own flags ask for and stripping throws away.
UNIX_FLAGS = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
if sys.platform != "win32":
    UNIX_FLAGS += ["-pthread"]  # mingw would link its winpthread library, and csrc takes the system's threads
if sys.platform.startswith("linux") and not (SANITIZE or COVERAGE):
    # 60 kB of tables that only unwinders of C++ exceptions and some profilers read.
    UNIX_FLAGS += ["-fno-asynchronous-unwind-tables"]
# gcc makes second copies of loops for strides of 1, which rows hardly ever have: 56 kB. Other compilers do not know it.
GCC_FLAGS = ["-fno-version-loops-for-strides"]
MSVC_FLAGS = ["/O2", "/fp:precise", "/std:c11", "/experimental:c11atomics"]
# A 32-bit x86 compiler would otherwise use x87 registers, which round twice.
if struct.calcsize("P") == 4 and platform.machine().lower() in ("i386", "i586", "i686", "x86", "x86_64", "amd64"):
    UNIX_FLAGS += ["-msse2", "-mfpmath=sse"]
    MSVC_FLAGS += ["/arch:SSE2"]
# Outside the targets no loop is worth -O3, which makes the code a sixth longer. (-Os: a third shorter, but then a call
# of the binding takes 17 ns more.) Nor are vectors: one of two words that were just stored waits for both stores (7 ns
# of a prediction's 120).
CALM_FLAGS = ["-O2", "-fno-tree-slp-vectorize"]
INSTRUMENT_FLAGS = (
    ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=undefined"]
    if SANITIZE
    else ["-O1", "-g", "--coverage"]
    if COVERAGE
    else []
)


def choose_one_mac_architecture():
    """A universal Python compiles for two processors at once, which per-file flags cannot serve."""
    if sys.platform == "darwin" and sysconfig.get_platform().endswith(("universal2", "intel")):
        flags = os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}").split()
        names = [name for flag, name in pairwise(flags) if flag == "-arch"]
        if len(names) != 1:
            raise SystemExit("chainrule builds for one architecture at a time: set ARCHFLAGS='-arch arm64' or x86_64")
        version = sysconfig.get_platform().split("-")[1]
        os.environ.setdefault("_PYTHON_HOST_PLATFORM", f"macosx-{version}-{names[0]}")


def architecture():
    """The processor built for, as targets.txt calls it: "linux-aarch64", "win-amd64" end in it."""
    cross = os.environ.get("_PYTHON_HOST_PLATFORM")
    name = (cross or sysconfig.get_platform()).rpartition("-")[2].lower()
    if not cross and struct.calcsize("P") == 4:
        return "32-bit"  # a 32-bit Python on a 64-bit kernel: linux-x86_64 is the kernel's name
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def targets(msvc):
    """(name, flags) of each target in targets.txt that this architecture has."""
    chosen = []
    for line in (CSRC / "targets.txt").read_text(encoding="utf-8").splitlines():
        fields = line.split("#")[0].split()
        if fields:
            name, architectures, unix_flags, msvc_flags = fields
            if architectures == "*" or architecture() in architectures.split(","):
                flags = msvc_flags if msvc else unix_flags
                chosen.append((name, [] if flags == "-" else flags.split(",")))
    return chosen


def accepted(command, flags):
    """`flags` if the compiler takes them, else none."""
    probe = [*command, *flags, "-E", "-x", "c", os.devnull]
    try:
        return flags if subprocess.run(probe, capture_output=True, check=False).returncode == 0 else []
    except OSError as error:
        raise SystemExit(
            f"chainrule is built from source here, which needs a C compiler, and {command[0]} cannot be run "
            f"({error.strerror}). Debian, Ubuntu: apt install gcc libc6-dev"
        ) from None


class BuildExt(build_ext):
    """Compiles csrc, each target with its own flags, and links it with the Cython module."""

    def build_extension(self, ext):
        from Cython.Build import cythonize

        msvc = self.compiler.compiler_type == "msvc"
        built = targets(msvc)
        have = [(f"CR_HAVE_{name.upper()}", "1") for name, _ in built]
        flags = MSVC_FLAGS if msvc else UNIX_FLAGS + INSTRUMENT_FLAGS + accepted(self.compiler.compiler_so, GCC_FLAGS)
        if architecture() == "s390x":  # where -std=c11 has gcc compute float in double
            flags = [*flags, "-fexcess-precision=fast"]
        calm = [] if msvc or SANITIZE or COVERAGE else CALM_FLAGS
        jobs = [(path, calm) for folder in (CSRC, CSRC / "network") for path in sorted(folder.glob("*.c"))]
        jobs += [(CSRC / "targets" / f"{name}.c", own) for name, own in built]
        # The targets include every kernel twice and take longest: start them first.
        jobs.reverse()

        def compile_one(job):
            path, own = job
            return self.compiler.compile(
                [str(path)],
                output_dir=self.build_temp,
                macros=have,
                include_dirs=[str(CSRC)],
                extra_postargs=flags + own,
                depends=HEADERS,
            )

        if msvc and not self.compiler.initialized:
            self.compiler.initialize()  # not safe to leave to two threads at once
        with ThreadPoolExecutor(self.parallel or 2) as pool:
            objects = [name for names in pool.map(compile_one, jobs) for name in names]

        [module] = cythonize([ext], build_dir=str(Path(self.build_temp, "cython")), include_path=["src"])
        ext.sources = module.sources
        ext.extra_objects = objects
        ext.extra_compile_args = flags + calm
        if SANITIZE or COVERAGE:
            ext.extra_link_args = [f"-fsanitize={SANITIZE}" if SANITIZE else "--coverage"]
        elif not msvc:
            threads = [flag for flag in UNIX_FLAGS if flag == "-pthread"]
            ext.extra_link_args = threads + (["-s"] if sys.platform.startswith("linux") else [])
        super().build_extension(ext)


class BuildPy(build_py):
    """Puts the public headers into the package, as chainrule/include/; they live in csrc only.

    An editable installation is the source folder itself: there they are links, which git and sdists leave out.
    """

    def _copies(self):
        folder = Path(self.build_lib, "chainrule", "include")
        return [] if self.editable_mode else [(header, folder / header.name) for header in PUBLIC_HEADERS]

    def run(self):
        if not self.editable_mode:  # or a wheel would hold what an earlier build left and the sources no longer have
            shutil.rmtree(Path(self.build_lib, "chainrule"), ignore_errors=True)
        super().run()
        for source, copy in self._copies():
            self.mkpath(str(copy.parent))
            copy.unlink(missing_ok=True)  # of a link in the source folder, which may look newer
            self.copy_file(str(source), str(copy))
        if self.editable_mode:
            for header in PUBLIC_HEADERS:
                link_header(header, API / header.name)

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [str(copy) for _, copy in self._copies()]


def link_header(header, link):
    """A symbolic link, or where the system gives none a file that includes the header: neither grows old."""
    path = Path(os.path.relpath(header, link.parent))
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(path)
    except OSError:  # Windows without developer mode
        link.write_text(f'#include "{path.as_posix()}"\n', encoding="utf-8")


def numpy_include():
    import numpy

    return numpy.get_include()


choose_one_mac_architecture()
setup(
    ext_modules=[
        Extension(
            "chainrule._core",
            ["src/chainrule/_core.pyx"],
            include_dirs=[str(CSRC), str(API), numpy_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("CR_API_PROVIDER", "1")]
            + ([("Py_LIMITED_API", "0x030B0000")] if ABI3 else []),
            depends=HEADERS + sorted(str(path) for path in Path("src/chainrule").glob("*.px[di]")),
            py_limited_api=ABI3,
        )
    ],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
