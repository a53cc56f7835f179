"""Training under torchrun. Its resumable checkpoints lie in a folder that is no output of the rule:
Snakemake deletes the outputs of a job that fails."""


rule train:
    "Train the model, or go on where training was stopped."
    input:
        config=layout.stage_config("train"),
        grid=layout.grid_file,
        stores=year_stores({*CONFIG.periods.train.years, *CONFIG.periods.validation.years}),
        climatology=layout.climatology_manifest,
        statistics=layout.statistics_file,
        start_from=start_from,
        region=layout.region_check if CONFIG.region else [],
        driver=driver_of_training,
    output:
        checkpoint=layout.checkpoint,
        losses=layout.train_log,
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{BENCHMARKS}/train.tsv"
    conda:
        ENVIRONMENT
    threads: CORES_PER_GPU * RANKS_PER_NODE
    resources:
        **gpus(RANKS_PER_NODE, NODES),
        mem_mb=training_memory(),
        # What is left at the end of this time goes on in the next job.
        runtime=480,
    params:
        ranks=RANKS,
    shell:
        "hybridom launch --nodes {resources.nodes} --ranks {params.ranks} --threads {threads} "
        "train --config {input.config} > {log} 2>&1"
