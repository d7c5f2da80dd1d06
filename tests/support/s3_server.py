"""A real S3 server for the tests (moto's), on a free loopback port, with one empty bucket."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

START_S = 60
BUCKET = "bucket"


class S3Server:
    """Started by :meth:`start`, ended by :meth:`stop`; what it holds goes with it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def uri(self, prefix: str) -> str:
        """The address of a prefix in the bucket, for ``pyarrow.fs``, with all that a client needs to know."""
        return (
            f"s3://key:secret@{BUCKET}/{prefix}?scheme=http&endpoint_override=127.0.0.1:{self._port}&region=us-east-1"
        )

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            try:
                # An unsigned request is enough for it.
                urllib.request.urlopen(urllib.request.Request(f"{self.address}/{BUCKET}", method="PUT"), timeout=5)
                return
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError("the S3 server did not start") from None
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
