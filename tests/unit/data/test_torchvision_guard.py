"""The guarded import of torchvision: what it gives, and what it does not hide."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainables.data.torchvision_guard import torchvision

ROOT = Path(__file__).resolve().parents[3]


def test_it_gives_the_package_with_the_submodules_that_are_used():
    package = torchvision()
    assert package is torchvision()
    assert package.datasets.MNIST
    assert package.models.resnet18
    assert package.transforms.functional.pad


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [("operator torchvision::nms does not exist", "passed with nms"), ("no such thing", "raised no such thing")],
)
def test_missing_operators_are_declared_and_any_other_error_is_raised(tmp_path, raised, outcome):
    (tmp_path / "torchvision.py").write_text(
        "import torch\n"
        "if not hasattr(torch.ops.torchvision, 'nms'):\n"
        f"    raise RuntimeError({raised!r})\n"
        "found = 'nms'\n"
    )
    code = (
        "from trainables.data.torchvision_guard import torchvision\n"
        "try:\n    print('passed with', torchvision().found)\n"
        "except RuntimeError as error:\n    print('raised', error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == outcome
