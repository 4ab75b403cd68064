"""What sends the load of the runs: one process, several, or workers of other machines."""

from __future__ import annotations

import os
from collections.abc import Mapping

from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew, local_crew
from advisor.loadtest.hub import Hub, secret_of
from advisor.settings import LoadgenSettings


class Generators:
    """As the settings say; the workers' secret comes from the environment."""

    def __init__(self, settings: LoadgenSettings, environment: Mapping[str, str] = os.environ) -> None:
        """Read the secret, where workers are to connect.

        Raises:
            ConfigurationError: it is not set, or too short.
        """
        self._settings = settings
        self._hub: Hub | None = None
        if settings.bind is not None:
            secret = secret_of(environment, settings.token_env)
            self._hub = Hub(settings.bind, secret)

    async def start(self) -> None:
        """Listen for workers.

        Raises:
            ConfigurationError: the address cannot be listened at.
        """
        if self._hub is not None:
            await self._hub.start()

    async def close(self) -> None:
        """Listen no more; load that workers still send ends."""
        if self._hub is not None:
            await self._hub.close()

    def generator(self) -> Engine | Crew:
        """For one run, not started yet."""
        if self._hub is not None:
            return self._hub.crew(self._settings.workers, self._settings.wait)
        return local_crew(self._settings.workers) if self._settings.workers > 1 else Engine()
