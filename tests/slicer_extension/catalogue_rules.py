"""What Slicer's extension catalogue demands of an extension, as its schema and its checks say.

Written from `Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json` of the repository Slicer/Slicer, and from
`scripts/check_description_files.py` and `.github/PULL_REQUEST_TEMPLATE.md` of Slicer/ExtensionsIndex. Each rule returns
sentences about what is wrong; none of them asks the network.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import jsonschema

SCHEMA_ADDRESS = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#"
)
SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"},
        "category": {"type": "string"},
        "scm_url": {"type": "string"},
        "scm_revision": {"type": "string"},
        "scm_type": {"type": "string", "enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"type": "string"},
        "enabled": {"type": "boolean"},
        "tier": {"type": "integer", "enum": [1, 3, 5]},
    },
}
CATEGORIES = {"Active Learning", "Analysis", "DICOM", "Informatics", "Neuroimaging", "Quantification", "Segmentation"}
"""Those of the accepted categories that a reviewing tool could stand under; the whole list has sixty."""

FORGES = {"github.com", "gitlab.com"}
"""Where the catalogue's extensions are hosted; a host that somebody made up is none of them."""

STAND_INS = re.compile(r"example|owner|user(name)?|your|somebody|[<>{}$]", re.IGNORECASE)
LICENSE_NAMES = ("LICENSE", "License.txt", "LICENSE.txt", "COPYING", "COPYING.txt")


def entry_faults(entry: object) -> list[str]:
    """What the schema says against a catalogue entry."""
    return [fault.message for fault in jsonschema.Draft7Validator(SCHEMA).iter_errors(entry)]


def cmake_fields(text: str) -> dict[str, str]:
    """The EXTENSION_ fields of a top-level CMakeLists.txt, and PROJECT, found as the catalogue's check finds them."""
    fields = dict(re.findall(r'set\s*\(EXTENSION_(\w+)\s*"([^"]*)"\s*\)', text))
    fields["PROJECT"] = "".join(re.findall(r"project\s*\(\s*([^\s)]+)", text)[:1])
    return fields


def is_public(entry: dict) -> bool:
    """Whether the entry claims that its sources can be fetched."""
    return entry.get("scm_type", "git") != "local"


def consistency_faults(entry: dict, fields: dict[str, str], name: str) -> list[str]:
    """Where entry and CMake file disagree, or a field is not as the checklist wants it."""
    depends = [] if fields.get("DEPENDS", "NA") == "NA" else fields["DEPENDS"].split()
    sentences = re.findall(r"[.!?](?:\s|$)", fields.get("DESCRIPTION", ""))
    rules = {
        "the project is not named like the entry": fields["PROJECT"] == name,
        "the name starts with Slicer": not name.startswith("Slicer"),
        "the entry follows another schema": entry["$schema"] == SCHEMA_ADDRESS,
        "the category is none of the catalogue's": entry["category"] in CATEGORIES,
        "the categories differ": entry["category"] == fields.get("CATEGORY"),
        "the dependencies differ": entry.get("build_dependencies", []) == depends,
        "no branch is named, as the build needs": bool(entry.get("scm_revision")),
        "the description has no 1 or 2 sentences": len(sentences) in (1, 2),
        "the description has several lines": "\n" not in fields.get("DESCRIPTION", "\n"),
        "CMake would take the description for a list": ";" not in fields.get("DESCRIPTION", ""),
        "nobody is named as contributor": bool(fields.get("CONTRIBUTORS")),
    }
    return [fault for fault, holds in rules.items() if not holds]


