"""Fixtures of several files of tests."""

from damaged_sweeps import damaged, swept

__all__ = ["damaged", "swept"]
