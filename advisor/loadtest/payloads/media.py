"""Pictures of random size and content."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from advisor.loadtest.payloads.sizes import Sizes
from advisor.loadtest.protocol import Prepared
from advisor.settings import ImageSettings

_WIDEST = 16_384  # pixels
_GRAIN = 16  # pixels; noise of single pixels would be larger than any photograph


def requests(path: str, image: ImageSettings, size: int, rng: np.random.Generator) -> tuple[Prepared, ...]:
    """`size` pictures, as raw bodies or as the field of a multipart form."""
    widths, heights = Sizes(image.width), Sizes(image.height)
    return tuple(
        _request(path, image, widths.draw(rng, 1, _WIDEST), heights.draw(rng, 1, _WIDEST), rng)
        for _ in range(size)
    )


def _request(path: str, image: ImageSettings, width: int, height: int, rng: np.random.Generator) -> Prepared:
    data, content_type = _picture(width, height, image.format, rng), f"image/{image.format}"
    if image.field is None:
        return Prepared(path, data, (("Content-Type", content_type),))
    boundary = rng.bytes(16).hex()
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{image.field}"; '
        f'filename="image.{image.format}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return Prepared(path, body, (("Content-Type", f"multipart/form-data; boundary={boundary}"),))


def _picture(width: int, height: int, kind: str, rng: np.random.Generator) -> bytes:
    coarse = (max(1, height // _GRAIN), max(1, width // _GRAIN), 3)
    noise = Image.fromarray(rng.integers(0, 256, size=coarse, dtype=np.uint8))
    buffer = io.BytesIO()
    noise.resize((width, height), Image.Resampling.BILINEAR).save(buffer, kind.upper())
    return buffer.getvalue()
