"""How shapes say what their keys are: in words for people, as a pattern for editors."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta

#: Patterns for editors. The reader has better words than "does not match", and its own parsers.
SIZE = r"^[0-9]+(\.[0-9]+)?\s?[KMGTkmgt]([iI]?[bB])?$"
CIDR = r"^[0-9]+(\.[0-9]+){3}/[0-9]+$"
ADDRESS = r"^[0-9]+(\.[0-9]+){3}$"
CIDR6 = r"^[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*/[0-9]+$"
ADDRESS6 = r"^[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*$"
NAME = r"^[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
LAB_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
MAC = "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"
WORD = r"^[^\s,]+$"
FORWARD = r"^((tcp|udp):)?([0-9.]+:)?[0-9]+:[0-9]+(/(tcp|udp))?$"
DURATION = r"^[0-9]+(\.[0-9]+)?\s?(ms|s|m)$"


def key(
    description: str,
    takes: str = "",
    *examples: Any,
    number: tuple[str, str] | None = None,
    least: int | None = None,
    most: int | None = None,
    **schema: Any,
) -> Meta:
    """What a key (or an item of a list) is.

    `takes` continues the sentence "'memory' cannot be …; it takes …"; choices need none. `number` is
    what is wrong and what would be right when a number ({0}) stands where a text belongs. `least`
    and `most` are the smallest and the largest number. Whatever else is given goes into the schema as it is.
    """
    return Meta(
        description=description or None,
        examples=list(examples) or None,
        ge=least,
        le=most,
        extra={"takes": takes, "number": number},
        extra_json_schema=schema or None,
    )


#: A size without its unit is the commonest slip; say which units there are.
WITHOUT_UNIT = ("{0} has no unit", "write {0}M or {0}G")

#: Free text may look like a number.
QUOTED = ("{name} cannot be the number {0}", 'for a text, put it in quotes: "{0}"')

Name: TypeAlias = Annotated[str, key("", pattern=NAME)]
File: TypeAlias = Annotated[str, key("", "a path", number=QUOTED)]
Text: TypeAlias = Annotated[str, key("", "a text", number=QUOTED)]
