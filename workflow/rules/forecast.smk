"""Rollouts from the trained model, one job a start date."""


rule forecast:
    "Forecast from one start date."
    input:
        config=layout.stage_config("forecast"),
        grid=layout.grid_file,
        checkpoint=layout.checkpoint,
        stores=forecast_stores,
        climatology=layout.climatology_manifest,
        driver=DRIVER_OF_FORECAST,
    output:
        layout.forecast_manifest(START),
    log:
        f"{LOGS}/forecast/{{start}}.log",
    benchmark:
        f"{BENCHMARKS}/forecast/{{start}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1 if STATE_MB < 20 else CORES_PER_GPU
    resources:
        **gpus(1),
        mem_mb=memory(200),
        runtime=minutes(20, per_state=1),
    shell:
        "hybridom forecast --config {input.config} --start {wildcards.start} > {log} 2>&1"
