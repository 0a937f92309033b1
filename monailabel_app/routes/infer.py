"""`POST /infer/{task}`: an image goes in, findings and heatmap come back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Form, Request, UploadFile
from fastapi.responses import Response
from requests_toolbelt import MultipartEncoder

from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.finding import FindingsReport
from monailabel_app.infer_request import decode_params
from monailabel_app.jobs import cancel_on_disconnect
from monailabel_app.safety.names import checked_name, header_filename, refuse_unsafe_names, shortened
from monailabel_app.safety.uploads import save_upload
from monailabel_app.scoring.store import StudyScore
from monailabel_app.state import ServerState, State

router = APIRouter(tags=["Infer"], dependencies=[Depends(refuse_unsafe_names)])

HEATMAP_TYPE = "application/octet-stream"


class Output(str, Enum):
    """Which parts the client wants, in MONAI Label's words."""

    all = "all"
    json = "json"
    image = "image"


@router.post("/infer/{task_name}")
async def infer(
    request: Request,
    state: State,
    task_name: str,
    image: str = "",
    session_id: str = "",
    request_id: str = "",
    output: Output = Output.all,
    params: Annotated[str, Form()] = "{}",
    file: UploadFile | None = None,
) -> Response:
    """Detect in a study of the server, an uploaded file or a session's image; a study's scores are noted.

    Args:
        task_name: `clap_attention`, `few_shot_localization` or `unet_reconstruction`.
        image: id of a study; with `file` only its name in the report.
        session_id: id of a session whose image is used.
        request_id: chosen by the client, to ask /progress/{request_id} about it or cancel it there.
        output: `all` for a multipart reply with `params`, `image` and, where they were asked for and the method has
            them, `uncertainty`, `saliency` and `reconstruction`; or one of the first two alone.
        params: JSON object, see `InferRequest`, `TrainedRequest` and `ReconstructionRequest`.
        file: the image itself.

    Raises:
        AnomaLabelError: 422, or 409 when cancelled.
        HTTPException: 503 while the models are loaded or too many requests wait.
    """
    state.warm_up.require()
    task = state.task(task_name)
    parsed = task.parse(decode_params(params))
    if request_id:
        checked_name(request_id, "request id")
    with state.queue.register(request_id) as job, state.request_folder() as folder:
        source, name = await anyio.to_thread.run_sync(locate, state, folder, image, session_id, file)
        watcher = asyncio.create_task(cancel_on_disconnect(request, job))
        try:
            result = await state.queue.run(job, lambda: task.run(source, name, parsed, folder, job.progress))
        finally:
            watcher.cancel()
        if image and not session_id and file is None:
            score = StudyScore.of(result.report)
            await anyio.to_thread.run_sync(state.app.scores.note, image, task_name, score)
        heatmap = await anyio.to_thread.run_sync(result.heatmap.read_bytes)
        maps = {part: await anyio.to_thread.run_sync(path.read_bytes) for part, path in result.maps.items()}
    return await anyio.to_thread.run_sync(reply, result.report, heatmap, maps, name, output)


def locate(state: ServerState, folder: Path, image: str, session_id: str, file: UploadFile | None) -> tuple[Path, str]:
    """Where the image lies, and what it is called in the report; session before file before id, as MONAI Label does.

    Raises:
        AnomaLabelError: none was given, or there is no such session, image or kind of file.
    """
    if session_id:
        session = state.app.sessions().get_session(checked_name(session_id, "session id"))
        if session is None:
            raise ConfigError(f"There is no session '{shortened(session_id)}'.", "Create one with PUT /session/.")
        return Path(session.image), image or Path(session.image).name
    if file is not None:
        uploads = folder / "upload"
        uploads.mkdir()
        name = file.filename or ""
        path = save_upload(file.file, name, uploads, state.settings.maximum_upload_bytes)
        return path, image or shortened(Path(name.replace("\\", "/")).name)
    if not image:
        raise ConfigError("The request names no image.", "Give image=ID, a session_id, or send a file.")
    found = state.app.datastore().get_image_uri(image)
    if not found:
        raise ImageReadError(
            f"There is no image '{shortened(image)}' on the server.", "GET /datastore/?output=all lists them."
        )
    return Path(found), image


def reply(report: FindingsReport, heatmap: bytes, maps: Mapping[str, bytes], name: str, output: Output) -> Response:
    """The response: multipart with `params`, `image` and a part for each further map, or one of the first two alone."""
    text = report.to_json(indent=None)
    filename = header_filename(name, ".heatmap.nrrd")
    if output is Output.json:
        return Response(text, media_type="application/json")
    if output is Output.image:
        disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
        return Response(heatmap, media_type=HEATMAP_TYPE, headers=disposition)
    fields: dict[str, tuple[str | None, str | bytes, str]] = {
        "params": (None, text, "application/json"),
        "image": (filename, heatmap, HEATMAP_TYPE),
    }
    for part, content in maps.items():
        fields[part] = (header_filename(name, f".{part}.nrrd"), content, HEATMAP_TYPE)
    encoder = MultipartEncoder(fields=fields)
    return Response(encoder.to_string(), media_type=encoder.content_type)
