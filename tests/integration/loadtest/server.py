"""An HTTP server that behaves as badly as it is asked to, in a process of its own.

`python server.py [CERT KEY]` prints its port. The path says what happens to a request:

/ok /sleep/MS /status/CODE   an answer at once, after a while, with that status
/close                       an answer that promises to keep the connection, which is then closed
/drop /half /garbage         no answer, half of one, one that is not HTTP
/eof /chunked /interim /head  bodies without length, in chunks, after 100 Continue, none at all
/trickle/MS                  head at once, body later
/bye                         Connection: close
/once/MS                     an answer to the first request of a connection; a later one is left alone for
                             that while, then the connection is closed
/pause/MS                    stands still as a whole: no request is answered meanwhile
/sse/COUNT/MS                events COUNT times, MS apart, as OpenAI streams them
/llm/COUNT/FIRST/MS          the same, but the first after about FIRST ms, the usage last, and gaps drawn
/tokens                      JSON rows [arrived, [time of each token]] (s, time.monotonic) since the last one
/log                         JSON rows [path, arrived, answered] (s, time.monotonic) since the last /log
/connections                 how many connections were accepted
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time

LOG: list[tuple[str, float, float]] = []
TOKENS: list[tuple[float, list[float]]] = []
ACCEPTED = 0


def answer(body: bytes = b"{}", status: int = 200, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def respond(path: str, writer: asyncio.StreamWriter, count: int) -> bool:
    """Answer the `count`-th request of a connection; True when it stays open."""
    global LOG, TOKENS
    name, *rest = path.strip("/").split("/")
    match name:
        case "sleep":
            await asyncio.sleep(float(rest[0]) / 1e3)
            writer.write(answer())
        case "status":
            writer.write(answer(status=int(rest[0])))
        case "close":
            writer.write(answer())
            return False
        case "drop":
            return False
        case "once":
            if count > 1:
                await asyncio.sleep(float(rest[0]) / 1e3)
                return False
            writer.write(answer())
        case "half":
            writer.write(answer(b"x" * 100)[:-50])
            return False
        case "garbage":
            writer.write(b"this is no HTTP\r\n\r\n")
            return False
        case "eof":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
            return False
        case "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await asyncio.sleep(0.005)
            writer.write(b"2\r\nde\r\n0\r\n\r\n")
        case "interim":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + answer())
        case "head":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        case "trickle":
            whole = answer(b"y" * 10)
            writer.write(whole[:-10])
            await asyncio.sleep(float(rest[0]) / 1e3)
            writer.write(whole[-10:])
        case "bye":
            writer.write(answer(extra="Connection: close\r\n"))
            return False
        case "pause":
            time.sleep(float(rest[0]) / 1e3)  # noqa: ASYNC251 - that is the point
            writer.write(answer())
        case "sse":
            await stream(writer, int(rest[0]), float(rest[1]) / 1e3)
        case "llm":
            await talk(writer, int(rest[0]), float(rest[1]) / 1e3, float(rest[2]) / 1e3)
        case "tokens":
            told, TOKENS = TOKENS, []
            writer.write(answer(json.dumps(told).encode()))
        case "log":
            rows, LOG = LOG, []
            writer.write(answer(json.dumps(rows).encode()))
        case "connections":
            writer.write(answer(json.dumps(ACCEPTED).encode()))
        case _:
            writer.write(answer())
    return True


async def stream(writer: asyncio.StreamWriter, count: int, gap: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        await asyncio.sleep(gap)
        send(writer, {"choices": [{"delta": {"content": f"word{number} "}}]})
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def talk(writer: asyncio.StreamWriter, count: int, first: float, gap: float) -> None:
    arrived, times = time.monotonic(), []
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        await asyncio.sleep((gap if number else first) * random.uniform(0.5, 1.5))
        times.append(time.monotonic())
        send(writer, {"choices": [{"delta": {"content": f"word{number} "}}]})
    send(writer, {"choices": [], "usage": {"completion_tokens": count}})
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    TOKENS.append((arrived, times))


def send(writer: asyncio.StreamWriter, event: object) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global ACCEPTED  # noqa: PLW0603
    ACCEPTED += 1
    count = 0
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            arrived = time.monotonic()
            lines = head.decode("latin-1").split("\r\n")
            length = next((int(h[15:]) for h in lines if h.lower().startswith("content-length:")), 0)
            await reader.readexactly(length)
            path = lines[0].split(" ")[1]
            count += 1
            keep = await respond(path, writer, count)
            await writer.drain()
            if path not in {"/log", "/connections", "/tokens"}:
                LOG.append((path, arrived, time.monotonic()))
            if not keep:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
