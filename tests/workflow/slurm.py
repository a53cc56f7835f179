"""A real SLURM on this machine: its own daemons, virtual nodes, GPUs that are devices without use.

It needs root and Debian's packages slurmctld, slurmd, slurm-client, munge, slurmdbd and
mariadb-server, which start nothing by themselves. What it cannot show: limits by control groups,
binding to cores, real GPUs, several hosts.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")  # the only place that jobs of Snakemake's executor look at
HOSTS = Path("/etc/hosts")
MUNGE = Path("/run/munge")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "mariadb-install-db")
ACCOUNT = "ocean"
NODES, CORES, GPUS = 4, 4, 4
MEMORY = 64_000  # MB of a node; they share the machine, and no test uses what it asks for
# The last two nodes are for tests that set one down.
PARTITIONS = {"cpu": "n[1-2]", "gpu": "n[1-2]", "fragile": "n[3-4]"}
PATIENCE = 60.0  # s for a daemon to answer
PORTS = {"slurmctld": 6817, "slurmdbd": 6819, "mariadb": 33066}

SLURM_CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
SlurmctldPort={slurmctld}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
# without control groups
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,batch_sched_delay=0,sched_interval=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations,limits
ReturnToService=2
MinJobAge=600
KillWait=20
SlurmctldTimeout=30
SlurmdTimeout=30
GresTypes=gpu
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17001-{last_port}] \
CPUs={cores} RealMemory={memory} Gres=gpu:fake:{gpus} State=UNKNOWN
"""
GRES_CONF = (
    "NodeName=n[1-{nodes}] Name=gpu Type=fake File=/dev/null,/dev/zero,/dev/full,/dev/random\n"
)
PARTITION = """\
PartitionName={name} Nodes={nodes} Default={default} MaxTime=04:00:00 DefMemPerCPU=500 State=UP
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
DATABASE = """\
create database if not exists slurm_acct_db;
create user if not exists 'slurm'@'127.0.0.1' identified by 'slurm';
create user if not exists 'slurm'@'localhost' identified by 'slurm';
grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';
grant all on slurm_acct_db.* to 'slurm'@'localhost';
"""


def reason_to_skip() -> str | None:
    """Why no cluster can be started here, or None."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no SLURM to start: {', '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "starting a SLURM needs root"
    if (CONFIGURATION / "slurm.conf").exists():
        return f"{CONFIGURATION}/slurm.conf exists: this machine belongs to a cluster"
    return None


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A SLURM that runs within the block, with everything of it in `folder`."""
    daemons: list[subprocess.Popen | Path] = []
    links: list[Path] = []
    try:
        _name_nodes()
        links += _configure(folder)
        _start_munge(daemons)
        _start_accounting(folder, daemons)
        _start_nodes(folder, daemons)
        yield
    finally:
        subprocess.run(["scancel", "--user", "root"], capture_output=True)
        for daemon in reversed(daemons):
            _stop(daemon)
        for link in links:
            link.unlink(missing_ok=True)


def _name_nodes() -> None:
    """Let torchrun find the nodes by name."""
    known = HOSTS.read_text().split()
    names = [f"n{number}" for number in range(1, NODES + 1)]
    if missing := [name for name in names if name not in known]:
        with HOSTS.open("a") as file:
            file.write(f"127.0.0.1 {' '.join(missing)}\n")


def _configure(folder: Path) -> list[Path]:
    """Write the configuration and lead `/etc/slurm` to it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    values = {
        **PORTS,
        "folder": folder,
        "host": socket.gethostname().partition(".")[0],
        "nodes": NODES,
        "last_port": 17000 + NODES,
        "cores": CORES,
        "gpus": GPUS,
        "memory": MEMORY,
    }
    partitions = "".join(
        PARTITION.format(name=name, nodes=nodes, default="YES" if name == "cpu" else "NO")
        for name, nodes in PARTITIONS.items()
    )
    texts = {
        "slurm.conf": SLURM_CONF.format(**values) + partitions,
        "gres.conf": GRES_CONF.format(**values),
        "slurmdbd.conf": SLURMDBD_CONF.format(**values),
    }
    CONFIGURATION.mkdir(exist_ok=True)
    links = []
    for name, text in texts.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        link = CONFIGURATION / name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        links.append(link)
    return links


