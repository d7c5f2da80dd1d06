"""A cluster: two raylets on this machine that want a token, and the file for ``ray up``."""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import yaml

from pipeline.execution import ray_environment
from pipeline.execution.ray_environment import RayAddressError, check_cluster
from pipeline.ledger import Ledger
from tests.support.fake_mnist import write_mnist
from tests.support.sweep_runs import (
    ROOT,
    alive,
    contents,
    descendants,
    environment,
    run_sweep,
    started_sweep,
    wait_until,
    write_space,
)

GRID = 'base=BASE, axes={"optimizer.weight_decay": [0, 1]}, seeds=range(3)'
LOSS = """
from dataclasses import dataclass
from myhelp import SCALE
from trainables import SoftmaxCrossEntropy

@dataclass(frozen=True, kw_only=True)
class Scaled(SoftmaxCrossEntropy):
    def row_losses(self, *arguments):
        return SCALE * super().row_losses(*arguments)

"""
NOTE = """
import os

LOG, NODE = {log!r}, os.environ.get("NODE", "")
with open(LOG, "a") as log:
    log.write(NODE + " " + __file__ + "\\n")
"""
WAIT = """
import time

until = time.monotonic() + 200
while NODE and not all(name + " " in open(LOG).read() for name in {names!r}) and time.monotonic() < until:
    time.sleep(0.2)
"""
FLAGS = ("--mlflow-uri", "none", "--cohort-size", "1", "--device", "cpu")
CAN_HIDE = subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True, check=False).returncode == 0


def free_ports(count):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


