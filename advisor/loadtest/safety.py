"""Which hosts may be loaded, and whose certificates are believed."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from advisor.errors import ConfigurationError, NotAllowed, TargetUnreachable
from advisor.loadtest.protocol import Setup

Resolve = Callable[[str, int], list[str]]
_NO_BRACKETS = str.maketrans("", "", "[]")  # an IPv6 address is known without them


def resolve_host(host: str, port: int) -> list[str]:
    """All addresses of a name, in the resolver's order.

    Raises:
        OSError: it has none.
    """
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def check_host(url: str, allowed_hosts: Iterable[str] = (), resolve: Resolve = resolve_host) -> list[str]:
    """The addresses that load for `url` would go to, once they are known to be permitted.

    A host passes when every address it resolves to is loopback, or when its name (or `name:port`) is in
    `allowed_hosts`. Checking all addresses keeps a name that also points elsewhere from passing.

    Raises:
        ConfigurationError: `url` is not an http or https URL.
        TargetUnreachable: the name does not resolve.
        NotAllowed: the host is neither.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ConfigurationError(f"'{url}' is not a URL: its port must be a number from 1 to 65535") from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"'{url}' is not a URL: write http://host:port/path")
    try:
        addresses = resolve(host, port)
    except OSError as error:
        raise TargetUnreachable(
            f"cannot find host '{host}' of {url}: {error.strerror or error}",
            hint="check the name, or use an address",
        ) from None
    allowed = {name.strip().translate(_NO_BRACKETS).lower() for name in allowed_hosts}
    if host.lower() in allowed or f"{host}:{port}".lower() in allowed:
        return addresses
    outside = [
        address for address in addresses if not ipaddress.ip_address(address.split("%")[0]).is_loopback
    ]
    if outside:
        raise NotAllowed(
            f"host '{host}' ({', '.join(outside)}) is not this machine, and load on it was not allowed",
            hint=f"if the load is meant for it, add --allow-host {host}",
        )
    return addresses


def tls_context(setup: Setup) -> ssl.SSLContext:
    """How the certificate of an https target is checked.

    Raises:
        ConfigurationError: the file of authorities cannot be used.
    """
    context = ssl.create_default_context()
    if setup.ca_file is not None:
        try:
            context.load_verify_locations(setup.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{setup.ca_file} holds no certificates that could be trusted: {error.strerror or error}",
                hint="give a file of certificates in PEM form",
            ) from None
    if not setup.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
