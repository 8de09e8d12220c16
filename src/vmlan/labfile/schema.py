"""The JSON Schema of the file, for editors; derived from the same shapes that the reader uses."""

from __future__ import annotations

from typing import Any

import msgspec

from vmlan.labfile.reader import OWN_KEYS
from vmlan.labfile.shapes import NETWORKS, Check, Disk, LabFile

_KIND = "What the network is made of."


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of `lab.yaml`.

    An editor's help, a little wider than the reader: sizes and addresses are checked by their form
    only, and what takes more than one section to see not at all.
    """
    schema = msgspec.json.schema(LabFile)
    definitions: dict[str, Any] = schema["$defs"]
    root = definitions.pop(LabFile.__name__)
    root["patternProperties"] = {f"^{OWN_KEYS}": {"description": "Your own: a place for anchors; ignored."}}
    for shape in NETWORKS.values():
        # The key that tells the kinds apart is none of the shapes' fields, so it has no words yet.
        definitions[shape.__name__]["properties"]["kind"]["description"] = _KIND
    definitions[Disk.__name__]["minProperties"] = 1
    definitions[Check.__name__]["oneOf"] = [{"required": ["ping"]}, {"required": ["screen", "on"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "vmlan lab",
        "$defs": definitions,
    }
