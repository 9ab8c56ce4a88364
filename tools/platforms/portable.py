"""Microsoft's compiler's view of the C code, for amd64 and arm64: clang in its place, and no GNU extension."""

import shutil
from pathlib import Path

from .table import Failure, Skip, Table
from .workshop import Workshop

# -Wgnu names every GNU extension. What Microsoft's language adds is fine here: portability.h uses it on purpose.
FLAGS = ["-std=c11", "-fsyntax-only", "-fms-extensions", "-fms-compatibility-version=19.40", "-nostdlibinc"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wgnu", "-Wno-language-extension-token", "-Werror"]
TRIPLES = {"amd64": "x86_64-pc-windows-msvc", "arm64": "aarch64-pc-windows-msvc"}
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
# What the sources make of their own tests for the compiler: clang's side of them, and that of cl.exe.
READINGS = {"clang-cl": [], "cl.exe": ["-U__clang__", "-U__GNUC__"]}

# Microsoft's headers may not be passed on. These declare what the library uses of them, as their documentation does;
# clang brings the headers that belong to a compiler, with the intrinsics.
STAND_INS = {
    "assert.h": "#define assert(expression) ((void)0)\n",
    "math.h": """
#define NAN (__builtin_nanf("0"))
#define INFINITY (__builtin_inff())
#define HUGE_VAL (__builtin_inf())
double fabs(double), sqrt(double), fma(double, double, double), floor(double), ceil(double), rint(double);
double ldexp(double, int), frexp(double, int *), copysign(double, double), nearbyint(double), trunc(double);
float fabsf(float), sqrtf(float), fmaf(float, float, float), floorf(float), ceilf(float), rintf(float);
float ldexpf(float, int), copysignf(float, float), nearbyintf(float), truncf(float);
#define isnan(x) ((x) != (x))
#define isinf(x) (__builtin_isinf(x))
#define isfinite(x) (__builtin_isfinite(x))
#define signbit(x) (__builtin_signbit(x))
""",
    "stdlib.h": """
#include <stddef.h>
void *malloc(size_t), *calloc(size_t, size_t), *realloc(void *, size_t);
void free(void *);
void *_aligned_malloc(size_t, size_t);
void _aligned_free(void *);
void *bsearch(const void *, const void *, size_t, size_t, int (*)(const void *, const void *));
void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
void abort(void);
""",
    "malloc.h": "#include <stdlib.h>\n",
    "stdio.h": "#include <stddef.h>\ntypedef struct _iobuf FILE;\nint snprintf(char *, size_t, const char *, ...);\n",
    "string.h": """
#include <stddef.h>
void *memcpy(void *, const void *, size_t), *memmove(void *, const void *, size_t), *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t), strcmp(const char *, const char *);
size_t strlen(const char *);
""",
    "setjmp.h": "typedef struct { double part[32]; } jmp_buf[1];\n",  # clang's intrin.h wants it
    "windows.h": """
#define WINAPI __stdcall
#define INFINITE 0xFFFFFFFF
#define STACK_SIZE_PARAM_IS_A_RESERVATION 0x00010000
typedef unsigned long DWORD, ULONG;
typedef int BOOL;
typedef void *HANDLE, *LPVOID, *PVOID;
typedef union { long long QuadPart; } LARGE_INTEGER;
typedef struct { PVOID Ptr; } SRWLOCK, CONDITION_VARIABLE;
typedef struct { DWORD dwPageSize, dwNumberOfProcessors; } SYSTEM_INFO;
typedef DWORD(WINAPI *LPTHREAD_START_ROUTINE)(LPVOID);
void InitializeSRWLock(SRWLOCK *), AcquireSRWLockExclusive(SRWLOCK *), ReleaseSRWLockExclusive(SRWLOCK *);
void InitializeConditionVariable(CONDITION_VARIABLE *), WakeConditionVariable(CONDITION_VARIABLE *);
BOOL SleepConditionVariableSRW(CONDITION_VARIABLE *, SRWLOCK *, DWORD, ULONG);
BOOL QueryPerformanceCounter(LARGE_INTEGER *), QueryPerformanceFrequency(LARGE_INTEGER *), CloseHandle(HANDLE);
HANDLE CreateThread(void *, size_t, LPTHREAD_START_ROUTINE, LPVOID, DWORD, DWORD *);
typedef size_t DWORD_PTR;
void GetSystemInfo(SYSTEM_INFO *);
HANDLE GetCurrentProcess(void);
BOOL GetProcessAffinityMask(HANDLE, DWORD_PTR *, DWORD_PTR *);
""",
}


def check(shop: Workshop, table: Table, *, quick: bool) -> None:
    del quick  # it takes seconds
    headers = shop.work / "sources" / "msvc-headers"
    headers.mkdir(exist_ok=True)
    for name, text in STAND_INS.items():
        (headers / name).write_text(text, encoding="ascii")
    for machine, triple in TRIPLES.items():
        for reading, flags in READINGS.items():
            with table.row(f"Windows {machine}", built=f"clang --target={triple}", tested=f"read as {reading}") as row:
                shop.install("clang")
                clang = shutil.which("clang")
                if clang is None:
                    raise Skip("clang not found")
                csrc = shop.sources(f"portable-{machine}-{reading}") / "csrc"
                command = [clang, f"--target={triple}", *FLAGS, *WARNINGS, "-isystem", str(headers), *flags]
                row.result = compile_all(shop, csrc, command, machine)


def targets(csrc: Path, machine: str) -> list[tuple[str, str]]:
    """(name, gcc flags) of each target in targets.txt that this machine has; as setup.py and csrc/Makefile read it."""
    chosen = []
    for line in (csrc / "targets.txt").read_text(encoding="utf-8").splitlines():
        if fields := line.split("#")[0].split():
            name, architectures, flags, _ = fields
            if architectures == "*" or ARCHITECTURES[machine] in architectures.split(","):
                chosen.append((name, flags))
    return chosen


def compile_all(shop: Workshop, csrc: Path, command: list[str], machine: str) -> str:
    """Read every source with the flags of targets.txt; how many there were."""
    sources = [(path, "-") for path in sorted([*csrc.glob("*.c"), *csrc.glob("network/*.c")])]
    sources += [(csrc / "targets" / f"{name}.c", flags) for name, flags in targets(csrc, machine)]
    # As setup.py defines them.
    have = [f"-DCR_HAVE_{path.stem.upper()}=1" for path, _ in sources if path.parent.name == "targets"]
    errors = []
    for source, flags in sources:
        own = [] if flags == "-" else flags.split(",")
        try:
            shop.run([*command, *have, *own, f"-I{csrc}", source], log=f"portable-{machine}", cwd=csrc)
        except Failure:
            errors.append(source.relative_to(csrc).as_posix())
    if errors:
        raise Failure(f"{', '.join(errors)} do not compile (see logs/portable-{machine}.log)")
    return f"{len(sources)} sources, no warning, no GNU extension"
