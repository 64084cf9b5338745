# SPDX-License-Identifier: MIT
"""The suite, run against one tree: its parts, cell by cell, and what a catch is."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from tree import PROGRAMS, SUBJECTS

HERE = os.path.dirname(os.path.abspath(__file__))
CAUGHT = ("FAIL", "XPASS", "TIMEOUT")  # ERROR is the engine's own, WARN and SKIP catch nothing
GOOD = ("PASS", "WARN", "XFAIL")
KINDS = ("decoders", "subjects", "pairs")  # the parts of a profile: vectors, dialogues, migrations
ENDS = {"source": "reference-src", "destination": "reference-dst"}
SIM = ["--runs", "20000", "--seed", "1", "--faults", "all"]
ARGUMENTS = {"sim": SIM, "sim-qevm": [*SIM, "--wire", "qevm"]}
FACTOR, LEAST = 8, 120  # a part with a bug gets so many times what it took without, and these seconds
LIVE = set()  # processes that were started and have not been stopped


class Ended(Exception):
    """A part of the suite took far longer than without a bug, and nothing in it said why."""


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


# ---- cells ----


def lies_in(kind, part):
    """(program, part narrowed to it) for each program that a part of the profile tries."""
    if kind == "decoders":
        return [("adapter-codec", part)]
    if kind == "subjects":
        return [(end, dict(part, role=role)) for role, end in ENDS.items()]
    return [(end, part) for role, end in ENDS.items() if part[role] == "reference"]


def profile(kinds, programs):
    """What of profile.json tries these programs, with the implementations that it needs."""
    with open(os.path.join(HERE, "profile.json"), encoding="utf-8") as f:
        whole = json.load(f)
    parts = {k: [p for part in whole[k] for who, p in lies_in(k, part) if who in programs]
             for k in kinds}
    used = {p.get(who) for k in kinds for p in parts[k] for who in ("implementation", "source", "destination")}
    implementations = [i for i in whole["implementations"] if i["name"] in used]
    for one in implementations:
        if one["adapter"].startswith("./"):
            one["adapter"] = os.path.join(HERE, one["adapter"][2:])
    return {"profile": "selftest", "implementations": implementations, **parts}


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


def certify(tree, golden, chosen, cells=(), seconds=300):
    """Yields the journal's line of each cell as soon as it is judged, and its folder; Ended when time is up."""
    if not chosen["implementations"]:
        return
    out, deadline = tempfile.mkdtemp(prefix="out-", dir=tree.build), time.monotonic() + seconds
    with open(os.path.join(out, "profile.json"), "w", encoding="utf-8") as f:
        json.dump(chosen, f)
    args = [os.path.join(golden.build, "certify"), "--profile", f.name, "--build", tree.bin, "--out", out]
    args += ["--jobs", "2", "--quiet", "--fresh"] + [word for c in cells for word in ("--cell", c)]
    env, at, over, count = dict(os.environ, SELFTEST_GOLDEN=golden.bin), 0, False, 0
    with open(os.path.join(out, "output"), "w", encoding="utf-8") as log:
        p = start(args, cwd=golden.path, env=env, stdout=log, stderr=log)
    try:
        while not over:
            over = p.poll() is not None
            lines, at = lines_of(os.path.join(out, "results.jsonl"), at)
            judged = [dict(x, path=os.path.join(out, "cells", x["folder"])) for x in lines if x.get("record") == "cell"]
            count += len(judged)
            yield from judged
            if time.monotonic() > deadline:
                raise Ended
            if not over:
                time.sleep(0.05)
        if not count:
            with open(log.name, encoding="utf-8") as said:
                raise RuntimeError(f"certify judged nothing: {said.read()[-300:]}")
    finally:
        stop(p)
        shutil.rmtree(out, ignore_errors=True)


def verdict_of(tree, golden, cell):
    lines = certify(tree, golden, profile(KINDS, SUBJECTS), [cell])
    return next((x["verdict"] for x in lines if x["id"] == cell), None)


def is_catch(tree, golden, cell):
    """By chance, on a busy machine? It fails again with the bug, and not without."""
    return verdict_of(tree, golden, cell) in CAUGHT and verdict_of(golden, golden, cell) in GOOD


