# SPDX-License-Identifier: MIT
"""A scratch tree of fake programs around the real script that judges them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

CONFORMANCE = Path(__file__).resolve().parent.parent
TOTAL = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


def tap(*results: str, planned: int | None = None) -> str:
    """What Criterion writes for these results, as lines of a shell script."""
    lines = ["TAP version 13", f"1..{len(results) if planned is None else planned}", "# Criterion v2.4.1"]
    return "cat <<'END_OF_TAP'\n" + "\n".join([*lines, *results]) + "\nEND_OF_TAP\n"


def ok(name: str) -> str:
    return f"ok - {name}  (0.00s)"


def not_ok(name: str) -> str:
    return f"not ok - {name}  (0.00s)"


def skip(name: str, why: str) -> str:
    return f"ok - {name}  # SKIP {why}"


def has_ended(pid_file: Path) -> bool:
    """Whether that process ends, in time enough for any machine; a zombie has."""
    stat = Path("/proc", pid_file.read_text().strip(), "stat")
    for _ in range(1200):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


class Tree(unittest.TestCase):
    """Holds the script under test by a link, so that it finds the fakes beside it."""

    script = ""  # its path in conformance/

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="verdict."))
        self.addCleanup(shutil.rmtree, self.root)
        for real in (self.script, "tap.sh", "limited.sh"):
            link = self.root / "conformance" / real
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(CONFORMANCE / real)

    def write(self, path: str, body: str) -> None:
        """A shell script; every call of it appends its arguments to PATH.calls in calls/."""
        file, calls = self.root / path, self.calls_of(path)
        for folder in (file.parent, calls.parent):
            folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "$*" >>"{calls}"\n{body}\n')
        file.chmod(0o755)

    def calls_of(self, path: str) -> Path:
        return self.root / "calls" / path

    def calls(self, path: str) -> list[str]:
        file = self.calls_of(path)
        return file.read_text().splitlines() if file.exists() else []

    def judge(self, *args: str, **env: str) -> None:
        """Runs the script: sets self.said, self.status, and self.total of the last line."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "TEST_", "VMSTREAM_"))}
        done = subprocess.run(
            [str(self.root / "conformance" / self.script), "build", *args],
            cwd=self.root,
            env=clean | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.said, self.status = done.stdout.decode(), done.returncode
        last = TOTAL.fullmatch(self.said.splitlines()[-1]) if self.said else None
        self.assertIsNotNone(last, f"the last line is not the total:\n{self.said}")
        self.total = tuple(int(n) for n in last.groups())

    def must(self, passed: int, failed: int, skipped: int = 0) -> None:
        """The total, and the exit status that goes with it."""
        self.assertEqual(self.total, (passed, failed, skipped), self.said)
        self.assertEqual(self.status, 1 if failed else 0, self.said)
