# SPDX-License-Identifier: MIT
"""The numbers of spec/registry/*.def, read from there and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SPEC = Path(__file__).resolve().parents[3] / "spec" / "registry"


@dataclass(frozen=True)
class FrameType:
    name: str
    number: int
    group: str


@dataclass(frozen=True)
class ErrorCode:
    name: str
    group: str
    clause: str


def _entries(file: str, macro: str) -> list[list[str]]:
    text = re.sub(r"/\*.*?\*/", "", (SPEC / file).read_text("ascii"), flags=re.S)
    found = re.findall(rf"^{macro}\((.*)\)\s*$", text, flags=re.M)
    return [_arguments(line) for line in found]


def _arguments(line: str) -> list[str]:
    parts = re.findall(r'"([^"]*)"|([^",\s][^",]*)', line)
    return [quoted or bare.strip() for quoted, bare in parts if (quoted or bare.strip())]


def _frames() -> dict[int, FrameType]:
    rows = _entries("native_frames.def", "VMS_NATIVE_FRAME")
    return {int(r[1], 0): FrameType(r[0], int(r[1], 0), r[2]) for r in rows}


def numbers(file: str, macro: str) -> dict[str, int]:
    return {row[0]: int(row[1], 0) for row in _entries(file, macro)}


def _records() -> dict[int, str]:
    return {n: name for name, n in numbers("native_records.def", "VMS_NATIVE_RECORD").items()}


def _errors() -> dict[str, ErrorCode]:
    rows = _entries("errors.def", "VMS_ERROR")
    return {r[0]: ErrorCode(r[0], r[1].lower(), r[2]) for r in rows}


FRAMES = _frames()
FRAME_NAMES = {frame.name: number for number, frame in FRAMES.items()}
KEYS = numbers("native_keys.def", "VMS_NATIVE_KEY")
KEY_NAMES = {number: name.lower() for name, number in KEYS.items()}
FEATURES = numbers("native_features.def", "VMS_NATIVE_FEATURE")
RECORDS = _records()
SUITES = numbers("seal_suites.def", "VMS_SUITE")
TAG_BYTES = {int(r[1]): int(r[2]) for r in _entries("seal_suites.def", "VMS_SUITE")}
LIMITS = numbers("limits.def", "VMS_LIMIT")
ERRORS = _errors()
