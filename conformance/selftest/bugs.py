# SPDX-License-Identifier: MIT
"""Planted bugs, as text: the files bugs/AREA.bug, and what each does to a source file."""

import glob
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
FORM = re.compile(r"bug (\S+)\nfile (\S+)\nwhy ([^\n]+)\ntry ([^\n]+)\n<<<<\n(.*?)\n====\n(.*?)\n>>>>\n", re.S)


class BadList(Exception):
    """A bug that cannot be planted as it is written."""


class Bug:
    def __init__(self, area, fields):
        self.area = area
        self.id, self.file, self.why, attempts, self.find, self.replace = fields
        self.id = area + "/" + self.id
        self.first = attempts.split()  # cells or programs that are likely to see it: order, not choice

    def planted(self, text):
        """The file's text with the bug in it."""
        count = text.count(self.find)
        if count != 1:
            raise BadList(f"{self.id}: {self.file} has the text to find {count} times, not once")
        return text.replace(self.find, self.replace)


def read_file(path):
    area = os.path.basename(path)[: -len(".bug")]
    with open(path, encoding="utf-8") as f:
        text = f.read().split("\n\n", 1)[1]  # the head is for people
    bugs, at = [], 0
    for m in FORM.finditer(text):
        if text[at : m.start()].strip():
            raise BadList(f"{path}: not a bug: {text[at:m.start()].strip()[:60]!r}")
        bugs.append(Bug(area, m.groups()))
        at = m.end()
    if text[at:].strip():
        raise BadList(f"{path}: not a bug: {text[at:].strip()[:60]!r}")
    return bugs


def read_all(root):
    """All bugs; BadList when one does not fit the sources below root."""
    bugs = [b for path in sorted(glob.glob(os.path.join(HERE, "bugs", "*.bug"))) for b in read_file(path)]
    ids = [b.id for b in bugs]
    twice = {i for i in ids if ids.count(i) > 1}
    if twice:
        raise BadList(f"twice: {', '.join(sorted(twice))}")
    for b in bugs:
        with open(os.path.join(root, b.file), encoding="utf-8") as f:
            b.planted(f.read())
    return bugs
