"""How large a wheel may be: the promise of README.md, for every tool that makes one."""

import zipfile
from pathlib import Path

LARGEST_WHEEL, LARGEST_INSTALLED = 1_000_000, 2_000_000  # bytes; each must be less


def check_sizes(wheel: Path) -> tuple[int, int]:
    """The bytes of a wheel, packed and unpacked; a ValueError if they are too many."""
    size = wheel.stat().st_size
    with zipfile.ZipFile(wheel) as archive:
        installed = sum(info.file_size for info in archive.infolist())
    if size >= LARGEST_WHEEL:
        raise ValueError(f"{wheel.name} has {size:,} bytes, less than {LARGEST_WHEEL:,} are promised")
    if installed >= LARGEST_INSTALLED:
        raise ValueError(f"{wheel.name} unpacks to {installed:,} bytes, less than {LARGEST_INSTALLED:,} are promised")
    return size, installed
