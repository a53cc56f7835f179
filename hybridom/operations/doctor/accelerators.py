"""GPUs, and processes that add up over NCCL and gloo."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from hybridom import slurm
from hybridom.operations.doctor.findings import Case, Checks, Finding, fail, ok, skip, warn

PROGRAM = "hybridom.operations.doctor.collective"
PATIENCE = 180.0  # s for a sum over processes; most of it goes into importing PyTorch
LARGE = 1e6  # cells of all levels; above, training without a GPU takes for ever


def checks(case: Case) -> Checks:
    """The checks of this group."""
    return ("GPUs", gpus), ("NCCL", nccl), ("host name", host_name), ("gloo", gloo)


def gpus(case: Case) -> Iterator[Finding]:
    """GPUs of this machine against what PyTorch can use and training wants."""
    import torch

    seen = visible()
    ranks = case.config.training.ranks
    if not torch.cuda.is_available():
        yield from _none_usable(case, seen)
        return
    count = torch.cuda.device_count()
    cards = [torch.cuda.get_device_properties(n) for n in range(count)]
    kinds = dict.fromkeys(f"{card.name}, {card.total_memory / 1e9:.0f} GB" for card in cards)
    driver = f", driver {seen[0][2]}" if seen else ""
    found = f"{count} ({'; '.join(kinds)}{driver}, CUDA {torch.version.cuda} of PyTorch)"
    if ranks > count and not slurm.present():
        yield fail(
            "GPUs",
            f"{found}, training.ranks is {ranks}",
            f"set training.ranks: {count}; each process needs a GPU of its own",
        )
    else:
        yield ok("GPUs", found)


def _none_usable(case: Case, seen: list[tuple[str, int, str]]) -> Iterator[Finding]:
    """What it means that PyTorch has no GPU."""
    import torch

    if seen and torch.version.cuda is None:
        yield warn(
            "GPUs",
            f"{len(seen)} here ({seen[0][0]}), but PyTorch is built for the CPU alone",
            "install a build for CUDA (pytorch.org says how); training would not use the GPUs",
        )
    elif seen:
        yield fail(
            "GPUs",
            f"{len(seen)} here ({seen[0][0]}, driver {seen[0][2]}), but PyTorch for CUDA "
            f"{torch.version.cuda} cannot use them: {_reason()}",
            "update the driver, or install PyTorch built for an older CUDA",
        )
    elif given := given_by_slurm():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        yield warn(
            "GPUs",
            f"the job was given {given}, but PyTorch (built for {built}) sees none",
            "install a build for CUDA, or have the node's driver looked at",
        )
    elif slurm.present() and "SLURM_JOB_ID" not in os.environ:
        yield skip("GPUs", f"none on this machine; to check a node, run {on_a_node(case)}")
    else:
        cells = cell_count(case)
        ranks = case.config.training.ranks
        found = f"none; training runs on the CPU, {ranks} process{'es' if ranks > 1 else ''}"
        if cells > LARGE:
            remedy = "run it where there are GPUs, or choose a coarser grid"
            yield warn("GPUs", f"{found}, {cells / 1e6:.1f} million cells a step", remedy)
        else:
            yield ok("GPUs", found)


def _reason() -> str:
    """Why CUDA does not start, in PyTorch's words."""
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "no reason given"


def visible() -> list[tuple[str, int, str]]:
    """Name, memory (MiB) and driver version of each GPU that NVIDIA's tool lists."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    done = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, timeout=60)
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [
        (row[0], int(row[1]) if row[1].isdigit() else 0, row[2]) for row in rows if len(row) == 3
    ]


def given_by_slurm() -> int:
    """GPUs of this node that SLURM gave to the job; 0 outside a job."""
    if "SLURM_JOB_ID" not in os.environ:
        return 0
    return sum(map(bool, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))


def cell_count(case: Case) -> int:
    """Cells of the grid, all levels."""
    box = case.config.grid
    rows, columns = (round((b - a) / box.resolution) for a, b in (box.lat, box.lon))
    return rows * columns * len(box.depths)


def on_a_node(case: Case) -> str:
    """The command that examines a node with GPUs."""
    try:
        rows = sorted(
            (row for row in slurm.partitions() if row.gpus), key=lambda row: "gpu" not in row.name
        )
    except Exception:  # the cluster's own checks say what is wrong
        rows = []
    place = f"-p {rows[0].name} --gpus-per-node={rows[0].gpus}" if rows else "-p gpu"
    options = f"--config {case.file} --profile {case.profile}"
    return f"`srun {place} hybridom doctor {options}`"


def nccl(case: Case) -> Iterator[Finding]:
    """A real sum on each GPU, and over all of them."""
    import torch

    if not torch.cuda.is_available():
        yield skip("NCCL", "not checked: it needs a GPU that PyTorch can use, and there is none")
        return
    count = torch.cuda.device_count()
    with ThreadPoolExecutor(count) as pool:
        said = list(pool.map(lambda n: run(["-m", PROGRAM, "nccl", str(n)]), range(count)))
    for number, error in enumerate(said):
        if error is not None:
            remedy = "look at the GPU with nvidia-smi, and run again with NCCL_DEBUG=INFO"
            yield fail("NCCL", f"no sum on GPU {number}: {error}", remedy)
    if any(said):
        return
    if count > 1 and (error := run(torchrun(count, "nccl"))) is not None:
        remedy = "run again with NCCL_DEBUG=INFO; NCCL_P2P_DISABLE=1 shows if it is the link"
        yield fail("NCCL", f"no sum over the {count} GPUs: {error}", remedy)
        return
    version = ".".join(map(str, torch.cuda.nccl.version()))
    over = f", and over all {count}" if count > 1 else ""
    yield ok("NCCL", f"{version}: a sum on each GPU{over} is right")


def host_name(case: Case) -> Iterator[Finding]:
    """Whether this machine is reached by its own name, as torchrun and gloo do."""
    name = socket.gethostname()
    own = f"add a line for {name} to /etc/hosts, or export GLOO_SOCKET_IFNAME with a network's name"
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        yield fail("host name", f"{name} does not resolve ({error.strerror})", own)
        return
    family, _, _, _, place = found[0]
    address = str(place[0])
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            listener.listen()
            socket.create_connection(listener.getsockname()[:2], timeout=10).close()
    except OSError as error:
        why = error.strerror or str(error)
        yield fail("host name", f"no port of {name} ({address}) can be opened: {why}", own)
        return
    yield ok("host name", f"{name} is {address}, a port opens and answers")


def gloo(case: Case) -> Iterator[Finding]:
    """A real sum over two processes that torchrun starts, on the CPU."""
    error = run(torchrun(2, "gloo"))
    if error is None:
        yield ok("gloo", "two processes under torchrun add up")
    else:
        yield fail(
            "gloo",
            f"two processes under torchrun do not add up: {error}",
            "see `host name` above; export GLOO_SOCKET_IFNAME with a network that works",
        )


def torchrun(processes: int, backend: str) -> list[str]:
    """Arguments of Python that start processes which add up."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, "-m", PROGRAM, backend]


def run(words: Sequence[str], patience: float = PATIENCE) -> str | None:
    """Run this Python with some arguments; the last line of what it said if it failed.

    A session of its own, so that processes that hang can be ended with all that they started.
    """
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"no answer within {patience:g} s"
    return None if process.returncode == 0 else telling(said)


def telling(said: str) -> str:
    """The line of a program's last words that says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line and not line.startswith(("Traceback", "["))]
    # torchrun's own error comes after those of its processes
    return (errors or lines or ["it said nothing"])[0 if errors else -1][:300]
