"""What `hybridom doctor` says of GPUs and of processes that add up."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hybridom.operations.doctor import accelerators
from tests.operations.doctor_case import ROOT, case, command, findings, only

TWO = "NVIDIA H100 80GB HBM3, 81559, 535.161.08\nNVIDIA H100 80GB HBM3, 81559, 535.161.08\n"
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without SLURM and without NVIDIA's tools, but for what a test puts there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "bin"


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let PyTorch see some GPUs."""
    card = SimpleNamespace(name="NVIDIA H100", total_memory=85_000_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)


@needs_no_gpu
def test_a_small_grid_trains_on_the_cpu():
    found = only(accelerators.gpus, case())
    assert found.status == "ok"
    assert "2 processes" in found.found


@needs_no_gpu
def test_a_large_grid_without_gpu_is_a_warning():
    of = case(file=ROOT / "config" / "global_05.yaml")
    assert accelerators.cell_count(of) == 328 * 720 * 23
    assert only(accelerators.gpus, of).status == "warn"


@needs_no_gpu
def test_a_login_node_needs_none_and_the_command_for_a_node_is_told(tools):
    command(tools, "sbatch")
    command(
        tools, "sinfo", "cpu|up|1:00:00|4|64|1000|(null)\na100|up|1:00:00|2|64|1000|gpu:a100:4\n"
    )
    found = only(accelerators.gpus, case())
    assert found.status == "skip"
    assert "srun -p a100 --gpus-per-node=4 hybridom doctor --config" in found.found
    assert only(accelerators.nccl, case()).status == "skip"


@needs_no_gpu
def test_gpus_that_pytorch_cannot_use(tools, monkeypatch):
    command(tools, "nvidia-smi", TWO)
    assert accelerators.visible()[1] == ("NVIDIA H100 80GB HBM3", 81559, "535.161.08")
    monkeypatch.setattr(torch.version, "cuda", None)
    found = only(accelerators.gpus, case())
    assert found.status == "warn"
    assert "built for the CPU alone" in found.found

    def refuse() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020).")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", refuse)
    found = only(accelerators.gpus, case())
    assert found.status == "fail"
    assert "CUDA 13.0" in found.found
    assert "driver on your system is too old" in found.found


@needs_no_gpu
def test_gpus_of_a_job_that_pytorch_does_not_see(tools, monkeypatch):
    command(tools, "sbatch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert only(accelerators.gpus, case()).status == "skip"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    found = only(accelerators.gpus, case())
    assert found.status == "warn"
    assert "the job was given 2" in found.found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert only(accelerators.gpus, case()).status == "ok"


def test_a_driver_that_does_not_answer_counts_as_no_gpu(tools):
    command(tools, "nvidia-smi", "NVIDIA-SMI has failed because it couldn't communicate", 9)
    assert accelerators.visible() == []


def test_more_processes_than_gpus_is_a_failure_on_a_single_machine(monkeypatch, tools):
    with_gpus(monkeypatch, 1)
    found = only(accelerators.gpus, case("training.ranks=2"))
    assert found.status == "fail"
    assert "training.ranks: 1" in found.remedy
    with_gpus(monkeypatch, 2)
    found = only(accelerators.gpus, case("training.ranks=2"))
    assert found.status == "ok"
    assert "85 GB" in found.found
    with_gpus(monkeypatch, 1)
    command(tools, "sbatch")  # the nodes are asked about instead
    assert only(accelerators.gpus, case("training.ranks=2")).status == "ok"


def test_each_gpu_that_gives_no_sum_is_named(monkeypatch):
    with_gpus(monkeypatch, 3)
    asked = []

    def run(words):
        asked.append(words[-1])
        return "RuntimeError: NCCL error" if words[-1] == "1" else None

    monkeypatch.setattr(accelerators, "run", run)
    found = only(accelerators.nccl, case())
    assert found.status == "fail"
    assert "no sum on GPU 1: RuntimeError: NCCL error" in found.found
    assert sorted(asked) == ["0", "1", "2"]


def test_gpus_that_give_no_sum_together(monkeypatch):
    with_gpus(monkeypatch, 2)
    monkeypatch.setattr(
        accelerators, "run", lambda words: "it hangs" if "--nproc-per-node=2" in words else None
    )
    found = only(accelerators.nccl, case())
    assert found.status == "fail"
    assert "no sum over the 2 GPUs: it hangs" in found.found


@pytest.mark.gpu
def test_nccl_for_real():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert only(accelerators.nccl, case()).status == "ok"


def test_two_processes_add_up():
    assert only(accelerators.gloo, case()).status == "ok"


def test_processes_that_do_not_meet_are_a_failure(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no_such_network")
    found = only(accelerators.gloo, case())
    assert found.status == "fail"
    assert "no_such_network" in found.found
    assert "GLOO_SOCKET_IFNAME" in found.remedy


def test_one_process_alone_adds_up():
    assert accelerators.run(["-m", accelerators.PROGRAM, "gloo"]) is None


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path):
    script = tmp_path / "hang.py"
    script.write_text(
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    assert accelerators.run([str(script)], patience=3) == "no answer within 3 s"
    child = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")

    def ended() -> bool:
        try:
            return child.read_text().split()[2] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    # a killed process goes when the machine gets to it; by itself this one would stay ten minutes
    end = time.monotonic() + 60
    while not ended() and time.monotonic() < end:
        time.sleep(0.1)
    assert ended()


def test_the_first_error_tells_what_went_wrong():
    text = (
        "W1121 torchrun\nTraceback (most recent call last):\n  raise x\n"
        "RuntimeError: no route to host\n[rank1]: RuntimeError: x\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n====\n"
    )
    assert accelerators.telling(text) == "RuntimeError: no route to host"
    assert accelerators.telling("") == "it said nothing"


def test_the_own_name_must_resolve(monkeypatch):
    assert only(accelerators.host_name, case()).status == "ok"
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host.invalid")
    found = only(accelerators.host_name, case())
    assert found.status == "fail"
    assert "/etc/hosts" in found.remedy


def test_the_own_name_must_be_of_this_machine(monkeypatch):
    place = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: place)
    found = findings(accelerators.host_name, case())[0]
    assert found.status == "fail"
    assert "192.0.2.1" in found.found


def test_the_threads_of_the_user_are_kept(monkeypatch, tmp_path):
    script = tmp_path / "threads.py"
    script.write_text("import os, sys; sys.exit('threads ' + os.environ['OMP_NUM_THREADS'])")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert accelerators.run([str(script)]) == "threads 1"
    assert os.environ.get("OMP_NUM_THREADS") is None
