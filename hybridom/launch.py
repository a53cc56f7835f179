"""Starting one command as many processes: here, on one node, or on all nodes of a SLURM job.

torchrun starts the processes of a node and gives each its number; several nodes get one torchrun
each from `srun`. A job that comes near its time limit is told to save, and put back into the queue.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from hybridom import slurm
from hybridom.errors import UserError

log = logging.getLogger(__name__)

# Requests to stop, which torchrun hands on to its processes, and time to finish a step and save.
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1")
SHUTDOWN = 300  # s
HEED = ("--signals-to-handle", ",".join(SIGNALS), "--shutdown-timeout", str(SHUTDOWN))
# A job saves this long before its limit: some steps and a checkpoint, but little of a short job.
MARGIN, SHARE = 300.0, 0.25
LOOK = 30.0  # s between two looks at the time that is left, which an operator may change
ENDING = 60.0  # s in which SLURM ends a job that it has put back into the queue
PORTS = (20_000, 10_000)  # the first port of rendezvous, and how many there are


@dataclass(frozen=True)
class Shape:
    """How many processes, where.

    Attributes:
        nodes: Number of nodes.
        ranks: Number of processes on all nodes.
        threads: Cores of one node for them.
    """

    nodes: int
    ranks: int
    threads: int

    def __post_init__(self) -> None:
        if self.ranks % self.nodes:
            raise UserError(
                f"launch: {self.ranks} processes cannot be spread evenly over {self.nodes} nodes; "
                "choose training.ranks as a multiple of gpus_per_node"
            )

    @property
    def per_node(self) -> int:
        """Processes of one node."""
        return self.ranks // self.nodes

    @property
    def threads_each(self) -> int:
        """Cores for one process."""
        return max(1, -(-self.threads // self.per_node))


def command(shape: Shape, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command line that starts `hybridom` with `arguments` in the given shape.

    Args:
        shape: Processes and nodes.
        arguments: What follows `hybridom`.
        environment: Variables of the process, among them those of SLURM.

    Raises:
        UserError: Several nodes outside a SLURM job, or of which there are fewer.
    """
    torchrun = ["torchrun", "--nproc-per-node", str(shape.per_node), *HEED]
    program = ["-m", "hybridom", *arguments]
    if shape.nodes == 1:
        return [*torchrun, "--standalone", *program]
    job = slurm.own_job(environment)
    if job is None:
        raise UserError(
            f"launch: {shape.nodes} nodes are asked for outside a SLURM job; start torchrun on "
            "each of them yourself (docs/training.md), or take --nodes 1"
        )
    hosts = _hosts(job)
    if len(hosts) != shape.nodes:
        raise UserError(
            f"launch: {shape.nodes} nodes are asked for, job {job} has {len(hosts)} "
            f"({', '.join(hosts)}); resources `nodes` and `tasks` of the rule must agree"
        )
    nodes = str(shape.nodes)
    port = PORTS[0] + int(environment["SLURM_JOB_ID"]) % PORTS[1]
    return [
        *("srun", "--nodes", nodes, "--ntasks", nodes, "--ntasks-per-node", "1"),
        *("--cpus-per-task", str(shape.threads), "--cpu-bind=none", "--kill-on-bad-exit=1"),
        *torchrun,
        *("--nnodes", nodes, "--rdzv-backend", "c10d", "--rdzv-id", job),
        *("--rdzv-endpoint", f"{hosts[0]}:{port}"),
        *program,
    ]


def _hosts(job: str) -> list[str]:
    nodes = slurm.ask("squeue", "--noheader", "--job", job, "--format", "%N").strip()
    return slurm.ask("scontrol", "show", "hostnames", nodes).split()


def settings(shape: Shape) -> dict[str, str]:
    """Variables for the processes; what is set already goes before those of NCCL."""
    threads = str(shape.threads_each)
    # Snakemake sets both to all cores of the job, and torch heeds the larger.
    own = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # Warnings of NCCL name the interface or the peer that failed; by default it is silent.
    return {"NCCL_DEBUG": "WARN", **os.environ, **own}


def launch(shape: Shape, arguments: Sequence[str]) -> int:
    """Run `hybridom` with `arguments` in the given shape.

    Outside SLURM this process becomes torchrun. In a SLURM job it stays beside it and minds the
    time limit.

    Returns:
        The exit status.

    Raises:
        UserError: As `command`; the program that starts the processes is missing.
    """
    words, environment = command(shape, arguments, os.environ), settings(shape)
    log.info("%s", " ".join(words))
    try:
        job = slurm.own_job(os.environ)
        if job is None:
            os.execvpe(words[0], words, environment)
        return _mind(job, words, environment)
    except FileNotFoundError:
        raise UserError(
            f"launch: {words[0]} is not found; activate the environment of the project (an image "
            "of a container holds no srun: train on one node with it)"
        ) from None


def _mind(job: str, words: list[str], environment: Mapping[str, str]) -> int:
    """Run a command within a job; shortly before the limit let it save, then requeue the job."""
    process = subprocess.Popen(words, env=environment)
    signalled = threading.Event()

    def hand_on(number: int, frame: FrameType | None) -> None:
        signalled.set()
        process.send_signal(number)

    # SLURM signals all processes of a step, Snakemake its child alone; hearing twice does no harm.
    for name in SIGNALS:
        signal.signal(getattr(signal, name), hand_on)
    ended = threading.Event()
    clock = _Clock(job, process, ended)
    clock.start()
    status = process.wait()
    ended.set()
    clock.join()
    # A process that was ended by a signal has a negative status.
    status = 128 - status if status < 0 else status
    if status and clock.told and _requeue(job):
        # Snakemake must not see a failure before SLURM has ended the job.
        signalled.wait(ENDING)
    return status


class _Clock(threading.Thread):
    """Tells a process of a job to save when the time of the job runs out.

    Attributes:
        told: Whether it has.
    """

    def __init__(self, job: str, process: subprocess.Popen, ended: threading.Event) -> None:
        super().__init__(name="clock", daemon=True)
        self.told = False
        self._job, self._process, self._ended = job, process, ended

    def run(self) -> None:
        margin: float | None = None
        while True:
            try:
                left = slurm.time_left(self._job)
            except UserError as error:
                # SIGTERM at the limit still saves; a busy controller may answer next time.
                log.warning("the time that is left is not known: %s", error)
                if not slurm.present():
                    return  # inside the image of a container
                left = None
            if left is not None:
                margin = min(MARGIN, SHARE * left) if margin is None else margin
                if left <= margin:
                    break
            pause = LOOK if left is None or margin is None else min(LOOK, left - margin)
            if self._ended.wait(max(1.0, pause)):
                return
        log.info("the job ends in %.0f s: saving, to go on in the next", left)
        self.told = True
        self._process.send_signal(signal.SIGUSR1)


def _requeue(job: str) -> bool:
    """Put the job back into the queue, with which SLURM ends its processes; whether it could."""
    log.info("requeueing job %s", job)
    try:
        slurm.requeue(job)
    except UserError as error:
        log.warning("%s; Snakemake submits it again, if it has retries left", error)
        return False
    return True
