"""Decoding images that somebody else encoded: a few formats, of bounded size, and one line for what is wrong.

Pillow reads a header before it decodes, so an image that claims to be huge costs nothing.
"""

import warnings
from functools import lru_cache
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING

from trainables.data.folder import DataMissingError
from trainables.engine.errors import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "WEBP", "TIFF")
"""Pillow knows more, one of which (EPS) runs a program."""
MOST_PIXELS, MOST_SIDE, MOST_RATIO = 1 << 26, 1 << 14, 100
"""Of an image: 200 MB decoded, and when its shorter side is resized to 256, at most 100 times that on the longer."""


def decode(encoded: bytes, place: str, mode: str = "RGB") -> "Image":
    """Decode an image.

    :param place: where it is from: the file's path, and its row in a file of many.
    :raises DataMissingError: when it cannot be decoded, or is too large.
    """
    image = open_image(encoded, place)
    try:
        return image.convert(mode)
    except Exception as error:  # Pillow's decoders raise whatever their parsing meets
        raise _undecodable(place, error) from None


def open_image(encoded: bytes, place: str) -> "Image":
    """Read the header of an image, which says its size and mode, and check it as :func:`decode` does."""
    try:
        image = _pillow().open(BytesIO(encoded), formats=FORMATS)
    except Exception as error:
        raise _undecodable(place, error) from None
    width, height = image.size
    longer, shorter = max(width, height), min(width, height)
    if width * height > MOST_PIXELS or longer > MOST_SIDE or longer > MOST_RATIO * shorter:
        raise DataMissingError(
            f"{place}: is an image of {width}×{height} pixels; must be at most {MOST_PIXELS:,} pixels, {MOST_SIDE:,} a "
            f"side, and {MOST_RATIO} times as long as wide; replace that file"
        )
    return image


def _undecodable(place: str, error: Exception) -> DataMissingError:
    reason = one_line(error).partition(" <_io")[0]
    return DataMissingError(f"{place}: cannot be decoded as an image ({reason}); replace that file")


@lru_cache(maxsize=1)
def _pillow() -> ModuleType:
    """Import Pillow; its warning of large images is ours to say."""
    from PIL import Image

    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    return Image
