"""Values of options that several commands take, each mistake with the option's name."""

from __future__ import annotations

from advisor.errors import ConfigurationError
from advisor.units import parse_duration, parse_ratio


def seconds(option: str, text: str | None) -> float | None:
    """A duration such as `5m`.

    Raises:
        ConfigurationError: it is none.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


def above_zero(option: str, value: float | None) -> float | None:
    """A finite number above zero.

    Raises:
        ConfigurationError: it is none.
    """
    if value is not None and not 0 < value < float("inf"):
        raise ConfigurationError(f"{option} must be a number above zero, found {value:g}")
    return value


def counts(option: str, text: str | None) -> tuple[int, ...]:
    """Whole numbers above zero, such as `1,2,4`; none where nothing was typed.

    Raises:
        ConfigurationError: one of them is none.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigurationError(f"{option}: '{text}' are not counts: write them as 1,2,4")
    return tuple(int(part) for part in parts)


def a_share(option: str, text: str) -> float:
    """A share such as `10%`, neither 0 nor all.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        share = parse_ratio(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    if not 0 < share < 1:
        raise ConfigurationError(f"{option} must lie between 0% and 100%, found {text}")
    return share


def a_version(option: str, text: str | None) -> str | None:
    """The name of a version, without spaces around it.

    Raises:
        ConfigurationError: it is empty, as an unset variable of a pipeline leaves it.
    """
    if text is not None and not text.strip():
        raise ConfigurationError(f"{option} is empty: is a variable of the pipeline not set?")
    return text.strip() if text is not None else None
