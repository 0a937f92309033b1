"""`/scoring/`: score studies in the background, so that the worklist can be put in order."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends

from monailabel_app.routes.background import cancel_work, told_status
from monailabel_app.safety.names import refuse_unsafe_names
from monailabel_app.scoring.run import Scoring, prepare_scoring
from monailabel_app.state import State

router = APIRouter(prefix="/scoring", tags=["Scoring"], dependencies=[Depends(refuse_unsafe_names)])


@router.post("/{task_name}")
def start(state: State, task_name: str, params: Annotated[dict[str, Any] | None, Body()] = None) -> dict[str, Any]:
    """Start scoring with an infer task; the answer is its status.

    Args:
        task_name: `clap_attention`, `few_shot_localization` or `unet_reconstruction`.
        params: what `params` of an inference with this task may hold, and `images`: "unscored" (default) for the
            studies that this task never scored, "all", or a list of image ids.

    Raises:
        AnomaLabelError: 422, the request cannot be met; 409, another scoring runs.
        HTTPException: 503 while the models are loaded.
    """
    state.warm_up.require()
    task = state.task(task_name)
    state.scoring.require_idle()
    studies, store = state.app.datastore(), state.app.scores
    request = prepare_scoring(task_name, task, params or {}, studies, store)
    scoring = Scoring(
        request,
        studies,
        store,
        lambda work: state.queue.submit_behind(work, lambda: state.scoring.cancelling),
        state.scoring.tell,
    )
    return state.scoring.start(task_name, request.shown, scoring.run).model_dump(mode="json")


@router.get("/")
def status(state: State, all: bool = False, check_if_running: bool = False) -> Any:
    """The scoring that runs or ran last: studies done and in all, and how long it has run and will still take.

    Args:
        all: as a list, as `GET /train/?all=true` answers.
        check_if_running: answer 404 unless one runs.

    Raises:
        HTTPException: 404, nothing was scored.
    """
    return told_status(state.scoring, all, check_if_running)


@router.delete("/")
def cancel(state: State) -> dict[str, Any]:
    """Cancel the running scoring; scores so far are kept.

    Raises:
        HTTPException: 404, none runs.
    """
    return cancel_work(state.scoring)
