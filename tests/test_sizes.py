"""Sizes in words."""

import pytest

from xling.sizes import in_bytes, one_spelling, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (2**30 - 1, "1 GiB"),
        (1000 * 2**20, "1,000 MiB"),
        (3 * 2**60, "3,145,728 TiB"),
    ],
)
def test_bytes_are_told_in_the_largest_unit_that_they_fill(count, text):
    assert size_text(count) == text


def test_what_is_told_can_be_written():
    assert in_bytes(one_spelling(size_text(12 * 2**20))) == 12 * 2**20
