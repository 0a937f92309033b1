"""Which findings hold a point, on an oblique box."""

import numpy as np
import pytest

from anomalabel.demo.run import _holds
from anomalabel.finding import Finding


@pytest.mark.parametrize(("along_first", "inside"), [(4.9, True), (5.1, False), (-4.9, True)])
def test_a_box_is_measured_along_its_own_axes(along_first: float, inside: bool) -> None:
    turn = np.deg2rad(30)
    axes = ((np.cos(turn), np.sin(turn), 0.0), (-np.sin(turn), np.cos(turn), 0.0), (0.0, 0.0, 1.0))
    finding = Finding(
        id="f",
        label="x",
        score=1,
        mean_score=1,
        uncertainty=None,
        volume_mm3=1,
        peak_index=(0, 0, 0),
        index_min=(0, 0, 0),
        index_max=(0, 0, 0),
        center_ras=(10.0, 20.0, 30.0),
        center_lps=(-10.0, -20.0, 30.0),
        size_mm=(10.0, 2.0, 2.0),
        axes_ras=axes,
    )
    point = np.array([10.0, 20.0, 30.0]) + along_first * np.array(axes[0])
    assert _holds(finding, tuple(point)) is inside
