"""GET of a metrics page with hard limits on time and size."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from exporters.samples import SourceDown

TIMEOUT = 1.0  # s, of each step on the socket
DEADLINE = 2.0  # s, of the whole answer
LARGEST = 32 * 1024 * 1024  # bytes
_CHUNK = 64 * 1024
# OpenMetrics is not asked for: every server here speaks the plain text format.
_HEADERS = {"Accept": "text/plain;version=0.0.4;q=1,*/*;q=0.1", "User-Agent": "model-exporter"}
# No proxy from the environment: the server is a neighbour.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> str:
    """The text at `url`.

    Raises:
        SourceDown: refused, too slow, too large, or not a success; says which, and the address.
    """
    end = time.monotonic() + DEADLINE
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - parse_target lets http(s) pass alone
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            parts: list[bytes] = []
            size = 0
            while part := answer.read1(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise SourceDown(f"{url} answers more than {LARGEST >> 20} MiB")
                if time.monotonic() > end:
                    raise SourceDown(f"{url} took longer than {DEADLINE:g} s")
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceDown(f"{url} answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise SourceDown(f"cannot read {url}: {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceDown(f"cannot read {url}: {error or type(error).__name__}") from None
    return b"".join(parts).decode("utf-8", "replace")
