"""What several end-to-end tests start."""

from collections.abc import Iterator

import pytest

from tests.support.s3_server import S3Server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """An S3 server that runs."""
    server = S3Server()
    server.start()
    yield server
    server.stop()
