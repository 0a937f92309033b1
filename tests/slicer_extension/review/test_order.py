"""The order of the findings table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from AnomaLabelLib.review.matching import ShownFinding
from AnomaLabelLib.review.order import KEYS, sorted_findings
from review_examples import finding

TABLE = (
    ShownFinding(finding("a", score=0.5, uncertainty=0.2, volume_mm3=30.0), "rejected", "few_shot"),
    ShownFinding(finding("b", score=None, volume_mm3=10.0), "accepted", ""),
    ShownFinding(finding("c", (0, 0, 0), (5, 5, 5), score=0.5, uncertainty=0.1, volume_mm3=20.0), "open", "Clap"),
    ShownFinding(finding("d", (0, 0, 9), (5, 5, 9), score=0.9, volume_mm3=20.0), "open", "clap"),
)


@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        ("score", "acdb", "dacb"),
        ("uncertainty", "cabd", "acbd"),
        ("volume", "bcda", "acdb"),
        ("slice", "cdab", "abdc"),
        ("method", "cdab", "acdb"),
        ("status", "cdba", "abcd"),
        ("colour", "abcd", "abcd"),
    ],
)
def test_equal_findings_stay_as_they_were_and_unknown_ones_come_last(column, up, down):
    assert "".join(each.finding.id for each in sorted_findings(TABLE, column)) == up
    assert "".join(each.finding.id for each in sorted_findings(TABLE, column, descending=True)) == down


def test_every_column_sorts_a_table_without_any_value():
    bare = [replace(TABLE[1], method="", finding=finding(score=None)) for _each in range(3)]
    for column in KEYS:
        assert sorted_findings(bare, column) == tuple(bare)