def _start_munge(daemons: list[subprocess.Popen | Path]) -> None:
    """Start the daemon that vouches for users, unless it runs."""
    if _succeeds("munge", "--no-input"):
        return
    user = pwd.getpwnam("munge")
    MUNGE.mkdir(exist_ok=True)
    os.chown(MUNGE, user.pw_uid, user.pw_gid)
    subprocess.run(["runuser", "-u", "munge", "--", "munged", "--force"], check=True)
    _wait("munged", lambda: _succeeds("munge", "--no-input"))
    daemons.append(MUNGE / "munged.pid")


def _start_accounting(folder: Path, daemons: list[subprocess.Popen | Path]) -> None:
    """Start MariaDB and slurmdbd."""
    data = folder / "mysql"
    data.mkdir(exist_ok=True)
    user = pwd.getpwnam("mysql")
    os.chown(data, user.pw_uid, user.pw_gid)
    for above in (folder, *folder.parents):  # temporary folders are private to root
        above.chmod(above.stat().st_mode | 0o011)
    with (folder / "mariadb.log").open("w") as log:
        common = ["--no-defaults", f"--datadir={data}", "--user=mysql"]
        subprocess.run(
            ["mariadb-install-db", *common, "--skip-test-db"], stdout=log, stderr=log, check=True
        )
        place = [f"--socket={data}/socket", "--bind-address=127.0.0.1"]
        place += [f"--port={PORTS['mariadb']}", "--innodb-buffer-pool-size=64M"]
        # in a session of its own, or Ctrl-C would end it before the daemons that write to it
        daemons.append(
            subprocess.Popen(
                ["mariadbd", *common, *place], stdout=log, stderr=log, start_new_session=True
            )
        )
    client = ["mariadb", "--no-defaults", f"--socket={data}/socket", "--user=root", "--execute"]
    _wait("mariadbd", lambda: _succeeds(*client, "select 1"))
    subprocess.run([*client, DATABASE], check=True)
    subprocess.run(["slurmdbd"], check=True)
    daemons.append(folder / "slurmdbd.pid")
    _wait("slurmdbd", lambda: _succeeds("sacctmgr", "--noheader", "show", "cluster"))
    for words in (
        ["add", "cluster", "mini"],
        ["add", "account", ACCOUNT, "Cluster=mini"],
        ["add", "user", "root", f"Account={ACCOUNT}", "Cluster=mini", "AdminLevel=Admin"],
    ):
        subprocess.run(["sacctmgr", "--immediate", *words], capture_output=True)


def _start_nodes(folder: Path, daemons: list[subprocess.Popen | Path]) -> None:
    """Start the controller and the nodes."""
    subprocess.run(["slurmctld", "-c"], check=True)
    daemons.append(folder / "slurmctld.pid")
    for number in range(1, NODES + 1):
        (folder / f"spool.n{number}").mkdir(exist_ok=True)
        subprocess.run(["slurmd", "-N", f"n{number}"], check=True)
        daemons.append(folder / f"slurmd.n{number}.pid")
    _wait("slurmd", lambda: len(idle_nodes()) == NODES)


def idle_nodes() -> set[str]:
    """Names of the nodes on which nothing runs."""
    words = ["sinfo", "--noheader", "--Node", "--states", "idle", "--format", "%N"]
    return set(subprocess.run(words, capture_output=True, text=True).stdout.split())


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def _wait(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} gave no answer within {PATIENCE:g} s")
        time.sleep(0.2)


def _stop(daemon: subprocess.Popen | Path) -> None:
    """End a daemon, given as its process or as the file with its number."""
    if isinstance(daemon, subprocess.Popen):
        daemon.terminate()
        daemon.wait(PATIENCE)
        return
    with suppress(OSError, ValueError):
        number = int(daemon.read_text())
        os.kill(number, signal.SIGTERM)
        end = time.monotonic() + PATIENCE / 2
        while Path(f"/proc/{number}").exists() and time.monotonic() < end:
            time.sleep(0.1)
