"""The profile against the cluster: partitions, limits, GPUs, account, accounting."""

from __future__ import annotations

import getpass
import math
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property

from hybridom import slurm
from hybridom.errors import UserError
from hybridom.operations.doctor import plan, profile
from hybridom.operations.doctor.environment import clone_here
from hybridom.operations.doctor.findings import Case, Check, Checks, Finding, fail, ok, skip, warn

DEFAULT_PROFILE = "profiles/default/config.yaml"
SQUEUE = "slurm-status-command: squeue"
# Times that a finished job must be remembered, in waits of Snakemake before it asks.
REMEMBERED = 3
WAIT = 40  # s; the plugin's own default
DEPLOYMENT = {"conda": ("conda",), "apptainer": ("apptainer", "singularity")}


def checks(case: Case) -> Checks:
    """The checks of this group; one line where there is no SLURM."""
    if not slurm.present():
        return (("SLURM", absent),)
    try:
        view = Cluster(case)
    except UserError as error:
        message = str(error)
        return (("profile", lambda _: [Finding("fail", "profile", message)]),)
    return view.checks()


def absent(case: Case) -> Iterator[Finding]:
    """There is nothing to check."""
    yield skip("SLURM", "sbatch is not on this machine; runs stay on it (snakemake --cores all)")


