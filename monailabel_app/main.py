"""Wiring: which tasks and which datastore the MONAI Label app has."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask

from anomalabel import __version__
from monailabel_app.app import (
    DESCRIPTION,
    anomalabel_info,
    build_pipeline,
    is_remote,
    split_backbones,
    studies_folder,
)
from monailabel_app.datastore.studies import StudiesDatastore
from monailabel_app.infers.clap_attention import ClapAttention, Detecting


class AnomaLabelApp(MONAILabelApp):
    """The app; MONAI Label finds it because it names `MONAILabelApp` as a direct base.

    Args:
        app_dir: this folder.
        studies: folder of images.
        conf: `device` and `backbones` (comma-separated).
        pipeline: what detects; made from `conf` where it is not given.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str], pipeline: Detecting | None = None) -> None:
        self.backbones = split_backbones(conf)
        self.pipeline = build_pipeline(conf) if pipeline is None else pipeline
        super().__init__(app_dir, studies, conf, name="AnomaLabel", description=DESCRIPTION, version=__version__)

    def init_datastore(self) -> Datastore:
        """Our own datastore for a folder, MONAI Label's for a picture archive."""
        return super().init_datastore() if is_remote(self.studies) else StudiesDatastore(studies_folder(self.studies))

    def init_infers(self) -> dict[str, InferTask]:
        """The tasks, by the name in their address."""
        return {"clap_attention": ClapAttention(self.pipeline, self.backbones)}

    @property
    def infers(self) -> dict[str, InferTask]:
        """What `init_infers` made."""
        return self._infers

    def info(self) -> dict[str, Any]:
        """MONAI Label's description of the app, and under `anomalabel` what our own client needs."""
        return {**super().info(), "anomalabel": anomalabel_info(self.backbones)}
