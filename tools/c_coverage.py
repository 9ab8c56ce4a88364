"""Lines of the C library that ran: python tools/c_coverage.py FOLDER... [--at-least 95]

Reads what a build with --coverage left in the folders (.gcno, .gcda), merges it line by line (a kernel is compiled
once per dtype and instruction set: a line ran if it ran in one of them) and prints each file's share and its lines
that never ran. Ends with 1 if the whole is below the least share.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

CSRC = Path(__file__).resolve().parent.parent / "csrc"


def executions(folders):
    """{file: {line: how often it ran}} of the library's own files."""
    files = defaultdict(lambda: defaultdict(int))
    for folder in folders:
        for counts in sorted(Path(folder).resolve().rglob("*.gcda")):
            command = [os.environ.get("GCOV", "gcov"), "--json-format", "--stdout", str(counts)]
            text = subprocess.run(command, cwd=CSRC, check=True, capture_output=True, text=True).stdout
            for part in text.splitlines():
                data = json.loads(part)
                for file in data["files"]:
                    path = Path(os.path.normpath(Path(data["current_working_directory"], file["file"])))
                    if path.is_relative_to(CSRC) and path.relative_to(CSRC).parts[0] not in ("tests", "fuzz"):
                        for line in file["lines"]:
                            files[path.relative_to(CSRC).as_posix()][line["line_number"]] += line["count"]
    return files


def ranges(numbers):
    """ "3-5, 9" of [3, 4, 5, 9]."""
    parts = []
    for n in numbers:
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--at-least", type=float, default=95.0)
    options = parser.parse_args()
    files = executions(options.folders)
    if not files:
        sys.exit(f"no counts in {' '.join(options.folders)}")
    n_ran = n_all = 0
    for name, lines in sorted(files.items()):
        missed = sorted(number for number, count in lines.items() if count == 0)
        n_all += len(lines)
        n_ran += len(lines) - len(missed)
        print(f"{100 * (1 - len(missed) / len(lines)):6.1f} %  {name}  {'never: ' + ranges(missed) if missed else ''}")
    share = 100 * n_ran / n_all
    print(f"{share:6.1f} %  of {n_all} lines in {len(files)} files")
    sys.exit(share < options.at_least)


if __name__ == "__main__":
    main()