def address_faults(entry: dict, fields: dict[str, str], folder: Path) -> list[str]:
    """What is wrong with the addresses of repository, homepage, icon and screenshots.

    An entry whose sources are not public says so (`"scm_type": "local", "scm_url": "."`) and gives no address at all.
    One that is public gives addresses in one repository of a known forge, and its pictures are files of the folder.
    """
    named = [fields.get(key, "") for key in ("HOMEPAGE", "ICONURL", "SCREENSHOTURLS")]
    if not is_public(entry):
        faults = [] if entry["scm_url"] == "." else ["an entry without public sources names an address"]
        return faults + [f"{address} is an address of sources that are not public" for address in named if address]
    parts = urlsplit(entry["scm_url"])
    faults = [] if _is_a_repository(parts) else [f"{entry['scm_url']} is no repository of a known forge"]
    owner_and_name = parts.path.strip("/").removesuffix(".git")
    if "slicer" not in owner_and_name.rsplit("/", 1)[-1].lower():
        faults.append("the repository's name does not hold the word Slicer")
    pictures = [fields.get("ICONURL", ""), *fields.get("SCREENSHOTURLS", "").split()]
    if len(pictures) < 2:
        faults.append("there is no screenshot")
    if not fields.get("HOMEPAGE", "").startswith(f"https://{parts.netloc}/{owner_and_name}"):
        faults.append("the homepage is not in the repository")
    return faults + [fault for address in pictures for fault in _picture_faults(address, entry, owner_and_name, folder)]


def license_faults(folder: Path) -> list[str]:
    """What is wrong with the licence file of a repository's root."""
    found = [folder / name for name in LICENSE_NAMES if (folder / name).is_file()]
    if not found:
        return ["there is no licence file in the root"]
    text = " ".join(found[0].read_text().split())
    whole = text.startswith("Apache License Version 2.0, January 2004") and "limitations under the License." in text
    return [] if whole else ["the licence is not the whole text of Apache 2.0"]


def readme_faults(text: str, name: str) -> list[str]:
    """What the checklist misses in the homepage's text."""
    flat = " ".join(text.split())
    headings = {line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("#")}
    rules = {
        "the extension's name is no title": text.startswith(f"# {name}\n"),
        "there is no picture": bool(re.search(r"!\[[^\]]+\]\([^)]+\.png\)", text)),
        "the module has no sentence": bool(re.search(rf"\*\*{name}\*\* ", text)) and "modules" in headings,
        "there is no tutorial": "tutorial" in headings and len(re.findall(r"^\d+\. ", text, re.MULTILINE)) >= 5,
        "nobody learns where to get an image": "sample data" in flat.lower(),
        "there is nothing to cite": "publications" in headings,
        "the licence is not named": "license" in headings and "Apache" in text,
        "nothing is said of data that is sent": "privacy" in headings and "that you name and to nobody else" in flat,
        "its limits are not named": "not for clinical use" in flat.lower(),
        "it has no keywords": "**Keywords:**" in text and "3d-slicer-extension" in text,
    }
    return [fault for fault, holds in rules.items() if not holds]


def linked_files(text: str) -> list[str]:
    """The files, beside a Markdown text, that it links or shows."""
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link.split("#")[0] for link in links if not re.match(r"https?:|#|mailto:", link)]


def _is_a_repository(parts: SplitResult) -> bool:
    path = parts.path.strip("/").split("/")
    plain = not (parts.query or parts.fragment or parts.username or parts.port)
    named = len(path) == 2 and all(path) and not STAND_INS.search(parts.path)
    return parts.scheme == "https" and parts.netloc in FORGES and plain and named


def _picture_faults(address: str, entry: dict, owner_and_name: str, folder: Path) -> list[str]:
    """The catalogue fetches the raw file, not the page that shows it."""
    branch = entry.get("scm_revision", "")
    starts = (
        f"https://raw.githubusercontent.com/{owner_and_name}/{branch}/",
        f"https://github.com/{owner_and_name}/raw/{branch}/",
        f"https://gitlab.com/{owner_and_name}/-/raw/{branch}/",
    )
    start = next((each for each in starts if address.startswith(each)), None)
    if start is None:
        return [f"'{address}' is no raw file of the repository's branch"]
    path = folder / address.removeprefix(start)
    return [] if path.suffix == ".png" and path.is_file() else [f"'{address}' is no picture of this folder"]
