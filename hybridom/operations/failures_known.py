"""The commonest failures as data: what they look like, what they mean, what to do.

The first entry of `KNOWN` that is found is the explanation, so the more certain and more special
ones come first: a job that is ended at its time limit is also cancelled, and one that runs out of
memory is also killed. The table in `docs/failures.md` has the same words.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One kind of failure.

    Attributes:
        name: A few words.
        patterns: Regular expressions, any of which is looked for in the logs, line by line.
        message: What happened and what was kept.
        remedy: What to do; `<rule>` stands for the name of the rule that failed.
    """

    name: str
    patterns: tuple[str, ...]
    message: str
    remedy: str


def _status(*names: str) -> str:
    """What the executor says of a job that ended in one of SLURM's states."""
    return rf"SLURM status is: '(?:{'|'.join(names)})"


KNOWN: tuple[Failure, ...] = (
    Failure(
        "no valid account",
        (
            r"The given account .* appears to be invalid",
            r"Invalid account or account/partition combination",
            r"sbatch: error: .*(?:[Ss]pecify|[Pp]rovide|[Nn]eed|[Rr]equire).*\baccount",
            r"\bInvalidAccount\b",
        ),
        "SLURM takes no job on this account, so nothing ran.",
        "Set slurm_account in slurm/config.yaml to one that "
        "`sacctmgr show associations user=$USER format=account,partition` names.",
    ),
    Failure(
        "no such partition",
        (r"Invalid partition name specified", r"Requested partition configuration not available"),
        "The cluster has no such partition, or it is closed; nothing ran.",
        "Set slurm_partition in slurm/config.yaml (of the rule: set-resources: <rule>) to one "
        "that `sinfo` names.",
    ),
    Failure(
        "beyond the limits of the partition",
        (
            r"Requested time limit is invalid",
            r"\bPartition(?:Time|Node)Limit\b",
            r"\b(?:QOS|Assoc)(?:Max|Grp)\w+",
            r"Job violates accounting/QOS policy",
            r"Memory (?:required by task is not available|specification can not be satisfied)",
            r"More processors requested than permitted",
        ),
        "The job asks for more time, memory, cores or GPUs than the partition or the account "
        "allows; it never starts.",
        "In slurm/config.yaml lower runtime or mem_mb under set-resources: <rule>, or choose "
        "another slurm_partition; `hybridom doctor` compares both.",
    ),
    Failure(
        "no node has the GPUs or memory asked for",
        (
            r"Requested node configuration is not available",
            r"Invalid generic resource \(gres\) specification",
            r"Requested GRES option unsupported",
            r"Invalid feature specification",
            r"process \d+ of this node has no GPU of its own",
            r"No CUDA GPUs are available",
        ),
        "No node of the partition has the GPUs, the GPU type, the memory or the cores that the job "
        "asks for; it did no work.",
        "In slurm/config.yaml set gpus_per_node (and gpu_type) to what "
        "`sinfo -o '%R %G %m %c'` shows, or set slurm_partition under set-resources: <rule>.",
    ),
    Failure(
        "time limit",
        (_status("TIMEOUT", "DEADLINE"), r"CANCELLED AT \S+ DUE TO TIME LIMIT"),
        "The job reached its time limit. Training, forecasts and stores keep what they have "
        "finished.",
        "Run the same command: it goes on from there. Where that repeats, raise runtime (minutes) "
        "under set-resources: <rule> in slurm/config.yaml.",
    ),
    Failure(
        "preemption",
        (
            _status("PREEMPTED"),
            r"CANCELLED AT \S+ DUE TO PREEMPTION",
            r"A Job preemption +occured",
        ),
        "SLURM took the nodes for a job of higher priority. Training saved a checkpoint; other "
        "stages keep what they have finished.",
        "Leave Snakemake running (slurm-requeue: true in slurm/config.yaml puts the job back), or "
        "run the same command.",
    ),
    Failure(
        "loss of a node",
        (
            _status("NODE_FAIL", "BOOT_FAIL"),
            r"failed with status 'NODE_FAIL'",
            r"CANCELLED AT \S+ DUE TO NODE FAILURE",
            r"srun: error: Node failure on",
        ),
        "A node went down under the job. Training goes on from its last checkpoint, other stages "
        "from what they have finished.",
        "Run the same command. If one node fails again and again, add it to slurm_extra in "
        "slurm/config.yaml: \"'--exclude=NODE'\".",
    ),
    Failure(
        "GPU out of memory",
        (
            r"CUDA(?: error:)? out of memory",
            r"torch\.(?:cuda\.)?OutOfMemoryError",
            r"CUBLAS_STATUS_ALLOC_FAILED",
        ),
        "The GPU has too little memory for the model and its batch. Checkpoints are kept.",
        "Halve training.batch and double training.accumulate, or set networks.state.checkpoint "
        "and networks.ilap.checkpoint to true; or take larger GPUs (gpu_type in "
        "slurm/config.yaml).",
    ),
    Failure(
        "full disk or quota",
        (
            r"No space left on device",
            r"Disk quota exceeded",
            r"the disk is full",
            r"checkpoints of .* need .* are free",
            r"\[Errno (?:28|122)\]",
        ),
        "The disk is full or a quota is used up. What was finished is kept.",
        "Free space (`du -sh resources results`), or put paths.resources and paths.results on "
        "another file system; then run the same command.",
    ),
    Failure(
        "out of memory",
        (
            _status("OUT_OF_ME"),
            r"\b[Oo][Oo][Mm][_-][Kk]ill",
            r"exceeded (?:job )?memory limit",
            r"Exceeded job memory limit",
            r"Out Of Memory \(OOM\)",
            r"^(?:.*\.)?_?(?:Array)?MemoryError\b",
            r"Cannot allocate memory",
            r"perhaps for want of memory",
            r"non-zero exit status 137",
            r"died with <Signals\.SIGKILL",
            r"Signal 9 \(SIGKILL\)",
            r"(?:^|[ :])Killed\b",
        ),
        "The job needed more memory than it had asked for and was killed. What was finished is "
        "kept.",
        "Each retry asks for more (retries in slurm/config.yaml). If all failed, set mem_mb under "
        "set-resources: <rule>; without SLURM, run fewer jobs at once (--cores).",
    ),
    Failure(
        "GPU driver or build of PyTorch",
        (
            r"NVIDIA driver on your system is too old",
            r"CUDA driver version is insufficient",
            r"no kernel image is available for execution",
            r"forward compatibility was attempted",
            r"Torch not compiled with CUDA enabled",
            r"Found no NVIDIA driver",
        ),
        "The installed PyTorch does not fit the GPU driver of the node; the GPU did no work.",
        "Install the build for the driver that `nvidia-smi` names, such as `make install "
        'TORCH="torch==VERSION"`; `hybridom doctor` on a GPU node checks it.',
    ),
    Failure(
        "GPUs or nodes do not reach each other",
        (
            r"NCCL (?:error|WARN)",
            r"\bnccl\w+Error\b",
            r"Watchdog caught collective operation timeout",
            r"minutes in vain for another one",
            r"does not find the others at",
        ),
        "The processes of training lost each other. Checkpoints are kept.",
        "Run the same command. If it repeats, set NCCL_DEBUG=INFO to see which node or network "
        "fails, NCCL_SOCKET_IFNAME to the network that joins the nodes, or training.ranks to the "
        "GPUs of one node.",
    ),
    Failure(
        "divergence of training",
        (r"training step \d+: the (?:mean loss|loss is|gradient norm)",),
        "The loss ran away and training stopped. The state at that step is kept as a checkpoint.",
        "Lower training.learning_rate and begin from an earlier checkpoint with "
        "training.start_from, as the last line of the log says.",
    ),
    Failure(
        "another Snakemake, or a lock left behind",
        (
            r"another snakemake is running in this directory",
            r"Directory cannot be locked",
        ),
        "Another Snakemake works in this folder, perhaps on another login node. This one has "
        "started nothing.",
        "Wait for it or stop it; `hybridom status` shows how far it is. If Snakemake's own lock "
        "was left by one that was killed: `snakemake --unlock`.",
    ),
    Failure(
        "incomplete files",
        (r"The files below seem to be incomplete", r"\bIncompleteFilesException\b"),
        "Files of a run that was killed may be half written, so Snakemake does not use them.",
        "Add --rerun-incomplete, which both profiles of this project set; long stages go on from "
        "what is sound.",
    ),
    Failure(
        "outputs that did not appear",
        (
            r"completed successfully, but some output files are missing",
            r"\bMissingOutputException\b",
        ),
        "The command ended well, but its files are not to be seen: most often the shared file "
        "system is slow.",
        "Run the same command. If it repeats, raise latency-wait in slurm/config.yaml.",
    ),
    Failure(
        "missing inputs",
        (r"Missing input files for rule", r"\bMissingInputException\b"),
        "Files that no rule makes are not there; nothing was started.",
        "Check source.ocean_dir and source.forcing_dir of the configuration; "
        "`hybridom prepare check` names what is missing.",
    ),
    Failure(
        "command or package not found",
        (
            r": (?:command )?not found$",
            r"ModuleNotFoundError: No module named",
            r"non-zero exit status 127",
            r"The 'conda' command is not available",
        ),
        "The job does not find the programs of this project: it has no environment, or another.",
        "Start Snakemake with the environment activated, in a folder that the compute nodes see "
        "too (`source .venv/bin/activate`), or with --sdm conda.",
    ),
    Failure(
        "files of another version",
        (
            r"checkpoint format \S+ \(version",
            r"written by version .* does not know",
            r"the weights do not fit the model of its configuration",
        ),
        "The checkpoint was written by another version of this package, which this one cannot "
        "read. The file is untouched.",
        "Install the version that the message names, or train again: `snakemake --forcerun train`.",
    ),
    Failure(
        "changed code",
        (
            r"[Cc]ode has changed since last execution",
            r"jobs were triggered by provenance information",
        ),
        "Snakemake wants to run stages again because their code or environment changed.",
        "Use the profiles of this project, which leave code out of rerun-triggers; or "
        "add --rerun-triggers mtime params input. To accept the files as they are: --touch.",
    ),
    Failure(
        "stopped on request",
        (r"stopped on request after step \d+",),
        "Training was asked to stop and saved a checkpoint first.",
        "Run the same command: it goes on from that step.",
    ),
    Failure(
        "cancelled",
        (
            _status("CANCELLED"),
            r"CANCELLED AT \S+ \*\*\*",
            r"(?:Cancelling snakemake|Terminating processes) on user request",
            r"hybridom: interrupted",
            r"^KeyboardInterrupt$",
        ),
        "Someone stopped the job, with scancel or Ctrl-C. What was finished is kept.",
        "Run the same command: it goes on from there.",
    ),
)