def why_of(line):
    return (line["why"] or [""])[0][:300]


# ---- programs ----


def program(tree, name, seconds):
    """None, or what a program of the suite has said before it failed."""
    args = [os.path.join(tree.build, PROGRAMS[name])] + ARGUMENTS.get(name, ["-j2"])
    p = start(args, cwd=tree.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        said, _ = p.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return "it hangs"
    finally:
        stop(p)
    telling = [x for x in said.splitlines() if "FAIL" in x or "CRASH" in x or "violat" in x]
    return None if p.returncode == 0 else (telling or said.splitlines() or ["?"])[0][:300]


# ---- the whole ----


class Suite:
    """The parts with what each took without a bug; what failed by chance is noted, and kept in a folder."""

    def __init__(self, golden, kept):
        self.golden, self.kept, self.seconds, self.flaky = golden, kept, {}, set()

    def chance(self, line):
        self.flaky.add(line["id"])
        if os.path.isdir(line.get("path", "")):
            shutil.copytree(line["path"], os.path.join(self.kept, line["id"].replace("/", "_")), dirs_exist_ok=True)

    def parts(self):
        """Cheapest first; what was not measured comes as it is written."""
        return sorted([*KINDS, *PROGRAMS], key=lambda part: self.seconds.get(part, 0))

    def allowed(self, part):
        return FACTOR * self.seconds.get(part, 60) + LEAST

    def baseline(self, part):
        """(cells, what fails without a bug): what fails once is tried again, and remembered."""
        begun = time.monotonic()
        if part in PROGRAMS:
            said = program(self.golden, part, 900)
            lines, bad = [], [{"id": part, "verdict": "FAIL", "why": [said]}] if said else []
        else:
            lines, bad = [], []
            for line in certify(self.golden, self.golden, profile([part], SUBJECTS), (), 3600):
                lines.append(line)
                if line["verdict"] in (*CAUGHT, "ERROR"):
                    bad.append(line)
                    self.chance(line)
        self.seconds[part] = round(time.monotonic() - begun, 1)
        still = [x for x in bad if not self.passes(x["id"])]
        return len(lines), [f"{x['id']}: {x['verdict']}: {why_of(x)}" for x in still]

    def passes(self, name):
        if name in PROGRAMS:
            return program(self.golden, name, 900) is None
        return verdict_of(self.golden, self.golden, name) in GOOD

    def try_cells(self, tree, kinds, programs, cells, seconds):
        for line in certify(tree, self.golden, profile(kinds, programs), cells, seconds):
            if line["verdict"] not in CAUGHT:
                continue
            if is_catch(tree, self.golden, line["id"]):
                return line["id"], line["verdict"], why_of(line)
            self.chance(line)
        return None

    def try_program(self, tree, name):
        tree.make([PROGRAMS[name]])
        said = tree.differs(self.golden, PROGRAMS[name]) and program(tree, name, self.allowed(name))
        if not said:
            return None
        if program(tree, name, self.allowed(name)) and program(self.golden, name, self.allowed(name)) is None:
            return name, "FAIL", said
        self.chance({"id": name})
        return None

    def hunt(self, tree, first, briefly=False):
        """(cell or program, verdict, what it said) of the first catch; None: the bug slips through."""
        programs = [x for x in SUBJECTS if tree.differs(self.golden, x)]
        cells = [x for x in first if x not in PROGRAMS]
        found = cells and self.try_cells(tree, KINDS, programs, cells, self.allowed("pairs"))
        named = [x for x in first if x in PROGRAMS]
        for part in named + [x for x in self.parts() if x not in named and not briefly]:
            if found:
                break
            if part in PROGRAMS:
                found = self.try_program(tree, part)
            elif programs:
                found = self.try_cells(tree, [part], programs, (), self.allowed(part))
        if briefly and not found:
            raise RuntimeError("not seen by what it names; the rest was not tried")
        if not found and not programs and not any(tree.differs(self.golden, x) for x in PROGRAMS.values()):
            raise RuntimeError("planted, it changes no program")
        return found or None
