"""A cluster: two raylets on this machine that want a token, and the file for ``ray up``."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support.fake_mnist import write_mnist
from tests.support.sweep_runs import ROOT, alive, contents, descendants, environment, run_sweep, wait_until, write_space

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
FLAGS = ("tiny.py", "--mlflow-uri", "none", "--cohort-size", "1", "--device", "cpu")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def start_node(folder, token, *flags):
    """``ray start --block``: the node lives as long as the process."""
    agent, runtime_env, metrics = free_ports(3)
    ports = (f"--dashboard-agent-listen-port={agent}", f"--runtime-env-agent-port={runtime_env}")
    with (folder / "ray.log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
                *("--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000"),
                *(*ports, f"--metrics-export-port={metrics}", *flags),
            ],
            cwd=folder,
            env=environment(folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """(address, token) of a head and a second node, with one CPU each."""
    folder, token = tmp_path_factory.mktemp("cluster"), secrets.token_hex(32)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    nodes = [start_node(folder, token, "--head", f"--port={port}", "--include-dashboard=false")]
    try:
        wait_until(lambda: answers(port), timeout_s=60, what="the head listens")
        nodes.append(start_node(folder, token, f"--address={address}"))
        count = (
            f"import ray, logging; ray.init(address={address!r}, log_to_driver=False, logging_level=logging.CRITICAL);"
            "print(int(ray.cluster_resources().get('CPU', 0)))"
        )
        asked = environment(folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)

        def both():
            done = subprocess.run([sys.executable, "-c", count], env=asked, capture_output=True, text=True, check=False)
            return done.stdout.strip() == "2"

        wait_until(both, timeout_s=120, what=f"two nodes: {(folder / 'ray.log').read_text()[-2000:]}")
        yield address, token
    finally:
        left = [pid for node in nodes for pid in (node.pid, *descendants(node.pid))]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for node in nodes:
            node.wait()
        wait_until(lambda: not alive(left), timeout_s=30, what="the nodes end")


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_a_sweep_on_both_nodes_is_the_local_one(cluster, tmp_path):
    address, token = cluster
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
        write_space(folder, GRID)
    done = run_sweep(there, *FLAGS, "--address", address, RAY_AUTH_TOKEN=token)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    # As many workers as the cluster has CPUs, which this machine need not have.
    assert "6 of 6 done, 0 running, 0 cached, 0 failed after" in done.stdout
    assert run_sweep(here, *FLAGS, "--local").returncode == 0
    assert contents(there / "results/ledger") == contents(here / "results/ledger")
    again = run_sweep(there, *FLAGS, "--json", "--address", address, RAY_AUTH_TOKEN=token)
    assert json.loads(again.stdout)["cached"] == 6


def test_the_workers_of_a_cluster_read_the_data_folder_that_the_flag_names(cluster, tmp_path):
    address, token = cluster
    write_mnist(tmp_path / "sets")
    path = write_space(tmp_path, "base=BASE.replace(task=MNISTSubset(train_rows=20, test_rows=20))")
    path.write_text(path.read_text().replace("BASE =", "from trainables.data.mnist import MNISTSubset\n\nBASE ="))
    flags = (*FLAGS, "--data", "sets", "--json", "--address", address)
    done = run_sweep(tmp_path, *flags, RAY_AUTH_TOKEN=token, GROKSCAPE_DATA="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (json.loads(done.stdout)["finished"], json.loads(done.stdout)["failed"]) == (1, 0)


def test_the_users_modules_travel_to_workers_that_lack_them(cluster, tmp_path):
    """The driver runs elsewhere, because Ray puts its folder on the workers' path."""
    address, token = cluster
    mine, log = tmp_path / "mine", tmp_path / "imported.txt"
    mine.mkdir()
    note = f"with open({str(log)!r}, 'a') as log:\n    log.write(__file__ + '\\n')\n"
    (mine / "myhelp.py").write_text("SCALE = 2\n" + note)
    (mine / "mylosses.py").write_text(LOSS + note)
    space = write_space(mine, GRID.replace("BASE", "BASE.replace(loss=Scaled())", 1))
    space.write_text("from mylosses import Scaled\n" + space.read_text())
    flags = ("--mlflow-uri", "none", "--cohort-size", "1", "--device", "cpu", "--json", "--address", address)
    done = run_sweep(tmp_path, space, *flags, RAY_AUTH_TOKEN=token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["finished"] == 6
    imported = log.read_text().splitlines()
    assert {Path(line).name for line in imported[2:]} == {"myhelp.py", "mylosses.py"}
    assert all("py_modules_files" in line for line in imported[2:])


@pytest.mark.parametrize("token", ["", "0" * 64], ids=["no token", "another token"])
def test_without_the_token_nobody_gets_in(cluster, tmp_path, token):
    address, _ = cluster
    write_space(tmp_path, GRID)
    more = {"RAY_AUTH_TOKEN": token} if token else {}
    began = time.monotonic()
    done = run_sweep(tmp_path, *FLAGS, "--address", address, **more)
    assert time.monotonic() - began < 40
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(rf"error: --address {address}: [^\n]* set the token [^\n]*\n", done.stderr), done.stderr
    assert not (tmp_path / "results").exists()


def test_what_is_no_cluster_is_not_waited_for(tmp_path):
    write_space(tmp_path, GRID)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        done = run_sweep(tmp_path, *FLAGS, "--address", address)
    assert time.monotonic() - began < 40
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --address {address}: does not answer like a Ray cluster\n"


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
