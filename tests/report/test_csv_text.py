"""CSV for programs: what any reader of RFC 4180 gets back."""

import csv
import io
import math

from xling.report.csv_text import to_csv


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_lines_end_and_quotes_stand_as_rfc_4180_has_them():
    text = to_csv([{"cell": 'tiny, "a"', "error": "two\nlines", "step": 3}])
    assert text == 'cell,error,step\r\n"tiny, ""a""","two\nlines",3\r\n'
    assert read(text) == [{"cell": 'tiny, "a"', "error": "two\nlines", "step": "3"}]


def test_what_is_missing_is_empty_and_numbers_keep_all_digits():
    rows = read(to_csv([{"a": 0.1 + 0.2, "b": None}, {"a": math.nan, "c": True}]))
    assert rows == [
        {"a": "0.30000000000000004", "b": "", "c": ""},
        {"a": "", "b": "", "c": "true"},
    ]
    assert float(rows[0]["a"]) == 0.1 + 0.2


def test_columns_can_be_named_and_no_record_is_no_line():
    assert to_csv([{"b": 1, "a": 2}], ["a", "b"]) == "a,b\r\n2,1\r\n"
    assert to_csv([], ["a", "b"]) == "a,b\r\n"
    assert to_csv([]) == ""
