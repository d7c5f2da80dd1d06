"""Eight secrets planted where a user has some, a checkout that contains two of them, and a search for them."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

from pyarrow import fs, parquet

from tests.support.sweep_runs import ROOT

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-hunter2",
    "RAY_AUTH_TOKEN": "ray-0c1b2a39485766",
    "an address in the environment": "database-5f6e7d",
    "address of the ledger": "bucket/Se@cret+91",
    "address of MLflow": "tracking@Pa/ss17",
    "an uncommitted change": "sk-proj-uncommitted",
    "an untracked file": "ghp_untracked0815",
}
ENVIRONMENT = {name: value for name, value in SECRETS.items() if name.isupper()} | {
    "DATABASE_URL": f"postgresql://me:{SECRETS['an address in the environment']}@127.0.0.1:9/lab",
    "MLFLOW_TRACKING_USERNAME": "me",
}

FAULTY = '''"""A loss that quotes all that it knows."""
import itertools
import os
from dataclasses import dataclass

from trainables import SoftmaxCrossEntropy

CALLS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Faulty(SoftmaxCrossEntropy):
    """It raises with the environment in its text, but not in the first steps, which are tried before a run."""

    def log_probabilities(self, *args):
        if next(CALLS) > 20:
            raise ValueError(f"no connection to {os.environ['DATABASE_URL']} with {dict(os.environ)}")
        return super().log_probabilities(*args)
'''


def checkout(folder: Path) -> Path:
    """A copy of our packages as a checkout with an uncommitted change and an untracked file, each with a secret."""
    for package in ("pipeline", "trainables", "analysis"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "evidence"))
    settings = ["-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*settings, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    with open(folder / "pipeline" / "__init__.py", "a") as file:
        file.write(f"\n# API_KEY = {SECRETS['an uncommitted change']!r}\n")
    (folder / "pipeline" / "mine.py").write_text(f"TOKEN = {SECRETS['an untracked file']!r}\n")
    return folder


class QuotingServer:
    """An MLflow server that answers the first questions, and every other with an error that quotes the request."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                first = self.path.endswith("experiments/search")
                quoted = f"{SECRETS['address of MLflow']} {self.path} {dict(self.headers)}"
                answer = json.dumps({} if first else {"error_code": "BAD_REQUEST", "message": quoted}).encode()
                self.send_response(200 if first else 400)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                """Keep the tests' output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        """Its address, with the secret as a password."""
        return f"http://me:{quote(SECRETS['address of MLflow'], safe='')}@127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def leaks(places: Iterable[Path | tuple[fs.FileSystem, str]], texts: Mapping[str, str]) -> list[str]:
    """Where a secret is: in the files below these folders (local, or of any file system), or in these texts."""
    contents = {name: text.encode() for name, text in texts.items()}
    for place in places:
        contents |= dict(_files(place))
    assert any(contents.values())
    return sorted(
        f"{secret} in {name}"
        for name, content in contents.items()
        for secret, value in SECRETS.items()
        if any(form in content for form in _forms(value))
    )


def _files(place: Path | tuple[fs.FileSystem, str]) -> Iterator[tuple[str, bytes]]:
    """Every file's bytes; a Parquet file's values too, which are compressed in it."""
    filesystem, root = (fs.LocalFileSystem(), str(place)) if isinstance(place, Path) else place
    for info in filesystem.get_file_info(fs.FileSelector(root, recursive=True)):
        if info.type != fs.FileType.File:
            continue
        with filesystem.open_input_file(info.path) as file:
            yield info.path, file.read()
        if info.path.endswith(".parquet"):
            table = parquet.read_table(info.path, filesystem=filesystem)
            yield f"{info.path} (values)", f"{table.schema.metadata} {table.to_pylist()}".encode()


def _forms(secret: str) -> Iterator[bytes]:
    """The secret as it is, in an address, in JSON, and in the header of a request."""
    yield from (secret.encode(), quote(secret, safe="").encode(), quote(secret).encode(), json.dumps(secret).encode())
    yield base64.b64encode(f"me:{secret}".encode())
