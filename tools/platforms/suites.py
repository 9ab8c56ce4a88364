"""Running the tests: pytest and the selftest on some Python, the C tests on some processor."""

import os
import re
from pathlib import Path

from .table import Failure, Row
from .workshop import Workshop

TEST_PACKAGES = ["pytest>=8", "hypothesis>=6.100"]


def pytest(shop: Workshop, python: Path, tree: Path, *, log: str) -> str:
    """Run the Python tests of the tree; the counts."""
    output = shop.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], log=log, cwd=tree)
    match = re.search(r"^(\d+ passed.*) in [\d.]+s", output, re.MULTILINE)
    if match is None or " failed" in match.group(1):
        raise Failure(f"pytest gave no result (see logs/{log}.log)")
    return match.group(1)


def selftest(shop: Workshop, python: Path, *, log: str) -> str:
    """The golden hashes; the last line of `chainrule selftest`."""
    output = shop.run([python, "-m", "chainrule", "selftest"], log=log)
    return output.strip().splitlines()[-1]


def facts(shop: Workshop, python: Path, *, log: str) -> dict[str, str]:
    """Versions and the instruction set, as the interpreter itself sees them."""
    code = (
        "import platform, numpy, chainrule; from chainrule import _core; "
        "print('facts', platform.python_version(), numpy.__version__, platform.machine(), _core.isa())"
    )
    output = shop.run([python, "-c", code], log=log)
    [line] = [line for line in output.splitlines() if line.startswith("facts ")]
    return dict(zip(["python", "numpy", "machine", "isa"], line.split()[1:], strict=True))


def python_tests(
    shop: Workshop, row: Row, python: Path, name: str, *, log: str, by: str, suite: bool = True, isa: str = ""
) -> None:
    """Fill a row with the golden hashes and, unless `suite` is false, the suite's counts, run by `python`.

    `by` says by what, with {python} and {numpy} for the versions found; `isa` must have been chosen, if given.
    """
    seen = facts(shop, python, log=log)
    row.by = by.format(**seen)
    if isa and seen["isa"] != isa:
        raise Failure(f"ran with {seen['isa']} on {seen['machine']}, not {isa}")
    row.result = f"isa {seen['isa']}; {selftest(shop, python, log=log)}"
    if suite:
        row.result += f"; {pytest(shop, python, shop.sources(name), log=log)}"


def c_tests(
    shop: Workshop,
    tree: Path,
    *,
    log: str,
    cc: str,
    arch: str,
    extra: str = "",
    runner: str = "",
    isas: str = "",
    without: str = "",
) -> str:
    """Build the C tests of the tree, all but `without`, and run them; how many programs there were.

    `isas` names the instruction sets that the processor has, where /proc/cpuinfo speaks of another one. Emulated
    tests run in their short form: fused multiply-adds in software are slow.
    """
    env = {"CR_TEST_QUICK": "1"} if runner else {}
    if isas:
        env["CR_ISAS"] = isas
    variables = [
        "BUILD=build",
        f"CC={cc}",
        f"ARCH={arch}",
        f"EXTRA={extra} -Werror",
        f"RUN={runner}",
        f"WITHOUT={without}",
    ]
    command: list[str | Path] = ["make", "-s", f"-j{os.cpu_count()}", "-C", tree / "csrc", "test", *variables]
    output = shop.run(command, log=log, env=env, timeout=1800)
    programs = re.findall(r"^== \S*?(test_\w+)", output, re.MULTILINE)
    if not programs:
        raise Failure(f"no C test ran (see logs/{log}.log)")
    told = f"{len(programs)} C test programs{' in short form' if 'CR_TEST_QUICK' in env else ''}"
    return f"{told}, not {without}" if without else told
