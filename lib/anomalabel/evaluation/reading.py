"""Which images can be read, before anything is learned from them or tested on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.images import CaseLoader
from anomalabel.evaluation.protocol import Draw
from anomalabel.evaluation.store import hash_of_files

Watch = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Failures = dict[EvaluationCase, str]
"""Images that could not be evaluated, and why."""


def hash_images(cases: Sequence[EvaluationCase], failed: Failures, watch: Watch) -> dict[EvaluationCase, str]:
    """Hash of image, mask and boxes; images that cannot be read are added to `failed` with the reason."""
    hashes = {}
    for number, case in enumerate(cases):
        watch("reading", number, len(cases))
        try:
            hashes[case] = hash_of_files(case.image, case.mask, case.boxes)
        except ImageReadError as error:
            failed[case] = str(error)
    return hashes


def unloadable(draws: Sequence[Draw], loader: CaseLoader, watch: Watch, loadable: set[EvaluationCase]) -> Failures:
    """The shots that cannot be read and prepared, and why.

    Args:
        draws: whose shots.
        loader: of images.
        watch: told what is done.
        loadable: shots known to be fine, which are not read again; added to.
    """
    shots = [
        case
        for case in dict.fromkeys(case for draw in draws for case in (*draw.shots, *draw.calibration))
        if case not in loadable
    ]
    broken: Failures = {}
    for number, (case, loaded) in enumerate(zip(shots, loader.load_each(shots), strict=True)):
        watch("reading shots", number, len(shots))
        if isinstance(loaded, ImageReadError):
            broken[case] = str(loaded)
        else:
            loadable.add(case)
    return broken
