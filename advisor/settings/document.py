"""Reads `advisor.yaml`: a mistake is one sentence with the file, the line, the key and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import ValidationError

from advisor.errors import ConfigurationError
from advisor.settings.base import Settings
from advisor.settings.schema import AdvisorSettings


def load(path: Path) -> AdvisorSettings:
    """Read and check a configuration file; relative paths become absolute, seen from the file.

    Raises:
        ConfigurationError: unreadable, not YAML, or wrong, or a payload's file is not there; every mistake
            with its key and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"cannot read {path}: it is not UTF-8 text") from None
    return parse(text, str(path), path.resolve().parent)


def parse(text: str, name: str = "advisor.yaml", folder: Path | None = None) -> AdvisorSettings:
    """Settings from YAML text; `folder` is where relative paths start, without it no file is looked for.

    Raises:
        ConfigurationError: as in `load`.
    """
    tree, data = _read(text, name)
    if data is None:
        raise ConfigurationError(f"{name}: the file is empty", hint="it needs at least 'targets:'")
    if not isinstance(data, dict):
        raise ConfigurationError(f"{name}: expected keys such as 'targets:', found a {_yaml_type(data)}")
    try:
        settings = AdvisorSettings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentences(error, name, tree))) from None
    if folder is None:
        return settings
    settings = AdvisorSettings.model_validate(_with_absolute_paths(settings, folder))
    settings = settings.model_copy(update={"store": _store_at(settings.store, folder)})
    missing = list(_missing_files(settings, name, tree))
    if missing:  # now, and not when the nightly run starts
        raise ConfigurationError("\n".join(missing), hint=f"relative paths start at {folder}")
    return settings


def _read(text: str, name: str) -> tuple[yaml.Node | None, Any]:
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = "indent with spaces, not tabs" if "'\\t'" in (error.problem or "") else None
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.problem}", hint=hint) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        raise ConfigurationError(f"{name}:{line}: not YAML: character #x{code:04x} is not text") from None
    except ValueError as error:  # such as the date 2001-99-99
        raise ConfigurationError(
            f"{name}: a value cannot be read: {error}", hint="write it in quotes"
        ) from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply") from None
    for key, line, first in _repeated_keys(tree):
        raise ConfigurationError(f"{name}:{line}: key '{key}' is set twice, first at line {first}")
    return tree, data


def _repeated_keys(tree: yaml.Node | None) -> Iterator[tuple[str, int, int]]:
    """(key, line, line of its first mention): YAML itself would silently keep the last one."""
    pending, seen = [tree], set[int]()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:  # an alias may point back
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and lines.setdefault(key.value, line) != line:
                    yield key.value, line, lines[key.value]
                pending.append(value)


_YAML_TYPES = {dict: "mapping", list: "list", str: "text", bool: "true or false", type(None): "nothing"}


def _yaml_type(value: object) -> str:
    return _YAML_TYPES.get(type(value), type(value).__name__)


_EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _sentences(error: ValidationError, name: str, tree: yaml.Node | None) -> Iterator[str]:
    for problem in error.errors():
        loc = [part for part in problem["loc"] if part != "[key]"]
        line = _line(tree, loc)
        key = ".".join(str(part) for part in loc) or "file"
        kind = problem["type"]
        if kind == "extra_forbidden":
            yield f"{name}:{line}: unknown key '{key}'{_known_here(loc)}"
        elif kind == "missing":
            yield f"{name}:{line}: key '{key}' is missing"
        elif kind in _EXPECTED:
            yield f"{name}:{line}: {key}: expected {_EXPECTED[kind]}, found {_yaml_type(problem['input'])}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if kind != "value_error":
                message += f", found {problem['input']!r}"
            yield f"{name}:{line}: {key}: {message}"


def _known_here(loc: Sequence[str | int]) -> str:
    known = _known_keys(loc[:-1])
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _line(node: yaml.Node | None, loc: Sequence[str | int]) -> int:
    line = node.start_mark.line + 1 if node else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if str(k.value) == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _known_keys(loc: Sequence[str | int]) -> list[str]:
    model: Any = AdvisorSettings
    in_mapping = False
    for part in loc:
        if isinstance(part, int) or in_mapping:
            in_mapping = False
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        found = next(iter(_models(field.annotation)), None) if field else None
        if field is None or found is None:
            return []
        model, in_mapping = found, get_origin(field.annotation) is dict
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _missing_files(settings: AdvisorSettings, name: str, tree: yaml.Node | None) -> Iterator[str]:
    for loc, path in _files(settings, ()):
        if not path.is_file():
            problem = "is a folder, not a file" if path.is_dir() else "does not exist"
            yield f"{name}:{_line(tree, loc)}: {'.'.join(map(str, loc))}: {path} {problem}"


def _files(value: object, loc: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    """Every file that the settings name, with the key that names it."""
    if isinstance(value, Path):
        yield loc, value
    elif isinstance(value, Settings):
        for name, field in type(value).model_fields.items():
            yield from _files(getattr(value, name), (*loc, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _files(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _files(item, (*loc, index))


def _store_at(url: str, folder: Path) -> str:
    """The same database from wherever a command is started."""
    prefix, _, path = url.partition(":///")
    relative = prefix == "sqlite" and path and not path.startswith(("/", ":", "file:"))
    return f"{prefix}:///{folder / path}" if relative else url


def _with_absolute_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, Settings):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: _with_absolute_paths(item, folder) for name, item in fields.items()}
        return value.model_copy(
            update={name: new for name, new in changed.items() if new is not fields[name]}
        )
    if isinstance(value, dict):
        return {key: _with_absolute_paths(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_absolute_paths(item, folder) for item in value]
    return value
