import pytest

from arg_utils.reporting import markdown


def test_a_table_has_text_to_the_left_and_numbers_to_the_right():
    lines = markdown.table(("a", "b", "c"), [("x", "y", "1"), ("z", "", "2")], left=2)
    assert lines == ["| a | b | c |", "|---|---|---:|", "| x | y | 1 |", "| z |  | 2 |"]
    assert markdown.table(("a", "b"), []) == ["| a | b |", "|---|---:|"]


def test_a_number_that_is_missing_is_a_dash():
    assert markdown.number(0.12345) == "0.123"
    assert markdown.number(1234, ",") == "1,234"
    assert markdown.number(None, ",") == "–"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"macro_f1": 0.5, "ci_low": 0.4, "ci_high": 0.61}, "0.500 (0.400–0.610)"),
        ({"macro_f1": 0.5, "ci_low": 0.4, "ci_high": None}, "0.500"),
        ({"macro_f1": 0.5}, "0.500"),
        ({}, "–"),
    ],
)
def test_a_score_has_its_interval_where_there_is_one(row, text):
    assert markdown.score(row) == text


def test_a_source_names_command_data_weights_and_profile():
    content = {"command": "c", "data": "d", "weights": "w", "profile": "p", "rows": []}
    assert markdown.source(content) == "Measured by `c`: data d, weights w, profile p."
