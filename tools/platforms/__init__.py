"""The families of platforms of crosscheck: a module each, with check(shop, table, quick)."""

from types import ModuleType

from . import emulated, free_threaded, linux_aarch64, linux_x86_64, macos, musl, portable, windows

# Long ones first: they run two at a time.
FAMILIES: dict[str, ModuleType] = {
    "linux-aarch64": linux_aarch64,
    "linux-x86_64": linux_x86_64,
    "free-threaded": free_threaded,
    "windows": windows,
    "musl": musl,
    "macos": macos,
    "emulated": emulated,
    "portable": portable,
}
