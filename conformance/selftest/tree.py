# SPDX-License-Identifier: MIT
"""Copies of the source tree that are built: one without a bug, one for each worker."""

import filecmp
import glob
import os
import shutil
import subprocess

SKIPPED = {".git", "build", "__pycache__", "corpus"}
# What a bug can be in, and what the suite runs against it.
SUBJECTS = ["reference-src", "reference-dst", "adapter-codec"]
# Judges: always those without a bug.
JUDGES = ["certify", "certify-peer", "adapter-reference", "vmstream", "vfio-sim.so"]
# Programs of the suite that have the codec and the engines in them.
PROGRAMS = {
    "vectors": "tests/vectors",
    "qevm-encoder": "tests/qevm-encoder",
    "transcode-trips": "tests/transcode-trips",
    "pack-trips": "tests/pack-trips",
    "integrity": "tests/integrity",
    "integrity-forged": "tests/integrity-forged",
    "sim": "sim",
    "sim-qevm": "sim",
    "native-pair": "tests/native-pair",
}
# Not optimised, without warnings (a bug may well leave a variable unused), and without symbols: what has
# no bug in it is then the same, octet for octet, as in the tree without one.
MAKE = ["make", "-s", "BUILD=build", "OPT=-O0", "WARN=-w", "LDFLAGS=-pthread -s"]


class BuildFailed(Exception):
    pass


def files_below(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [d for d in folders if d not in SKIPPED]
        names += [d for d in folders if os.path.islink(os.path.join(folder, d))]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def same(a, b):
    """By what is in them: a time says nothing where a tree was checked out or mended since."""
    if not os.path.lexists(b) or os.path.islink(a) != os.path.islink(b):
        return False
    if os.path.islink(a):
        return os.readlink(a) == os.readlink(b)
    return os.path.getsize(a) == os.path.getsize(b) and filecmp.cmp(a, b, shallow=False)


def sync(source, target):
    """Makes target's sources those of source; what changed is as new as now, so that make builds it."""
    wanted = set(files_below(source))
    for name in wanted:
        a, b = os.path.join(source, name), os.path.join(target, name)
        if not os.path.lexists(a) or same(a, b):
            continue
        os.makedirs(os.path.dirname(b), exist_ok=True)
        if os.path.lexists(b):
            os.remove(b)
        shutil.copy(a, b, follow_symlinks=False)
    gone = set(files_below(target)) - wanted
    for name in gone:
        os.remove(os.path.join(target, name))
    if gone:  # an archive keeps what was in it
        for archive in glob.glob(os.path.join(target, "build", "**", "*.a"), recursive=True):
            os.remove(archive)


class Tree:
    def __init__(self, path):
        self.path = path
        self.build = os.path.join(path, "build")
        self.bin = os.path.join(path, "build", "subject")

    def make(self, names, jobs=1):
        targets = ["build/" + n for n in names]
        r = subprocess.run([*MAKE, f"-j{jobs}", *targets], cwd=self.path, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
        if r.returncode:
            raise BuildFailed((r.stderr or r.stdout)[-2000:])

    def differs(self, golden, name):
        """Has the bug come into this program?"""
        return not filecmp.cmp(os.path.join(self.build, name), os.path.join(golden.build, name), shallow=False)

    def lend(self, golden):
        """A build folder for certify: the subjects of this tree, the judges of the other."""
        os.makedirs(self.bin, exist_ok=True)
        for owner, names in ((self, SUBJECTS), (golden, JUDGES)):
            for name in names:
                link = os.path.join(self.bin, name)
                if not os.path.islink(link):
                    os.symlink(os.path.join(owner.build, name), link)

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as f:
            return f.read()


def golden(root, work, jobs):
    """The tree without a bug, built."""
    tree = Tree(os.path.join(work, "golden"))
    sync(root, tree.path)
    tree.make(SUBJECTS + JUDGES + list(PROGRAMS.values()), jobs)
    tree.lend(tree)
    return tree


def worker(tree, work, number):
    """A copy of the golden tree with its objects; what was built is older than what is planted."""
    own = Tree(os.path.join(work, f"worker-{number}"))
    shutil.rmtree(own.path, ignore_errors=True)
    shutil.copytree(tree.path, own.path, symlinks=True, ignore=shutil.ignore_patterns("subject", "out-*"))
    own.lend(tree)
    return own
