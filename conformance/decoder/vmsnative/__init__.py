# SPDX-License-Identifier: MIT
"""A second decoder of the native wire, written from the specification alone (spec/03-native.md)."""
