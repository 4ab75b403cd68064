"""Grafana's HTTP API by grafana-client, with what goes wrong in words. Calls block, for 5 s at the most."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from advisor.errors import ConfigurationError, GrafanaFailed

TIMEOUT = 5.0  # s
INSTALL = "pip install 'capacity-advisor[dashboards]'"
T = TypeVar("T")


class Grafana:
    """One instance; `url` may have a path. Without a token it is asked as nobody."""

    def __init__(self, url: str, token: str | None) -> None:
        """Connects with the first call.

        Raises:
            ConfigurationError: grafana-client is not installed.
        """
        try:
            from grafana_client import GrafanaApi
            from grafana_client.client import TokenAuth
        except ImportError:
            raise ConfigurationError("grafana-client is not installed", hint=INSTALL) from None
        self.url = url.rstrip("/")
        # The library joins a path without a trailing slash to "api".
        self._api = GrafanaApi.from_url(
            f"{self.url}/", credential=TokenAuth(token) if token else None, timeout=TIMEOUT
        )

    # Every method below raises GrafanaFailed, which says what was asked and what to do.

    def folder(self, uid: str) -> dict[str, Any] | None:
        """None where there is none."""
        return self._look("read its folders", lambda: self._api.folder.get_folder(uid))

    def create_folder(self, title: str, uid: str) -> None:
        """A folder at the top."""
        self._call("create a folder", lambda: self._api.folder.create_folder(title, uid))

    def data_sources(self) -> list[dict[str, Any]]:
        """All of them."""
        return self._call("list its data sources", self._api.datasource.list_datasources)

    def create_data_source(self, source: Mapping[str, Any]) -> None:
        """Of any type."""
        self._call("create a data source", lambda: self._api.datasource.create_datasource(dict(source)))

    def update_data_source(self, uid: str, source: Mapping[str, Any]) -> None:
        """In place of what it was."""
        self._call(
            "change a data source",
            lambda: self._api.datasource.update_datasource_by_uid(uid, dict(source)),
        )

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """`{"dashboard": …, "meta": …}`, None where there is none."""
        return self._look("read a dashboard", lambda: self._api.dashboard.get_dashboard(uid))

    def put_dashboard(self, board: Mapping[str, Any], folder: str, message: str) -> None:
        """Create it, or take the place of the one with its uid."""
        body = {
            "dashboard": {**board, "id": None},
            "folderUid": folder,
            "overwrite": True,
            "message": message,
        }
        self._call("save a dashboard", lambda: self._api.dashboard.update_dashboard(body))

    def annotations(self, tags: Sequence[str]) -> list[dict[str, Any]]:
        """Those with all the tags, of any time."""
        return self._call(
            "read its annotations",
            lambda: self._api.annotations.find_annotations(ann_type="annotation", tags=list(tags)),
        )

    def add_annotation(self, start: int, end: int | None, tags: Sequence[str], text: str) -> None:
        """For the whole organisation; times in Unix milliseconds."""
        self._call(
            "add an annotation",
            lambda: self._api.annotations.add_annotation(
                time_from=start, time_to=end, tags=list(tags), text=text
            ),
        )

    def update_annotation(self, number: int, start: int, end: int, tags: Sequence[str], text: str) -> None:
        """The whole of it: what is left out would be emptied."""
        self._call(
            "change an annotation",
            lambda: self._api.annotations.update_annotation(
                number, time_from=start, time_to=end, tags=list(tags), text=text
            ),
        )

    # ---------------------------------------------------------------------------------------------------

    def _look(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            return self._call(what, call)
        except GrafanaFailed as error:
            if error.status == 404:
                return None
            raise

    def _call(self, what: str, call: Callable[[], T]) -> T:
        import niquests
        from grafana_client.client import GrafanaException, GrafanaTimeoutError

        try:
            answer = call()
        except GrafanaTimeoutError:
            raise self._away(f"no answer within {TIMEOUT:.0f} s") from None
        except GrafanaException as error:
            raise self._refused(what, error.status_code, str(error.message)) from None
        except (niquests.exceptions.JSONDecodeError, ValueError):
            raise self._strange() from None
        except (niquests.RequestException, OSError) as error:
            # Within several layers of wrapping.
            found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Failed to resolve)", str(error))
            why = (found[1] or "its name is not known") if found else type(error).__name__
            raise self._away(why) from None
        if isinstance(answer, str):  # a page, such as that of a login before it
            raise self._strange()
        return answer

    def _strange(self) -> GrafanaFailed:
        message = f"{self.url} does not answer as Grafana does"
        return GrafanaFailed(message, hint="is it the address of Grafana, path included?")

    def _away(self, why: str) -> GrafanaFailed:
        message = f"Grafana at {self.url} cannot be reached: {why}"
        return GrafanaFailed(message, hint="is it up, and the address right?")

    def _refused(self, what: str, status: int, message: str) -> GrafanaFailed:
        hints = {
            401: "make a service account token in Grafana (Administration, Service accounts) and put it "
            "into the variable that token_env names, by default GRAFANA_TOKEN",
            403: "give its service account the role Editor; data sources need Admin",
        }
        hint = hints.get(status)
        if "provisioned" in message.lower():
            hint = "it comes from files: provision the dashboards or push them, never both with one uid"
        asked = f"Grafana at {self.url} would not {what}"
        return GrafanaFailed(f"{asked}: {status} {message}".strip(), hint=hint, status=status)
