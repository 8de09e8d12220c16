"""What one run found: as JSON, and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from claims import HEADS, claims
from series import Series, Table, text


@dataclass
class Results:
    about: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)  #: seconds, by part

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        paragraphs = ["".join(f"{name}: {value}\n" for name, value in self.about.items())]
        paragraphs += [text(table.heads(), table.rows()) for table in self.tables if table.worked]
        if self.left_out:
            paragraphs.append("Left out:\n" + "".join(f"  {line}\n" for line in self.left_out))
        took = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in self.took.items())
        paragraphs += [f"Time: {took}\n", text(HEADS, [claim.row() for claim in claims(self.tables)])]
        return "\n".join(paragraphs)


def from_json(found: dict[str, Any]) -> Results:
    tables = [
        Table(**{**table, "series": [Series(**one) for one in table["series"]]}) for table in found["tables"]
    ]
    return Results(found["about"], tables, found["left_out"], found["took"])
