"""Build chainrule for every platform that this machine can build for, run what it can run, say what it did.

    python tools/crosscheck.py                    all platforms, under half an hour on two idle cores
    python tools/crosscheck.py --quick            the part that every change is checked with
    python tools/crosscheck.py --only windows     some of them; --list names them
    python tools/crosscheck.py --work DIR         keep downloads, compilers and other Pythons there

Everything is made from one sdist of this checkout: what is not in the sdist is not there. What is missing on
the machine is installed if that can be done (virtual environments; Debian packages, for root), and a
row of the table says "skipped" and why otherwise. The exit status is 1 if any row failed.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from platforms import FAMILIES
from platforms.table import Table
from platforms.workshop import Workshop


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the part that every change is checked with")
    parser.add_argument("--only", action="append", choices=list(FAMILIES), help="this family of platforms; repeatable")
    parser.add_argument("--list", action="store_true", help="name the families of platforms and stop")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir(), "chainrule-crosscheck"),
        help="folder for downloads, other Pythons, logs and wheels; what can be kept is kept (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="families of platforms at a time (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to a file, too")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    if options.list:
        for name, family in FAMILIES.items():
            print(f"{name:16}{(family.__doc__ or '').partition(chr(10))[0]}")
        return 0
    shop = Workshop(Path(__file__).resolve().parent.parent, options.work.resolve())
    table = Table(shop.logs)
    chosen = [family for name, family in FAMILIES.items() if not options.only or name in options.only]
    with table.row("sources", tested="sdist holds all that follows") as row:
        row.result = shop.make_sdist()
    if table.failures():
        return 1
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for done in [pool.submit(family.check, shop, table, quick=options.quick) for family in chosen]:
            done.result()
    print(f"\n{table.markdown()}\n")
    for line in table.summary():
        print(line)
    if options.markdown:
        options.markdown.write_text(table.markdown() + "\n", encoding="utf-8")
    return 1 if table.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
