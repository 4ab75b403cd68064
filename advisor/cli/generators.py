"""How many processes send the load of a run, by its options."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from advisor.cli.measure import Order
from advisor.cli.target import option_sentences
from advisor.errors import ConfigurationError
from advisor.settings import LoadgenSettings


def with_generators(order: Order, workers: int | None, bind: str | None) -> Order:
    """The order with `--workers` and `--bind` in place of what is configured, where they are given.

    Raises:
        ConfigurationError: the address is none.
    """
    asked = {name: value for name, value in (("workers", workers), ("bind", bind)) if value is not None}
    if not asked:
        return order
    try:
        loadgen = LoadgenSettings.model_validate({**order.settings.loadgen.model_dump(), **asked})
    except ValidationError as error:
        raise ConfigurationError("\n".join(option_sentences(error))) from None
    return replace(order, settings=order.settings.model_copy(update={"loadgen": loadgen}))
