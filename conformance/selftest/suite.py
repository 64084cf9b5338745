# SPDX-License-Identifier: MIT
"""The suite, run against one tree until the first thing that fails."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from tree import PROGRAMS

HERE = os.path.dirname(os.path.abspath(__file__))
CAUGHT = ("FAIL", "XPASS", "TIMEOUT")  # ERROR is the engine's own, WARN and SKIP catch nothing
PROGRAM_SECONDS = 120
ARGUMENTS = {"sim": ["--runs", "300", "--seed", "1"]}
# Cells that fail without a bug, too: they have seen none.
IGNORED = set()
LIVE = set()  # processes that were started and have not been stopped


class Ended(Exception):
    """The time for a bug is up."""


def start(args, **more):
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL, start_new_session=True, **more)
    LIVE.add(process)
    return process


def stop(process):
    """The process and what it has started; certify ends its cells itself when it is asked to."""
    LIVE.discard(process)
    for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sign)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def lines_of(path, at):
    """The whole lines of the journal from octet `at` on, and where the next begin."""
    try:
        with open(path, "rb") as f:
            f.seek(at)
            data = f.read()
    except FileNotFoundError:
        return [], at
    end = data.rfind(b"\n") + 1
    return [json.loads(line) for line in data[:end].splitlines()], at + end


def certify(tree, golden, cells, deadline, every=False):
    """The lines of cells that failed: the first one, or all with `every`; and how many were run."""
    out = tempfile.mkdtemp(prefix="out-", dir=tree.build)
    args = [os.path.join(golden.build, "certify"), "--profile", os.path.join(HERE, "profile.json")]
    args += ["--build", tree.bin, "--out", out, "--jobs", "2", "--quiet", "--fresh"]
    args += [word for c in cells for word in ("--cell", c)]
    env = dict(os.environ, SELFTEST_GOLDEN=golden.bin)
    bad, count, at = [], 0, 0
    with open(os.path.join(out, "output"), "w", encoding="utf-8") as log:
        p = start(args, cwd=golden.path, env=env, stdout=log, stderr=log)
        try:
            over = False
            while not over and (every or not bad):
                over = p.poll() is not None
                lines, at = lines_of(os.path.join(out, "results.jsonl"), at)
                judged = [x for x in lines if x.get("record") == "cell"]
                count += sum(x["verdict"] not in ("SKIP", "UNSUPPORTED") for x in judged)
                bad += [x for x in judged if x["verdict"] in CAUGHT and x["id"] not in IGNORED]
                if time.monotonic() > deadline:
                    raise Ended
                if not over:
                    time.sleep(0.05)
        finally:
            stop(p)
            shutil.rmtree(out, ignore_errors=True)
    if not every and not bad and not count:
        raise RuntimeError(f"no cell is named {' '.join(cells)}")
    return bad, count


def program(tree, name, deadline):
    """None, or what a program of the suite has said before it failed."""
    tree.make([PROGRAMS[name]])
    args = [os.path.join(tree.build, PROGRAMS[name])] + ARGUMENTS.get(name, ["-j2"])
    p = start(args, cwd=tree.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        said, _ = p.communicate(timeout=max(1, min(PROGRAM_SECONDS, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        if time.monotonic() > deadline:
            raise Ended from None
        return "it hangs"
    finally:
        stop(p)
    telling = [x for x in said.splitlines() if "FAIL" in x or "CRASH" in x or "violat" in x]
    return None if p.returncode == 0 else (telling or said.splitlines() or ["?"])[0][:300]


def try_cells(tree, golden, cells, deadline):
    while True:
        bad, _ = certify(tree, golden, cells, deadline)
        if not bad:
            return None
        # By chance, on a busy machine? It has to fail again with the bug (what hangs need not), and to
        # pass without.
        name, hangs = [bad[0]["id"]], bad[0]["verdict"] == "TIMEOUT"
        if not hangs and not certify(tree, golden, name, deadline)[0]:
            IGNORED.add(name[0])
        elif certify(golden, golden, name, time.monotonic() + 200)[0]:
            IGNORED.add(name[0])
        else:
            return name[0], bad[0]["verdict"], (bad[0]["why"] or [""])[0][:300]


def try_program(tree, golden, name, deadline):
    said = name not in IGNORED and program(tree, name, deadline)
    if not said:
        return None
    if program(golden, name, time.monotonic() + 2 * PROGRAM_SECONDS):
        IGNORED.add(name)
        return None
    return name, "FAIL", said


def hunt(tree, golden, first, deadline):
    """(cell or program, verdict, what it said) of the first catch; None: the bug slips through."""
    named = [x for x in first if x in PROGRAMS]
    cells = [x for x in first if x not in PROGRAMS]
    found = try_cells(tree, golden, cells, deadline) if cells else None
    for name in named:
        found = found or try_program(tree, golden, name, deadline)
    found = found or try_cells(tree, golden, ["*"], deadline)
    for name in PROGRAMS:
        if name not in named:
            found = found or try_program(tree, golden, name, deadline)
    return found
