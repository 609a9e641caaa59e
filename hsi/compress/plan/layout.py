"""The JSON form of a plan: laid out for editing by hand, read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hsi.errors import DataError, SettingsError, one_of


def layout(record: Mapping[str, Any]) -> str:
    """JSON with a line for each layer, however many channels stand on it."""
    return "{\n" + ",\n".join(f"  {_text(k)}: {_block(v)}" for k, v in record.items()) + "\n}\n"


def read_record(path: str | Path) -> dict[str, Any]:
    """The content of a plan file: a JSON object in which nothing stands twice.

    Raises:
        DataError: no such file, or not JSON.
        SettingsError: JSON of another form, or a name that stands twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: expected a plan as JSON, got {error.msg} in line {error.lineno}, "
            f"column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8; a number or nesting beyond reason
        raise DataError(f"{path}: expected a plan as JSON in UTF-8: {error}.") from error
    if not isinstance(record, dict):
        raise SettingsError(f"{path}: expected a plan as a JSON object, got {_kind(record)}.")
    return record


class Fields:
    """The entries of a JSON object, each taken with the type that is expected of it."""

    def __init__(self, record: Mapping[str, Any], known: Iterable[str], *, where: str) -> None:
        """Raises `SettingsError` at the first entry that is unknown or missing."""
        self.record, self.where = record, where
        known = list(known)
        for name in record:
            one_of(name, known, what=f"entry of {where}")
        for name in known:
            if name not in record:
                raise SettingsError(f"{where}: expected an entry {name!r}, got none.")

    def text(self, name: str) -> str:
        value = self.record[name]
        if not isinstance(value, str):
            raise self.wrong(name, "a text", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.record[name]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of texts", value)
        return tuple(value)

    def table(self, name: str) -> dict[str, Any]:
        value = self.record[name]
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return value

    def counts(self, name: str) -> dict[str, int]:
        """Layer -> whole number above zero."""
        table = self.table(name)
        for layer, value in table.items():
            if not _whole(value) or value < 1:
                raise self.wrong(f"{name}: {layer}", "a whole number above 0", value)
        return table

    def channels(self, name: str, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Group -> channels, each once and within the group's number of them; one stays."""
        table = self.table(name)
        for layer, value in table.items():
            one_of(layer, sizes, what=f"layer under {name} in {self.where}")
            what, size = f"{name}: {layer}", sizes[layer]
            if not isinstance(value, list) or not all(_whole(item) for item in value):
                raise self.wrong(what, "a list of whole numbers", value)
            outside = [item for item in value if not 0 <= item < size]
            if outside:
                raise self.wrong(what, f"channels 0 to {size - 1}", outside[0])
            twice = [item for item in value if value.count(item) > 1]
            if twice:
                raise SettingsError(f"{self.where}: {what}: channel {twice[0]} stands there twice.")
            if len(value) == size:
                raise SettingsError(
                    f"{self.where}: {what}: all {size} channels would go; expected at least one "
                    "that stays."
                )
        return {layer: tuple(sorted(value)) for layer, value in table.items() if value}

    def shares(self, name: str, sizes: Mapping[str, int]) -> dict[str, float]:
        """Layer -> share, from 0 to below 1."""
        table = self.table(name)
        for layer, value in table.items():
            one_of(layer, sizes, what=f"layer under {name} in {self.where}")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value < 1:
                raise self.wrong(f"{name}: {layer}", "a number from 0 to below 1", value)
        return {layer: float(value) for layer, value in table.items()}

    def wrong(self, name: str, expected: str, value: Any) -> SettingsError:
        """The error for an entry of another type or range."""
        return SettingsError(f"{self.where}: {name}: expected {expected}, got {_kind(value)}.")


def _block(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        inner = ",\n".join(f"    {_text(k)}: {_text(v)}" for k, v in value.items())
        return "{\n" + inner + "\n  }"
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(f"    {_text(item)}" for item in value) + "\n  ]"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise SettingsError(f"The plan holds {name!r} twice; expected each name once.")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    text = " ".join(json.dumps(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
