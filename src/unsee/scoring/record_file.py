"""The JSON files of a run folder: typed and versioned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from unsee.config.reasons import reason, shown
from unsee.core.errors import RecordError
from unsee.core.record import Record


class Strict(BaseModel):
    """A part of a file: frozen, without unknown keys, without type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Filing(Strict):
    """What identifies a request or an audit, so that its page can be filed.

    Attributes:
        reference: the number or name under which it is filed.
        finished: date and time, UTC, ISO 8601.
        version: the version of unsee.
    """

    reference: str
    finished: str
    version: str


class RecordFile(Strict):
    """A versioned file of a run folder."""

    @classmethod
    def load(cls, folder: Path, name: str) -> Self:
        """Read the file from a run folder.

        Raises:
            RecordError: the file is missing, or has another version or form.
        """
        content = Record.open(folder).read_json(name)
        version = cls.model_fields["version"].default
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != version:
            raise RecordError(
                f"{folder / name}: schema is {shown(schema)}, this version of unsee reads {version!r}; run it again "
                "into another folder"
            )
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RecordError(f"{folder / name}: {where}: {reason(first)}") from error

    def save(self, record: Record, name: str) -> None:
        """Write the file into a run folder."""
        record.write_json(name, self.model_dump(by_alias=True))
