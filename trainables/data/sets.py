"""The data sets by name: where each is looked for, how it is downloaded, and one line when it is missing.

All are looked for in the data folder (``GROKSCAPE_DATA``); with ``GROKSCAPE_DOWNLOAD=1`` missing ones are downloaded
to it, where their terms allow that, once for all processes.  Each process reads a set once.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainables.data.download import download_torchvision, download_wikitext, may_download, missing
from trainables.data.files import ImageFiles, image_folder, image_parquet, parquet_halves
from trainables.data.folder import FOLDER_VARIABLE, DataMissingError, cache_folder, data_folder
from trainables.data.images import Images, images_from_parquet, read_parquet
from trainables.data.parquet import find_splits
from trainables.data.text import Text, read_text, text_from
from trainables.data.torchvision_files import read_cifar, read_mnist

__all__ = [
    "DataMissingError",
    "ImageFiles",
    "Images",
    "Text",
    "cache_folder",
    "cifar10",
    "cifar100",
    "data_folder",
    "image_folder",
    "image_parquet",
    "imagenet",
    "images_from_parquet",
    "mnist",
    "text_from",
    "wikitext2",
    "wikitext103",
]

CIFAR_ROWS = {"train": 50_000, "test": 10_000}
IMAGENET_ROWS = {"train": 1_281_167, "validation": 50_000}


@dataclass(frozen=True)
class _TorchvisionSet:
    """A torchvision set, and the folders in which it may be in the Hugging Face layout."""

    name: str
    kind: str
    folder: str
    """Its name on disk, by torchvision."""
    files: str
    """The files to look for, as messages name them."""
    parents: tuple[str, ...]
    """Folders of the data folder in which ``folder`` may be."""
    parquet: tuple[str, ...] = ()


MNIST = _TorchvisionSet("MNIST", "MNIST", "MNIST", "MNIST/raw/*-ubyte", (".", "mnist"))
CIFAR10 = _TorchvisionSet(
    "CIFAR-10",
    "CIFAR10",
    "cifar-10-batches-py",
    "cifar-10-batches-py/data_batch_*",
    (".", "cifar10"),
    ("cifar10", "cifar10/plain_text", "cifar10-jpeg"),
)
CIFAR100 = _TorchvisionSet(
    "CIFAR-100",
    "CIFAR100",
    "cifar-100-python",
    "cifar-100-python/train",
    (".", "cifar100"),
    ("cifar100", "cifar100/cifar100"),
)


@dataclass(frozen=True)
class _WikiText:
    """A WikiText (v1, with ``<unk>``) as on the Hugging Face hub."""

    name: str
    folder: str
    shards: dict[str, tuple[str, ...]]
    rows: dict[str, int]
    """The number of rows of each split, one a line of the corpus."""
    folders: tuple[str, ...]


_HELD_OUT = {"validation": ("validation-00000-of-00001.parquet",), "test": ("test-00000-of-00001.parquet",)}
WIKITEXT2 = _WikiText(
    "WikiText-2",
    "wikitext-2-v1",
    {"train": ("train-00000-of-00001.parquet",), **_HELD_OUT},
    {"train": 36_718, "validation": 3_760, "test": 4_358},
    ("wikitext-2-v1", "wikitext-2", "wikitext/wikitext-2-v1"),
)
WIKITEXT103 = _WikiText(
    "WikiText-103",
    "wikitext-103-v1",
    {"train": ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"), **_HELD_OUT},
    {"train": 1_801_350, "validation": 3_760, "test": 4_358},
    ("wikitext-103-v1", "wikitext-103", "wikitext/wikitext-103-v1"),
)


def mnist() -> tuple[Images, Images]:
    """MNIST (Deng 2012), (train, test), 28×28 and grey: torchvision's files, in ``MNIST/raw`` or ``mnist/MNIST/raw``.

    :raises DataMissingError: when it is in neither, or cannot be read.
    """
    return _images(MNIST, data_folder())


def cifar10() -> tuple[Images, Images]:
    """CIFAR-10 (Krizhevsky 2009), (train, test), 32×32 in colour: torchvision's files, or Parquet with encoded images.

    Looked for in ``cifar-10-batches-py``, then as ``train*.parquet`` and ``test*.parquet`` in ``cifar10`` or
    ``cifar10-jpeg``.

    :raises DataMissingError: when it is in none, or cannot be read.
    """
    return _images(CIFAR10, data_folder())


def cifar100() -> tuple[Images, Images]:
    """CIFAR-100 with its fine labels, like :func:`cifar10`, in ``cifar-100-python`` or Parquet in ``cifar100``."""
    return _images(CIFAR100, data_folder())


def imagenet() -> tuple[ImageFiles, ImageFiles]:
    """ImageNet-1k (Russakovsky et al. 2015), (train, validation), streamed: image folders, or Parquet from the hub.

    Looked for in ``imagenet`` and ``imagenet-1k``: ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, or
    ``train-*.parquet`` and ``validation-*.parquet`` there or in ``data`` there.  It is never downloaded, because one
    must agree to its terms.

    :raises DataMissingError: when it is in neither, is not whole, or cannot be read.
    """
    folder = data_folder()
    roots = [folder / "imagenet", folder / "imagenet-1k"]
    halves = find_splits([each for root in roots for each in (root, root / "data")], tuple(IMAGENET_ROWS))
    root = next((root for root in roots if (root / "train").is_dir()), None)
    if halves is not None:
        images = parquet_halves("ImageNet", *halves)
    elif root is not None:
        images = image_folder(str(root))
    else:
        raise DataMissingError(
            f"ImageNet: is not in {FOLDER_VARIABLE} = {str(folder)!r} (looked for imagenet/train/CLASS/*.JPEG and val, "
            "and for imagenet/train-*.parquet and validation-*.parquet); put the files of image-net.org or of the "
            "hub's ILSVRC/imagenet-1k there"
        )
    for (split, rows), half in zip(IMAGENET_ROWS.items(), images, strict=True):
        if len(half.labels) != rows:
            raise DataMissingError(
                f"ImageNet: {split} has {len(half.labels)} images in {folder}; must be {rows} (read a part of it with "
                "image_folder or image_parquet)"
            )
    return images


def wikitext2() -> tuple[Text, Text]:
    """WikiText-2 (Merity et al. 2017), (train, test), with ``<unk>``: Parquet, or ``wiki.train.tokens`` and so on.

    Looked for in ``wikitext-2-v1`` and ``wikitext-2``.

    :raises DataMissingError: when it is in neither, or cannot be read.
    """
    return _text(WIKITEXT2, data_folder())


def wikitext103() -> tuple[Text, Text]:
    """WikiText-103, like :func:`wikitext2`, in ``wikitext-103-v1`` or ``wikitext-103``."""
    return _text(WIKITEXT103, data_folder())


@lru_cache(maxsize=4)
def _images(source: _TorchvisionSet, folder: Path) -> tuple[Images, Images]:
    def torchvision_root() -> Path | None:
        return next((folder / each for each in source.parents if (folder / each / source.folder).is_dir()), None)

    root = torchvision_root()
    halves = find_splits([folder / each for each in source.parquet], ("train", "test")) if root is None else None
    if halves is not None:
        images = read_parquet(source.name, *halves)
        for (split, rows), half in zip(CIFAR_ROWS.items(), images, strict=True):
            if len(half.labels) != rows:
                raise DataMissingError(
                    f"{source.name}: {split} has {len(half.labels)} rows in {folder}; must be {rows}"
                )
        return images
    if root is None:
        places = [source.files if each == "." else f"{each}/{source.files}" for each in source.parents]
        places += [f"{each}/train*.parquet and test*.parquet" for each in source.parquet]
        if not may_download():
            raise missing(source.name, folder, places)
        download_torchvision(source.name, source.kind, source.folder, folder)
        root = folder
    return read_mnist(source.name, root) if source is MNIST else read_cifar(source.name, source.kind, root)


def _text(source: _WikiText, folder: Path) -> tuple[Text, Text]:
    roots, splits = [folder / each for each in source.folders], ("train", "test")
    halves = find_splits(roots, splits)
    if halves is None:
        if may_download():
            download_wikitext(source.name, source.folder, source.shards, source.rows, folder)
            halves = find_splits(roots, splits)
        if halves is None:
            places = [f"{each}/train*.parquet and test*.parquet" for each in source.folders]
            raise missing(source.name, folder, places)
    train, test = (read_text(source.name, address) for address in halves)
    return train, test
