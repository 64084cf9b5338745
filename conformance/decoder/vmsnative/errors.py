# SPDX-License-Identifier: MIT
"""Refusals: a code of spec/registry/errors.def, and where (ERR-1)."""

from __future__ import annotations

from . import registry


class NativeError(Exception):
    """What a decoder refuses. `frame` is the number of the frame it belongs to, from 0."""

    def __init__(self, code: str, offset: int, message: str = "") -> None:
        super().__init__(f"{code} at {offset}: {message}")
        self.code = code
        self.offset = offset
        self.message = message
        self.frame: int | None = None
        self.entry = registry.ERRORS[code]

    def as_dict(self) -> dict[str, object]:
        return {
            "error": self.code,
            "class": self.entry.group,
            "clause": self.entry.clause,
            "offset": self.offset,
            "record": self.frame or 0,
            "message": self.message,
        }
