"""CPythons that nobody has a download of, compiled from Debian's sources in the cache."""

import os
from collections.abc import Mapping
from pathlib import Path

from .workshop import Workshop


def install_from_source(
    shop: Workshop,
    package: str,
    suite: str,
    prefix: Path,
    *options: str,
    log: str,
    env: Mapping[str, str] | None = None,
) -> None:
    """configure, make, make install of a Debian source package; `env` is what configure is told."""
    tree = shop.sources(f"{log}-{package}", shop.debian_source(package, suite))
    shop.run(["./configure", f"--prefix={prefix}", *options], log=log, cwd=tree, env=env)
    shop.run(["make", "-s", f"-j{os.cpu_count()}"], log=log, cwd=tree)
    shop.run(["make", "-s", "install"], log=log, cwd=tree)


def build_python(
    shop: Workshop, version: str, suite: str, log: str, *options: str, env: Mapping[str, str] | None = None
) -> Path:
    """The interpreter, compiled in the cache without what only its own tests need."""
    with shop.lock(log):
        folder, there = shop.cached(log, version)
        if not there:
            lean = ["-q", "--disable-test-modules", "--without-ensurepip", "CFLAGS=-O1"]
            install_from_source(shop, f"python{version}", suite, folder, *lean, *options, log=log, env=env)
            shop.finish(folder, version)
        return folder / "bin" / f"python{version}{'t' if '--disable-gil' in options else ''}"
