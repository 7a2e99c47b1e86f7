"""What all sections of the configuration are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**64 - 1  # what torch seeds a generator with at most


def identity(description: str, **constraints: Any) -> Any:
    """A pydantic field whose value is part of a cell's identity.

    ``identity_default`` is the value that ids leave out, the field's default unless given. When a
    default changes, give the old one here: what was trained keeps its id, and means what it meant.
    ``tuning=True`` marks what one tries several values of to find the best: early stopping compares
    cells that differ in such fields alone.
    """
    marks: dict[str, Any] = {"identity": True, "tuning": constraints.pop("tuning", False)}
    if "identity_default" in constraints:
        marks["identity_default"] = constraints.pop("identity_default")
    return Field(description=description, json_schema_extra=marks, **constraints)


# Tags of the choices where a value may take one form or another: in the locations of pydantic's errors,
# and in no path of a file.
CHOICES = frozenset({"(one)", "(several)", "(plain)", "(section)"})


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False, allow_inf_nan=False)
