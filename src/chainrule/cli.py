"""The `chainrule` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import _core
from .config import show_config

__all__ = ["main"]


def _whole(at_least: int, at_most: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds, for argparse."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not at_least <= value <= at_most:
            message = f"expected a whole number from {at_least} to {at_most}, got {text!r}"
            raise argparse.ArgumentTypeError(message)
        return value

    return parse


def _demo(arguments: argparse.Namespace) -> int:
    from . import demo

    return demo.run(
        epochs=arguments.epochs,
        seed=arguments.seed,
        seeds=arguments.seeds,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
        plot=arguments.plot,
    )


def _info(arguments: argparse.Namespace) -> int:
    show_config()
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from . import selftest

    try:
        return selftest.run(arguments.write)
    except OSError as error:
        if arguments.write is None:
            raise
        print(f"--write: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chainrule", description="Train and serve dense neural networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"chainrule {_core.VERSION}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train on real handwritten digits, beside the same training in NumPy",
        description="Train a 64-128-10 network on the UCI optical digits, and compare accuracy, time per "
        "epoch and final weights with chainrule/numpy_twin.py: the same arithmetic on the same batches.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--epochs", type=_whole(1, 10_000), default=20, metavar="N", help="epochs of each training")
    demo.add_argument("--seed", type=_whole(0, 2**63), default=0, metavar="S", help="first seed")
    demo.add_argument("--seeds", type=_whole(1, 1000), default=3, metavar="N", help="how many seeds, from the first")
    demo.add_argument("--batch-size", type=_whole(1, 100_000), default=32, metavar="N", help="rows of one step")
    demo.add_argument("--threads", type=_whole(1, 1024), default=1, metavar="N", help="threads of chainrule, at most")
    demo.add_argument("--plot", metavar="FILE", help="write learning curves and confusion to this picture")
    demo.set_defaults(command=_demo)

    info = commands.add_parser("info", help="show version, compiler, instruction sets, threads")
    info.set_defaults(command=_info)

    selftest = commands.add_parser(
        "selftest",
        help="check that this machine computes the published bits",
        description="Run a fixed list of computations on every instruction set of this processor and compare the "
        "bits of all results with the published ones. The exit status is 1 if any differ.",
    )
    selftest.add_argument("--write", metavar="FILE", help="write this machine's hashes to a file instead of comparing")
    selftest.set_defaults(command=_selftest)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status. Wrong arguments end in SystemExit(2), as argparse does it."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        print()
        return _info(arguments)
    try:
        status: int = arguments.command(arguments)
    except KeyboardInterrupt:
        print("\nstopped")
        return 128 + 2  # as a shell reports SIGINT
    except BrokenPipeError:  # chainrule demo | head: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # SIGPIPE
    return status
