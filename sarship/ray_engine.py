"""The runs of a study on a Ray cluster: one task a run, with the processors or the GPUs that it needs, wherever there
are some. Moritz et al. 2018, "Ray: a distributed framework for emerging AI applications", OSDI.

The nodes share the folder that is written to. They get this project's code from the command, and have Python and the
packages of requirements.txt by themselves.
"""

import socket
from pathlib import Path
from typing import Any

from sarship.command import UserError, log
from sarship.engines import TRIES, Hear, Work

ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.2
LISTEN_SECONDS = 10
ADVICE = "start it with: ray start --head"


class RayCluster:
    """Runs as tasks of the cluster at `address`, or the one of this machine ("auto").

    gpus: of a run, also part of one; 0 for none, None for one if the cluster has any. Raises UserError if Ray is not
    installed, or no cluster answers.
    """

    def __init__(self, work: Work, hear: Hear, address: str, cpus: int, gpus: float | None):
        self._ray = _connect(address)
        self._hear = hear
        if gpus is None:
            gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        self._refuse_what_nobody_has(address, cpus, gpus)
        self._queue = _queue_here(self._ray)
        self._task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TRIES - 1)(_work_for(work))
        self._stems: dict[Any, str] = {}

    def _refuse_what_nobody_has(self, address: str, cpus: int, gpus: float) -> None:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            self._ray.shutdown()
            raise UserError(
                f"--ray {address}: no node has {cpus} CPUs and {gpus:g} GPUs for a run; "
                "ask for fewer with --cpus-per-run and --gpus-per-run"
            )

    def has_room(self) -> bool:
        return True  # Ray keeps what waits, and begins in this order

    def start(self, order: Any) -> None:
        named = self._task.options(name=order.stem)  # for Ray's dashboard and for top
        self._stems[named.remote(order, self._queue)] = order.stem

    def finished(self) -> list[tuple[str, str | None]]:
        while True:
            done, _ = self._ray.wait(list(self._stems), num_returns=1, timeout=POLL_SECONDS)
            self._hear_all()
            if done:
                return [(self._stems.pop(each), self._why_failed(each)) for each in done]

    def _hear_all(self) -> None:
        for message in self._queue.get_nowait_batch(self._queue.qsize()):
            self._hear(message)

    def _why_failed(self, done: Any) -> str | None:
        try:
            return self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            return f"its worker was lost {TRIES} times ({str(error).splitlines()[0]})"

    def close(self) -> None:
        for each in self._stems:
            self._ray.cancel(each, force=True)
        self._ray.shutdown()


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError("--ray: Ray is not installed; pip install -r requirements-cluster.txt") from error
    _look_for_somebody(address)
    beside = [f"/{path.name}" for path in ROOT.iterdir() if path.suffix != ".py" and path.name != "sarship"]
    code = {"working_dir": str(ROOT), "excludes": [*beside, "__pycache__"]}
    try:
        ray.init(address=address, runtime_env=code, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"--ray {address}: no cluster answers ({why}); {ADVICE}") from error
    log(f"Ray cluster: {_sum_of(ray.cluster_resources())}")
    return ray


def _look_for_somebody(address: str) -> None:
    """UserError if nobody listens there: Ray itself would try for three minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon:
        return  # auto, local: Ray knows at once
    try:
        socket.create_connection((host, int(port)), timeout=LISTEN_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--ray {address}: no cluster answers ({error}); {ADVICE}") from error


def _sum_of(resources: dict) -> str:
    return ", ".join(f"{resources[kind]:g} {kind}s" for kind in ("CPU", "GPU") if resources.get(kind))


def _queue_here(ray: Any) -> Any:
    """A queue that lives on this node, which the command goes with anyway: others may be lost."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _work_for(work: Work) -> Any:
    """The task: `work` on an order, whose messages go into a queue."""

    def task(order: Any, queue: Any) -> str | None:
        return work(order, queue.put)

    return task
