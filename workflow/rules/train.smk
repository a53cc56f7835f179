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
        start_from=CONFIG.training.start_from or [],
    output:
        checkpoint=layout.checkpoint,
        losses=layout.train_log,
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{BENCHMARKS}/train.tsv"
    conda:
        ENVIRONMENT
    threads: 8 * CONFIG.training.ranks
    resources:
        mem_mb=memory(2000, base=4000 * CONFIG.training.ranks),
        runtime=minutes(480),
        nodes=1,
        gpu=CONFIG.training.ranks,
        tasks_per_gpu=0,
    params:
        ranks=CONFIG.training.ranks,
    shell:
        # Snakemake sets both variables to all threads of the job; torch heeds the larger
        "export OMP_NUM_THREADS=$(( ({threads} + {params.ranks} - 1) / {params.ranks} )); "
        "export MKL_NUM_THREADS=$OMP_NUM_THREADS; "
        # a request to stop, of either kind, leaves time to finish the step and save
        "torchrun --standalone --nproc-per-node {params.ranks} "
        "--signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout 300 "
        "-m hybridom train --config {input.config} > {log} 2>&1"
