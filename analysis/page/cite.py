"""How to cite a sweep: the papers that its search space names, and grokscape itself, as BibTeX."""

import importlib.metadata
import re
from dataclasses import dataclass

from analysis.data.sweep import Sweep


@dataclass(frozen=True)
class Paper:
    """A paper that a search space of the house is about, by how docstrings name it."""

    named: str
    """``Prieto et al. 2025``."""
    title: str
    authors: str
    arxiv: str

    @property
    def key(self) -> str:
        """``prieto2025``."""
        return f"{re.split(r'[^a-z]', self.named.lower())[0]}{self.year}"

    @property
    def year(self) -> str:
        return self.named[-4:]

    def bibtex(self) -> str:
        return _entry("misc", self.key, title=self.title, author=self.authors, year=self.year, eprint=self.arxiv,
                      archiveprefix="arXiv")  # fmt: skip


PAPERS = (
    Paper(
        "Prieto et al. 2025",
        "Grokking at the Edge of Numerical Stability",
        "Prieto, Lucas and Barsbey, Melih and Mediano, Pedro A. M. and Birdal, Tolga",
        "2501.04697",
    ),
    Paper(
        "Doshi et al. 2024",
        "To Grok or Not to Grok: Disentangling Generalization and Memorization on Corrupted Algorithmic Datasets",
        "Doshi, Darshil and Das, Aritra and He, Tianyu and Gromov, Andrey",
        "2310.13061",
    ),
    Paper(
        "Kumar et al. 2024",
        "Grokking as the Transition from Lazy to Rich Training Dynamics",
        "Kumar, Tanishq and Bordelon, Blake and Gershman, Samuel J. and Pehlevan, Cengiz",
        "2310.06110",
    ),
    Paper(
        "Xu et al. 2024",
        "Benign Overfitting and Grokking in ReLU Networks for XOR Cluster Data",
        "Xu, Zhiwei and Wang, Yutong and Frei, Spencer and Vardi, Gal and Hu, Wei",
        "2310.02541",
    ),
    Paper(
        "Rosenfeld and Risteski 2024",
        "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization",
        "Rosenfeld, Elan and Risteski, Andrej",
        "2311.04163",
    ),
    Paper(
        "Barsbey et al. 2025",
        "Large Learning Rates Simultaneously Achieve Robustness to Spurious Correlations and Compressibility",
        "Barsbey, Melih and Prieto, Lucas and Zafeiriou, Stefanos and Birdal, Tolga",
        "2507.17748",
    ),
    Paper(
        "Ma and Fattahi 2022",
        "Global Convergence of Sub-gradient Method for Robust Matrix Recovery: Small Initialization, Noisy "
        "Measurements, and Over-parameterization",
        "Ma, Jianhao and Fattahi, Salar",
        "2202.08788",
    ),
    Paper(
        "Lin et al. 2023",
        "Eliminating Catastrophic Overfitting Via Abnormal Adversarial Examples Regularization",
        "Lin, Runqi and Yu, Chaojian and Liu, Tongliang",
        "2404.08154",
    ),
    Paper(
        "Sadat et al. 2025",
        "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
        "Sadat, Seyedmorteza and Hilliges, Otmar and Weber, Romann M.",
        "2410.02416",
    ),
)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})(?:v\d+)?", re.IGNORECASE)


def bibtex(sweep: Sweep) -> str:
    """BibTeX of the papers that the docstring names, or gives the arXiv number of, and of grokscape."""
    doc = " ".join(sweep.doc.split())
    given = dict.fromkeys(ARXIV.findall(doc))
    named = [paper for paper in PAPERS if paper.named in doc or paper.arxiv in given]
    known = {paper.arxiv for paper in named}
    entries = [paper.bibtex() for paper in named]
    entries += [
        _entry("misc", f"arxiv{number}", eprint=number, archiveprefix="arXiv", url=f"https://arxiv.org/abs/{number}")
        for number in given
        if number not in known
    ]
    return "\n\n".join([*entries, _grokscape(sweep)])


def _grokscape(sweep: Sweep) -> str:
    try:
        version = importlib.metadata.version("grokscape")
    except importlib.metadata.PackageNotFoundError:  # Run from a checkout that is not installed.
        version = ""
    origin = sweep.origin
    commit = origin.commit if origin is not None else ""
    return _entry(
        "software",
        "grokscape",
        title="{grokscape}: a sweep pipeline for training dynamics",
        author="{The grokscape developers}",
        version=version,
        note=f"Commit {commit}" if commit else "",
        year=origin.recorded_at[:4] if origin is not None else "",
    )


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
