"""What is kept of a trial's weights, as the archives that torch and numpy write, checked before they are opened.

torch does not look at the checksums in its archives, and a bit that has flipped in a weight is a weight too.
"""

import io
import zipfile

import numpy as np

from trainables.engine.errors import one_line


def check_archive(data: bytes) -> None:
    """Make sure that data are a whole archive as torch and numpy write it: uncompressed, with the right checksums.

    :raises ValueError: when they are not.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("is compressed")  # a small one could unpack to any size
            if sum(member.file_size for member in members) > len(data):
                raise ValueError("has members that overlap")
            damaged = archive.testzip()
    except Exception as error:  # zipfile lets half a dozen kinds pass.
        raise ValueError(f"is damaged ({one_line(error)})") from None
    if damaged is not None:
        raise ValueError(f"is damaged ({damaged!a} differs from its checksum)")


def weights_of(data: bytes) -> dict[str, np.ndarray]:
    """Read a snapshot's weights by name.

    :raises ValueError: when it is damaged, or holds anything but arrays of numbers.
    """
    check_archive(data)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise ValueError(f"holds something else than arrays ({one_line(error)})") from None
    for name, values in weights.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            raise ValueError(f"{name!a} is no array of numbers")
    return weights
