"""HybridOM: from daily files to a trained model, forecasts, scores and figures.

`snakemake --cores all` runs everything with config/demo.yaml. Another file:
`snakemake --cores all --config base=config/test.yaml`. Other values:
`snakemake --cores all --config set=training.batch=2` or `--config 'training={batch: 2}'`.
"""

from snakemake.utils import min_version

min_version("9.14")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


wildcard_constraints:
    year=r"\d{4}",
    start=r"\d{4}-\d{2}-\d{2}",
    stage="|".join(STAGES),


localrules:
    all,
    configure_twin,
    configure_resources,
    configure_experiment,


include: "workflow/rules/configure.smk"
include: "workflow/rules/retrieve.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/forecast.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        layout.scores_table,
        layout.summary,
        layout.page,
        [figure_outputs(name, CONFIG, layout) for name in figure_names(CONFIG)],


onstart:
    lock_working_directory()
