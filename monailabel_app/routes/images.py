"""Our own upload and download of studies, in the places where MONAI Label's would block or know files only."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, UploadFile
from fastapi.responses import FileResponse, Response

from anomalabel.errors import ImageReadError
from anomalabel.io.read import read_volume
from anomalabel.io.write import write_heatmap
from monailabel_app.safety.names import checked_name, header_filename, refuse_unsafe_names, shortened
from monailabel_app.safety.uploads import image_suffix, save_upload
from monailabel_app.state import State

router = APIRouter(tags=["Datastore"], dependencies=[Depends(refuse_unsafe_names)])


_adding = threading.Lock()
"""Two uploads under one id: the second one is refused."""


@router.get("/datastore/image")
def download(state: State, image: str) -> Response:
    """A study as it lies on the server; a DICOM series folder as one float32 NRRD file."""
    found = state.app.datastore().get_image_uri(image)
    path = Path(found)
    if found and path.is_file():
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)
    if not found:
        raise HTTPException(404, f"There is no image '{shortened(image)}' on the server.")
    volume = read_volume(path)
    with state.request_folder() as folder:
        converted = folder / "series.nrrd"
        write_heatmap(converted, volume.array, volume.affine_ras)
        content = converted.read_bytes()
    disposition = {"Content-Disposition": f'attachment; filename="{header_filename(image, ".nrrd")}"'}
    return Response(content, media_type="application/octet-stream", headers=disposition)


@router.put("/datastore/", include_in_schema=False)
@router.put("/datastore/image")
def upload(state: State, file: UploadFile, image: str = "") -> dict[str, Any]:
    """Add an image to the studies folder, under `image` or its own name; an existing one is never replaced.

    Raises:
        ImageReadError: not a kind of image that is read.
        HTTPException: 409, there is an image of that id.
    """
    name = Path((file.filename or "").replace("\\", "/")).name
    suffix = image_suffix(name)
    if not suffix:
        raise ImageReadError(f"'{name}' is no image file.", "Send NIfTI, NRRD, DICOM, PNG, JPEG or TIFF.")
    image_id = checked_name(image or name[: -len(suffix)], "image id")
    datastore = state.app.datastore()
    with state.request_folder() as folder:
        path = save_upload(file.file, name, folder, state.settings.maximum_upload_bytes)
        with _adding:
            if image_id in datastore.list_images():
                raise HTTPException(409, f"There is an image '{image_id}' already. Choose another id.")
            return {"image": datastore.add_image(image_id, str(path), {})}
