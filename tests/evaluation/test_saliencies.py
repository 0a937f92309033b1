"""One method in several saliencies."""

from __future__ import annotations

import pytest

from anomalabel.errors import ConfigError
from anomalabel.evaluation.saliencies import with_saliencies


@pytest.mark.parametrize(
    ("methods", "saliencies", "expected"),
    [
        (["reconstruction"], [], ("reconstruction",)),
        (["intensity"], [], ("intensity",)),
        (["reconstruction"], ["ear"], ("reconstruction_ear",)),
        (
            ["intensity", "reconstruction", "clap"],
            ["clap", "none"],
            ("intensity", "reconstruction_clap", "reconstruction_none", "clap"),
        ),
        (["reconstruction"] * 2, ["plp"], ("reconstruction_plp",) * 2),
    ],
)
def test_the_method_is_replaced_where_it_stands(methods, saliencies, expected):
    assert with_saliencies(methods, saliencies) == expected


def test_a_saliency_of_another_method_is_refused():
    with pytest.raises(ConfigError, match="--saliency clap belongs to the method reconstruction"):
        with_saliencies(["clap", "reconstruction_none"], ["clap"])


def test_an_unknown_saliency_is_refused():
    with pytest.raises(ConfigError, match=r"'dino'.*none, ear, plp, clap"):
        with_saliencies(["reconstruction"], ["ear", "dino"])