class Cluster:
    """A profile and the cluster that it speaks of.

    Args:
        case: What is examined.

    Raises:
        UserError: There is no such profile, or it cannot be read.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.file = profile.find(case.profile)
        self.content = profile.read(self.file)
        self.defaults = profile.default_resources(self.content)
        self.rules = profile.rule_resources(self.content)

    def checks(self) -> Checks:
        """The checks of this group."""
        named: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("profile", self.options),
            ("software", self.deployment),
        ]
        if self.content.get("executor") == "slurm":
            named += [
                ("partitions", self.partitions_up),
                ("account", self.account),
                ("accounting", self.accounting),
                ("requeue", self.requeue),
                ("training", self.training),
                ("jobs", self.jobs),
            ]
        return [(name, _without_case(check)) for name, check in named]

    @cached_property
    def partitions(self) -> dict[str, list[slurm.Partition]]:
        """Kinds of nodes by partition."""
        found: dict[str, list[slurm.Partition]] = {}
        for kind in slurm.partitions():
            found.setdefault(kind.name, []).append(kind)
        return found

    @cached_property
    def refused(self) -> str | None:
        """Why Snakemake refuses the profile."""
        return profile.refused(self.file)

    @cached_property
    def settings(self) -> dict[str, str]:
        """How the controller is set up."""
        return slurm.settings()

    def number(self, name: str) -> float | None:
        """A setting that begins with a number, such as `300 sec`."""
        first = self.settings.get(name, "").split(" ")[0]
        return float(first) if first.replace(".", "", 1).isdigit() else None

    def options(self) -> Iterator[Finding]:
        """Whether the installed Snakemake takes the profile."""
        if (why := self.refused) is not None:
            remedy = "correct or remove the line"
            yield fail("profile", f"{self.file}: Snakemake refuses it: {why}", remedy)
        elif self.content.get("executor") != "slurm":
            executor = self.content.get("executor", "none")
            remedy = "take a profile with `executor: slurm`, such as --profile slurm"
            yield warn("profile", f"{self.file}: executor is {executor}: jobs run here", remedy)
        else:
            yield ok("profile", f"{self.file}: {len(self.content)} options, all accepted")

    def deployment(self) -> Iterator[Finding]:
        """Whether the tools are there that the profile wants software from."""
        given = self.content.get("software-deployment-method") or self.content.get("sdm") or []
        methods = [given] if isinstance(given, str) else list(given)
        for method in methods:
            names = DEPLOYMENT.get(method, ())
            found = [place for name in names if (place := shutil.which(name))]
            if names and not found:
                remedy = f"load its module, or take {method} out of software-deployment-method"
                yield fail("software", f"{' or '.join(names)}: not found", remedy)
            elif found:
                yield ok("software", f"{method}: {found[0]}")

    def partitions_up(self) -> Iterator[Finding]:
        """Whether the partitions that the profile names exist and are up."""
        named: dict[str, list[str]] = {}
        for rule, values in {"default-resources": self.defaults, **self.rules}.items():
            if given := values.get("slurm_partition"):
                for name in str(given).split(","):
                    named.setdefault(name, []).append(rule)
        known = ", ".join(sorted(self.partitions))
        for name, users in named.items():
            where = f"{self.file}, {', '.join(users)}"
            if name not in self.partitions:
                yield fail("partitions", f"{where}: no partition {name}", f"take one of {known}")
            elif self.partitions[name][0].state != "up":
                state = self.partitions[name][0].state
                remedy = f"wait, or take one of {known}"
                yield fail("partitions", f"{where}: {name} is {state}", remedy)
            else:
                kinds = self.partitions[name]
                yield ok("partitions", f"{name}: up, {'; '.join(map(_words, kinds))}")
        if not named:
            yield ok("partitions", f"the cluster's default (there are {known})")

    def account(self) -> Iterator[Finding]:
        """Whether the account may be charged."""
        given = str(self.defaults.get("slurm_account") or "")
        if not self._has_database():
            yield skip("account", "the cluster keeps no accounts")
            return
        user = getpass.getuser()
        valid = slurm.accounts(user)
        if not valid:
            yield warn("account", f"{user} has none", "ask those who run the cluster for one")
        elif given and given.lower() not in (name.lower() for name in valid):
            yield fail(
                "account",
                f"{self.file}: {user} may not charge {given}",
                f"set slurm_account to one of {', '.join(valid)}",
            )
        elif given:
            yield ok("account", f"{given}, of {', '.join(valid)}")
        else:
            yield warn(
                "account",
                f"{self.file}: none is given, Snakemake takes that of your last job",
                f"set slurm_account in default-resources to one of {', '.join(valid)}",
            )

    def accounting(self) -> Iterator[Finding]:
        """Whether Snakemake hears how jobs end: through `sacct`, or else `squeue`."""
        why = slurm.history_missing()
        asks_squeue = self.content.get("slurm-status-command") == "squeue"
        if why is not None and not asks_squeue:
            yield fail(
                "accounting",
                f"sacct tells nothing ({why}): Snakemake would wait for ever",
                f"write `{SQUEUE}` into {self.file}",
            )
            return
        if asks_squeue:
            wait = self.content.get("slurm-init-seconds-before-status-checks", WAIT)
            age = self.number("MinJobAge")
            if age is not None and age < REMEMBERED * float(wait):
                yield fail(
                    "accounting",
                    f"squeue forgets jobs after {age:g} s, Snakemake asks every {wait} s or later",
                    "set slurm-init-seconds-before-status-checks to "
                    f"{int(age / REMEMBERED)} or less, or ask for a longer MinJobAge",
                )
                return
        yield ok("accounting", "squeue is asked how jobs end" if asks_squeue else "sacct answers")

    def requeue(self) -> Iterator[Finding]:
        """Whether training may put itself back into the queue at its time limit."""
        asked = self.content.get("slurm-requeue") and not self.content.get("slurm-no-requeue")
        if self.settings.get("JobRequeue") == "1" or asked:
            yield ok("requeue", "a job may go back into the queue")
        else:
            yield warn(
                "requeue",
                "jobs may not go back into the queue (JobRequeue is 0)",
                f"write `slurm-requeue: true` into {self.file}; without it a training that meets "
                "its time limit uses up a retry",
            )

    def training(self) -> Iterator[Finding]:
        """Whether the processes of training fill whole nodes."""
        ranks = self._case.config.training.ranks
        gpus = self.defaults.get("gpus_per_node")
        if not isinstance(gpus, int):
            yield skip("training", f"{self.file} does not give gpus_per_node")
            return
        if gpus == 0:
            yield ok("training", f"gpus_per_node is 0: {ranks} processes on CPUs")
            return
        nodes = max(1, math.ceil(ranks / gpus))
        if ranks % nodes:
            yield fail(
                "training",
                f"training.ranks {ranks} does not spread evenly over {nodes} nodes of {gpus} GPUs "
                f"(gpus_per_node in {self.file})",
                f"set training.ranks to {ranks // gpus * gpus} or {nodes * gpus}",
            )
        else:
            on = f"{nodes} node{'s' if nodes > 1 else ''}, {ranks // nodes} GPUs on each"
            yield ok("training", f"{ranks} process{'es' if ranks > 1 else ''}: {on}")

    def jobs(self) -> Iterator[Finding]:
        """Whether each rule's time, memory, cores and GPUs exist in its partition."""
        clone = clone_here()
        if clone is None:
            yield skip("jobs", "no Snakefile here, so no run can be planned")
            return
        if self.refused is not None:
            yield skip("jobs", "no run can be planned with a profile that Snakemake refuses")
            return
        limits = profile.resource_limits(self.content)
        if (default := clone / DEFAULT_PROFILE).is_file():  # goes before the other one
            limits |= profile.resource_limits(profile.read(default))
        asked = plan.requests(self._case.config, clone / "Snakefile", self.file, limits)
        problems: dict[tuple[str, str], list[str]] = {}
        for request in asked:
            for key, value in self._problems(request):
                problems.setdefault(key, []).append(f"{request.rule} ({value})")
        for (found, remedy), rules in problems.items():
            yield fail("jobs", f"{', '.join(rules)}: {found}", remedy)
        if not problems:
            found = f"time, memory, cores and GPUs of {len(asked)} rules exist in their partitions"
            yield ok("jobs", found)

    def _problems(self, asked: plan.Request) -> Iterator[tuple[tuple[str, str], str]]:
        """What a partition does not have: (what it has, what to do), and what is asked for."""
        name = asked.partition
        kinds = self.partitions.get(name)
        if kinds is None:  # the cluster's default, or one that does not exist
            return
        where = f"under set-resources in {self.file}"
        # jobs of one group ask for the sum of what runs side by side
        narrower = asked.rule.startswith("group ") and (
            f"let fewer of them run side by side, by section resources of {DEFAULT_PROFILE}"
        )
        limit = kinds[0].limit
        if limit is not None and asked.minutes is not None and asked.minutes * 60 > limit:
            has = f"partition {name} allows {limit // 60} min"
            advice = f"set their runtime {where}, or a partition for longer jobs"
            yield (has, advice), f"{asked.minutes} min"
        memory = max(kind.memory for kind in kinds)
        if asked.memory is not None and asked.memory > memory:
            has = f"the largest node of partition {name} has {memory} MB"
            advice = narrower or f"set their mem_mb {where}, or take larger nodes"
            yield (has, advice), f"{asked.memory} MB"
        cores = max(kind.cores for kind in kinds)
        if asked.cores > cores:
            has = f"the largest node of partition {name} has {cores} cores"
            advice = narrower or f"set their threads under set-threads in {self.file}"
            yield (has, advice), f"{asked.cores} cores"
        if not asked.gpus:
            return
        most = max(kind.gpus for kind in kinds)
        types = {one for kind in kinds for one in kind.gpu_types}
        fitting = sum(kind.nodes for kind in kinds if kind.gpus >= asked.gpus)
        gpus = f"{asked.gpus} GPUs on a node"
        if most < asked.gpus:
            has = f"nodes of partition {name} have {most or 'no'} GPUs"
            others = [key for key, of in self.partitions.items() if max(k.gpus for k in of) > most]
            lower = f"lower gpus_per_node in default-resources of {self.file}"
            other = f"set slurm_partition to one of {', '.join(others)} {where}"
            yield (has, other if others and not most else lower), gpus
        elif fitting < asked.nodes:
            has = f"partition {name} has {fitting} nodes with so many GPUs"
            yield (has, "lower training.ranks"), f"{asked.nodes} nodes, {gpus}"
        if asked.gpu_type and types and asked.gpu_type not in types:
            has = f"the GPUs of partition {name} are {', '.join(sorted(types))}"
            advice = f"set gpu_type in default-resources of {self.file}"
            yield (has, advice), asked.gpu_type

    def _has_database(self) -> bool:
        return "slurmdbd" in self.settings.get("AccountingStorageType", "")


def _words(kind: slurm.Partition) -> str:
    """One kind of nodes in words."""
    limit = f", {kind.limit // 60} min at most" if kind.limit is not None else ""
    gpus = f", {kind.gpus} GPUs" if kind.gpus else ""
    return f"{kind.nodes} nodes with {kind.cores} cores, {kind.memory} MB{gpus}{limit}"


def _without_case(check: Callable[[], Iterator[Finding]]) -> Check:
    return lambda case: check()
