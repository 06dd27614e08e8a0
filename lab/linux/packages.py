"""Debian packages, downloaded and unpacked into the cache and never installed.

apt-get gets package lists of its own in the cache, so neither root nor the machine's lists are needed; only what is
installed already is looked up in the machine's own database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import OperatorError

LISTS_SECONDS = 3600.0
Say = Callable[[str], None]
"""Tells the operator what takes time."""


def cache_directory() -> Path:
    """Where downloads and what is built from them are kept. Raises OperatorError."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmbus-lab"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"cannot make {directory} ({error.strerror}): set XDG_CACHE_HOME") from None
    return directory


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages of this machine's Debian."""

    cache: Path
    say: Say

    def unpacked(self, key: str, choose: Callable[[], list[str]]) -> Path:
        """The directory into which the packages that ``choose`` names are unpacked; made once for each ``key``.

        ``choose`` runs when the lists are fresh. Raises OperatorError if apt cannot help.
        """
        directory = self.cache / key
        if directory.is_dir():
            return directory
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise OperatorError(
                f"{key} is fetched as Debian packages, and there is no apt-get here: use a machine with Debian"
            )
        self._update()
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            new = Path(scratch, "root")
            new.mkdir(mode=0o755)
            names = choose()
            self.say(f"fetching {key}: {len(names)} packages")
            self._apt("-q", "download", *names, cwd=scratch)
            for package in Path(scratch).glob("*.deb"):
                _run(["dpkg-deb", "-x", str(package), str(new)])
            try:
                new.rename(directory)
            except OSError:
                if not directory.is_dir():  # else somebody else has been quicker
                    raise
        return directory

    def dependency(self, package: str) -> str:
        """What a package that is only a name for another one depends on."""
        for line in self._apt_cache("depends", package).splitlines():
            if line.strip().startswith("Depends: linux-image-"):
                return line.split()[1]
        raise OperatorError(f"apt knows no package {package}: use a machine with Debian, or its repositories")

    def missing(self, package: str) -> list[str]:
        """The package and everything that it needs and this machine does not have."""
        plan = self._apt("-q", "--simulate", "--no-install-recommends", "install", package)
        return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]

    # --- apt ----------------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        """Lists of yesterday name packages that the servers may not have any more."""
        apt = self.cache / "apt"
        stamp = apt / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_SECONDS:
            return
        self.say("fetching package lists")
        for directory in ("lists", "archives"):
            (apt / directory / "partial").mkdir(parents=True, exist_ok=True)
        self._apt("-q", "update")
        stamp.touch()

    def _options(self) -> list[str]:
        apt = self.cache / "apt"
        return [
            *("-o", f"Dir::State::Lists={apt / 'lists'}"),
            *("-o", f"Dir::Cache={apt}"),
            *("-o", "APT::Sandbox::User="),
        ]

    def _apt(self, *words: str, cwd: str | None = None) -> str:
        return _run(["apt-get", *self._options(), *words], cwd)

    def _apt_cache(self, *words: str) -> str:
        return _run(["apt-cache", *self._options(), *words])


def _run(command: list[str], cwd: str | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise OperatorError(f"'{command[0]}' failed: {reason}")
    return done.stdout
