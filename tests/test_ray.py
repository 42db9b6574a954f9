"""A study on a local Ray cluster of two workers, one of which is lost, gives the tables of one run after another."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.small import make_prepared

ROOT = Path(__file__).resolve().parent.parent
ray = pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # tests report to nobody
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
PREPARE = ["--demo", "--demo-chips", "60", "--extent", "512", "--spacing", "16"]  # 32 x 32 pixels
TRAIN = ["--study", "studies/unbalanced.toml", "--backbone", "trained", "--epochs", "2", "--batch-size", "16",
         "--no-figures", "--no-timing", "--no-weights", "--device", "cpu", "--cpus-per-run", "1"]  # fmt: skip
LIMIT_SECONDS = 1200


def command(script: str, *words: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, words)]


def finish(words: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, timeout=LIMIT_SECONDS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head that computes nothing, and two workers of one processor each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    made.workers = [made.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def outs(tmp_path_factory) -> tuple[Path, Path]:
    """Two folders with the same prepared chips."""
    made = tuple(tmp_path_factory.mktemp(name) for name in ("serial", "cluster"))
    for out in made:
        done = finish(command("dataset_prep.py", *PREPARE, "--out", out))
        assert done.returncode == 0, done.stderr[-2000:]
    return made


def stopped_in_mid_run(node, folder: Path) -> psutil.Process | None:
    """A worker of the node that has done an epoch of a run and not all of them: stopped there, so that it stays so."""
    (raylet,) = node.all_processes["raylet"]
    for worker in psutil.Process(raylet.process.pid).children():
        with suppress(psutil.NoSuchProcess, IndexError):
            run = worker.cmdline()[0].removeprefix("ray::")  # Ray names a worker's process after what it does
            if (folder / f".{run}.partial.pt").exists():
                worker.suspend()
                if (folder / f".{run}.partial.pt").exists():
                    return worker
                worker.resume()
    return None


def wait_for(what, process: subprocess.Popen):
    """What `what` returns, once that is something."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := what()):
        assert process.poll() is None, "the command ended before there was anything to disturb"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_study_whose_worker_is_lost_ends_as_the_serial_one(cluster, outs):
    serial, out = outs
    done = finish(command("test_models.py", *TRAIN, "--out", serial))
    assert done.returncode == 0, done.stderr[-2000:]

    words = command("test_models.py", *TRAIN, "--ray", cluster.address, "--out", out)
    with (out / "said").open("w") as said:
        process = subprocess.Popen(words, cwd=ROOT, env=ONE_THREAD, stdout=said, stderr=said)
        try:
            folder = out / "trained_models"
            lost = cluster.workers[1]
            wait_for(lambda: len(list(folder.glob("[!.]*.pt"))) >= 3, process)
            worker = wait_for(lambda: stopped_in_mid_run(lost, folder), process)
            cluster.remove_node(lost, allow_graceful=False)  # SIGKILL
            worker.kill()  # left to itself, it would end its run before it saw that its node is gone
            status = process.wait(LIMIT_SECONDS)
        finally:
            process.kill()
    text = (out / "said").read_text()
    assert status == 0, text[-3000:]
    assert "again, in another process" in text
    assert "Traceback" not in text
    for table in ("scores.csv", "predictions.csv", "history.csv"):
        assert (out / table).read_bytes() == (serial / table).read_bytes(), table
    assert (
        len(pd.read_csv(out / "scores.csv")) == 3 * 3 * 2 * 6 + 3 * 3 * 2
    )  # of Majority, one protocol is like the other
    assert not list(folder.glob(".*.pt"))


@pytest.fixture
def untrained(tmp_path) -> Path:
    """A folder of its own: in one that another test has trained in, what is trained is refused before all else."""
    return make_prepared(tmp_path, ("Fusar",))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere:port"])
def test_no_cluster_is_said_in_one_line_and_soon(address, untrained):
    started = time.monotonic()
    done = finish(command("test_models.py", "--models", "CNN", "--ray", address, "--out", untrained))
    assert done.returncode == 2 and time.monotonic() - started < 60
    said = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(said) == 1 and f"--ray {address}: no cluster answers" in said[0]


def test_a_run_that_no_node_can_take_is_refused(cluster, untrained):
    words = ["--models", "CNN", "--ray", cluster.address, "--cpus-per-run", "64", "--out", untrained]
    done = finish(command("test_models.py", *words))
    assert done.returncode == 2
    assert "no node has 64 CPUs and 0 GPUs for a run; ask for fewer" in done.stderr