class Cluster:
    """Nodes with one CPU each, and with a home, a working folder, a Python environment and a copy of ours each."""

    def __init__(self, folder):
        self.folder, self.token = folder, secrets.token_hex(32)
        (self._port,) = free_ports(1)
        self.address = f"127.0.0.1:{self._port}"
        self.nodes = {}

    def start(self, name, hide=None):
        """``ray start --block`` with what ``cluster.yaml`` gives a node; it lives as long as the process.

        :param hide: a folder that the node cannot see, as if it were on another machine; it then has its own host name.
        """
        home = self.folder / name
        for package in ("pipeline", "trainables"):
            shutil.copytree(ROOT / package, home / "grokscape" / package, ignore=shutil.ignore_patterns("__pycache__"))
        venv.create(home / "venv", symlinks=True)
        (site_packages,) = (home / "venv/lib").glob("python*/site-packages")
        installed = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
        (site_packages / "of_this_node.pth").write_text("\n".join([*installed, str(home / "grokscape"), ""]))
        agent, runtime_env, metrics = free_ports(3)
        place = (f"--address={self.address}",)
        if not self.nodes:
            place = ("--head", f"--port={self._port}", "--include-dashboard=false")
        command = [
            *(str(home / "venv/bin/python"), "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000"),
            *(f"--dashboard-agent-listen-port={agent}", f"--runtime-env-agent-port={runtime_env}"),
            *(f"--metrics-export-port={metrics}", *place),
        ]
        if hide is not None:
            apart = f"hostname {name} && mount -t tmpfs none {shlex.quote(str(hide))} && exec {shlex.join(command)}"
            command = ["unshare", "--mount", "--uts", "sh", "-c", apart]
        own = environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=self.token, NODE=name)
        del own["PYTHONPATH"]
        with (home / "ray.log").open("a") as log:
            self.nodes[name] = subprocess.Popen(
                command,
                cwd=home,
                env=own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, count):
        """Wait until this number of nodes have joined."""
        wait_until(lambda: answers(self.address), timeout_s=60, what="the head listens")
        program = (
            f"import ray, logging; ray.init(address={self.address!r}, log_to_driver=False, "
            "logging_level=logging.CRITICAL);"
            f"import time\nwhile ray.cluster_resources().get('CPU') != {count}: time.sleep(0.2)"
        )
        own = environment(self.folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=self.token)
        subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, timeout=120, check=True)

    def run(self, folder, *arguments, **more):
        """A sweep on the nodes."""
        return run_sweep(folder, *arguments, "--address", self.address, RAY_AUTH_TOKEN=self.token, **more)

    def end(self):
        left = [pid for node in self.nodes.values() for pid in (node.pid, *descendants(node.pid))]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for node in self.nodes.values():
            node.wait()
        wait_until(lambda: not alive(left), timeout_s=30, what="the nodes end")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder with data sets, which the second node lacks."""
    folder = tmp_path_factory.mktemp("sets")
    write_mnist(folder)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node, until tests start more."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start("first")
        cluster.wait(1)
        yield cluster
    finally:
        cluster.end()


def answers(address):
    host, _, port = address.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def test_the_user_s_component_on_nodes_that_lack_it_two_of_which_join_late(cluster, sets, tmp_path):
    """Each trial waits until all have work; the ledger is the local one."""
    mine, there, here, log = tmp_path / "mine", tmp_path / "there", tmp_path / "here", tmp_path / "imported.txt"
    for folder in (mine, there, here):
        folder.mkdir()
    note = NOTE.format(log=str(log))
    (mine / "myhelp.py").write_text("SCALE = 2\n" + note + WAIT.format(names=["second", "third"]))
    (mine / "mylosses.py").write_text(LOSS + note)
    space = write_space(mine, GRID.replace("BASE", "BASE.replace(loss=Scaled())", 1))
    space.write_text("from mylosses import Scaled\n" + space.read_text())
    flags = (space, *FLAGS, "--json")
    with started_sweep(there, *flags, "--address", cluster.address, RAY_AUTH_TOKEN=cluster.token) as process:
        wait_until(lambda: log.exists() and "first" in nodes(log), timeout_s=120, what="the first node works")
        cluster.start("second", hide=sets if CAN_HIDE else None)
        # Nodes of one machine that start together take the same sockets.
        wait_until(lambda: "second" in nodes(log), timeout_s=120, what="the second node works")
        cluster.start("third")
        output, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (0, ""), output
    assert (json.loads(output)["finished"], json.loads(output)["failed"]) == (6, 0)
    assert nodes(log) == {"", "first", "second", "third"}
    imported = [Path(line.split()[1]) for line in log.read_text().splitlines() if not line.startswith(" ")]
    assert {path.name for path in imported} == {"myhelp.py", "mylosses.py"}
    assert all("py_modules_files" in str(path) for path in imported)
    assert run_sweep(here, *flags, "--local").returncode == 0
    assert contents(there / "results/ledger") == contents(here / "results/ledger")
    again = cluster.run(there, *flags, "--dry-run")
    assert json.loads(again.stdout)["cached"] == 6


def nodes(log):
    return {line.partition(" ")[0] for line in log.read_text().splitlines()}


@pytest.fixture
def two_nodes(cluster, sets):
    """The second one lacks the data sets."""
    if "second" not in cluster.nodes:
        cluster.start("second", hide=sets)
        cluster.wait(2)
    return cluster


def write_mnist_space(folder, loss="BASE.loss", more=""):
    base = f"BASE.replace(task=MNISTSubset(train_rows=20, test_rows=20), loss={loss})"
    path = write_space(folder, f"base={base}, seeds=range(4)")
    imports = f"from trainables.data.mnist import MNISTSubset\n{more}\nBASE ="
    path.write_text(path.read_text().replace("BASE =", imports, 1))


@pytest.mark.skipif(not CAN_HIDE, reason="needs the right to mount a folder apart")
def test_a_data_set_that_one_node_lacks(two_nodes, sets, tmp_path):
    """The first node waits until the second has work."""
    log = tmp_path / "imported.txt"
    (tmp_path / "myhelp.py").write_text("SCALE = 1\n" + NOTE.format(log=str(log)) + WAIT.format(names=["second"]))
    (tmp_path / "mylosses.py").write_text(LOSS)
    write_mnist_space(tmp_path, "Scaled()", "from mylosses import Scaled\n")
    place = os.path.relpath(sets, tmp_path)
    done = two_nodes.run(tmp_path, "tiny.py", *FLAGS, "--data", place, "--json", GROKSCAPE_DATA="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (json.loads(done.stdout)["finished"], json.loads(done.stdout)["failed"]) == (4, 0)
    one_line = (
        rf"warning: node second \([0-9.]+\): MNIST: is not in [^\n]*{sets}[^\n]*; its trials run on other nodes\n"
    )
    assert re.fullmatch(one_line, done.stderr), done.stderr
    assert Ledger.open(str(tmp_path / "results/ledger")).verify() == []


def test_a_data_set_that_no_node_has(cluster, tmp_path):
    write_mnist_space(tmp_path)
    done = cluster.run(tmp_path, "tiny.py", *FLAGS, "--data", "nothing", "--json", GROKSCAPE_DATA="")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    folder = re.escape(str(tmp_path / "nothing"))
    one_line = rf"error: no node has what the trials need: node \S+ \([0-9.]+\): GROKSCAPE_DATA = '{folder}': [^\n]*\n"
    assert re.fullmatch(one_line, done.stderr), done.stderr
    assert Ledger.open(str(tmp_path / "results/ledger")).trials() == {}  # nothing has failed, all is still to be run


@pytest.mark.parametrize("token", ["", "0" * 64], ids=["no token", "another token"])
def test_without_the_token_nobody_gets_in(cluster, tmp_path, token):
    write_space(tmp_path, GRID)
    more = {"RAY_AUTH_TOKEN": token} if token else {}
    began = time.monotonic()
    done = run_sweep(tmp_path, "tiny.py", *FLAGS, "--address", cluster.address, **more)
    assert time.monotonic() - began < 40
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(rf"error: --address {cluster.address}: [^\n]* set the token [^\n]*\n", done.stderr), done.stderr
    assert not (tmp_path / "results").exists()


def test_what_is_no_cluster_is_not_waited_for(monkeypatch):
    assert ray_environment.JOIN_TIMEOUT_S <= 15
    monkeypatch.setattr(ray_environment, "JOIN_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(RayAddressError, match=f"^--address {address}: does not answer like a Ray cluster$"):
            check_cluster(address)


class TestClusterFile:
    @pytest.fixture
    def config(self):
        return yaml.safe_load((ROOT / "cluster.yaml").read_text())

    def test_ray_s_own_schema_accepts_it(self, config):
        from ray.autoscaler._private.util import prepare_config, validate_config

        prepared = prepare_config(config)
        validate_config(prepared)
        assert set(prepared["available_node_types"]) == {"head", "gpu"}
        assert prepared["head_node_type"] == "head"

    def test_ray_s_own_schema_would_refuse_a_mistake(self, config):
        from jsonschema import ValidationError
        from ray.autoscaler._private.util import prepare_config, validate_config

        config["idle_timeout_minuts"] = 10
        with pytest.raises(ValidationError, match="idle_timeout_minuts"):
            validate_config(prepare_config(config))

    def test_its_command_is_one_that_there_is(self, config):
        from pipeline.terminal.flags import parser

        text = re.sub(r"\n#\s*", " ", (ROOT / "cluster.yaml").read_text()).replace("\\", "")
        arguments = re.search(r"python -m pipeline\.sweep ([^\"]+)\"", text)[1].split()
        flags = parser().parse_args(arguments)
        assert (ROOT / flags.space).is_file()
        port = int(flags.address.rpartition(":")[2])
        assert any(f"--port={port}" in command for command in config["head_start_ray_commands"])
        assert any(f":{port}" in command for command in config["worker_start_ray_commands"])
        assert flags.mlflow_uri.rpartition(":")[2] in " ".join(config["head_start_ray_commands"])

    def test_only_what_is_committed_reaches_a_node(self, config, tmp_path):
        here, node = tmp_path / "here", tmp_path / "node"
        tracked = {"pipeline/sweep.py": "one\n", ".gitignore": "*.bundle\nignored.env\n", "space name.py": ""}
        for name, text in tracked.items():
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(text)
        node.mkdir()

        def shell(command, folder, home):
            subprocess.run(["bash", "-euc", command], cwd=folder, env=os.environ | {"HOME": str(home)}, check=True)

        commit = "git add . && git -c user.name=me -c user.email=me@example.org commit --quiet --message one"
        shell(f"git init --quiet && {commit}", here, tmp_path)
        for name in (".env", "ignored.env", "pipeline/.env", "results/ledger/rows.parquet"):
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text("SECRET=1\n")
        (here / "pipeline/sweep.py").write_text("SECRET=1\n")  # a change that is not committed

        def up():
            """What ``ray up`` does with a node's files, by the command in the file's header."""
            shell(
                re.search(r"(git bundle create .*) && ray up", (ROOT / "cluster.yaml").read_text())[1], here, tmp_path
            )
            mounts = {name: place for name, place in config["file_mounts"].items() if not place.startswith("~/.ray/")}
            assert mounts
            for there, place in mounts.items():
                assert (here / place).is_file()  # of a folder everything would travel
                shutil.copy(here / place, node / there.removeprefix("~/"))
            shell(config["setup_commands"][0], node, node)
            below = (node / "grokscape").rglob("*")
            files = {str(path.relative_to(node / "grokscape")): path for path in below if path.is_file()}
            return {name: path.read_text() for name, path in files.items() if not name.startswith(".git/")}

        assert up() == tracked
        shell(
            "git checkout --quiet . && git rm --quiet 'space name.py' && rm .env pipeline/.env && rm -r results",
            here,
            here,
        )
        (here / "new.py").write_text("two\n")
        shell(commit, here, here)
        (node / "grokscape/results").mkdir()
        assert up() == {name: text for name, text in tracked.items() if name != "space name.py"} | {"new.py": "two\n"}
        assert (node / "grokscape/results").is_dir()

    def test_a_node_installs_what_the_lock_file_pins(self, config):
        install = [command for command in config["setup_commands"] if "pip install" in command]
        assert ["--require-hashes" in command or "--no-deps" in command for command in install] == [True] * len(install)
        assert any("-r ~/grokscape/requirements.lock" in command for command in install)
