"""Installs the library `anomalabel`, its configs and the MONAI Label app."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "lib/anomalabel/__init__.py").read_text()).group(1)

setup(
    name="anomalabel",
    version=VERSION,
    description="Shows where a medical image departs from health: a MONAI Label app and a 3D Slicer extension",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    python_requires=">=3.10,<3.13",
    package_dir={
        "": "lib",
        "anomalabel_configs": "configs",
        "monailabel_app": "monailabel_app",
    },
    packages=[
        *find_packages("lib"),
        "anomalabel_configs",
        *find_packages(".", include=["monailabel_app", "monailabel_app.*"]),
    ],
    package_data={
        "anomalabel_configs": ["*.yaml"],
        "anomalabel.backbones": ["embedded_weights/*"],
        "anomalabel.evaluation.report": ["templates/*"],
        "anomalabel.explain": ["templates/*"],
        "anomalabel.prompts.ontology": ["concepts.csv", "README.md"],
    },
    install_requires=[
        "connected-components-3d>=3.12",
        "fastapi>=0.110",
        "filelock>=3.12",
        "grad-cam>=1.5.7",
        "huggingface_hub>=0.24",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "monai>=1.4",
        "monailabel==0.8.5",
        "nibabel>=5.2",
        "nilearn>=0.14",
        "numpy<2",
        "open_clip_torch>=3.3",
        "pillow>=10",
        "psutil>=5.9",
        "pydantic>=2.7",
        "pydicom>=2.4,<3",
        "pynrrd>=1.0",
        "PyWavelets>=1.6",
        "pyyaml>=6",
        "regex>=2023.8",
        "requests>=2.31",
        "requests-toolbelt>=1.0",
        "rich>=13",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "setuptools>=68",
        "SimpleITK>=2.3",
        "tifffile>=2024.1",
        "timm>=1.0",
        "torch>=2.4",
        "torchvision>=0.19",
        "transformers>=4.44",
        "typer>=0.12",
        "uvicorn>=0.29",
    ],
    extras_require={
        "dev": [
            "httpx>=0.27",
            "hypothesis>=6.100",
            "jsonschema>=3.2",
            "mypy>=1.10",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "types-PyYAML",
            "types-requests",
        ],
        # PySide6 6.12 gives back None without counting it, which ends Python 3.11 after some 50,000 calls.
        "slicer": ["slicer-core>=5.11,<5.13", "PySide6-Essentials>=6.7,<6.11"],
    },
    entry_points={"console_scripts": ["anomalabel=anomalabel.cli:main"]},
)
