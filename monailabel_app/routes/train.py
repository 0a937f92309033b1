"""`/train/`: start a training, see how far it is, cancel it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends

from monailabel_app.routes.background import cancel_work, told_status
from monailabel_app.safety.names import refuse_unsafe_names
from monailabel_app.state import State

router = APIRouter(prefix="/train", tags=["Train"], dependencies=[Depends(refuse_unsafe_names)])


@router.post("/{task_name}")
def start(state: State, task_name: str, params: Annotated[dict[str, Any] | None, Body()] = None) -> dict[str, Any]:
    """Start a training in the background; the answer is its status.

    Args:
        task_name: `few_shot_localization` or `unet_reconstruction`.
        params: the keys of `FewShotTraining` or `ReconstructionTrainingRequest`, and `healthy`.

    Raises:
        AnomaLabelError: 422, the request cannot be met; 409, another training runs.
        HTTPException: 503 while the models are loaded.
    """
    state.warm_up.require()
    task = state.trainer(task_name)
    state.training.require_idle()
    prepared = task.prepare(params or {}, state.app.datastore())
    request = prepared.request.as_json()
    started = state.training.start(task_name, request, lambda watch: task.run(prepared, watch), task.resumes)
    return started.model_dump(mode="json")


@router.get("/")
def status(state: State, all: bool = False, check_if_running: bool = False) -> Any:
    """The training that runs or ran last, with how long it has run and how long its stage will still take.

    Args:
        all: as a list, as MONAI Label answers.
        check_if_running: answer 404 unless one runs.

    Raises:
        HTTPException: 404, nothing was trained.
    """
    return told_status(state.training, all, check_if_running)


@router.delete("/")
def cancel(state: State) -> dict[str, Any]:
    """Cancel the running training; the model from before stays in use.

    Raises:
        HTTPException: 404, none runs.
    """
    return cancel_work(state.training)
