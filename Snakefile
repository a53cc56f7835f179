"""HybridOM: from daily files to a trained model, forecasts, scores and figures.

`snakemake --cores all` runs everything with config/demo.yaml. Another file:
`snakemake --cores all --config base=config/test.yaml`. Other values:
`snakemake --cores all --config set=training.batch=2` or `--config 'training={batch: 2}'`.
Several experiments that share their data, as seeds and ablations do:
`snakemake --cores all --config base="config/demo.yaml config/ablations/network_only.yaml" seeds="0 1"`.
Regions that the forecasts of a coarser model drive: `snakemake --cores all region`.
"""

from snakemake.utils import min_version

min_version("9.14")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


container: image()


wildcard_constraints:
    year=r"\d{4}",
    start=r"\d{4}-\d{2}-\d{2}",
    stage="|".join(STAGES),
    experiment="|".join(map(re.escape, EXPERIMENTS)),


include: "workflow/rules/configure.smk"
include: "workflow/rules/retrieve.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/forecast.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/region.smk"
include: "workflow/rules/chain.smk"


rule all:
    default_target: True
    input:
        finished_experiments,
    localrule: True


if CONFIG.region or CONFIG.regions:

    rule region:
        input:
            finished_regions,
        localrule: True


onstart:
    lock_working_directory()


onerror:
    explain_failures(log)


if workflow.is_main_process and not workflow.remote_exec and not CHAINED:
    announce_changes()
