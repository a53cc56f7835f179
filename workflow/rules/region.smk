"""What only a region has: the check that it fits into its driver, and what its gate did."""

if CONFIG.region:

    rule check_region:
        "Check that the region fits into the grid of its driver."
        input:
            config=layout.stage_config("region"),
            grid=layout.grid_file,
            driver=layout.driver.grid_file,
        output:
            layout.region_check,
        log:
            f"{SHARED_LOGS}/region.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/region.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(10),
            runtime=minutes(20),
        shell:
            "hybridom region check --config {input.config} > {log} 2>&1"

    rule gate_weights:
        "Write the weights that the gate gave along one forecast."
        input:
            config=layout.stage_config("gate"),
            grid=layout.grid_file,
            checkpoint=layout.checkpoint,
            forecast=layout.forecast_manifest(START),
            stores=forecast_stores,
            driver=DRIVER_OF_FORECAST,
        output:
            layout.gate_weights(START),
        log:
            f"{LOGS}/gate/{{start}}.log",
        benchmark:
            f"{BENCHMARKS}/gate/{{start}}.tsv"
        conda:
            ENVIRONMENT
        threads: 1 if STATE_MB < 20 else CORES_PER_GPU
        resources:
            mem_mb=memory(100),
            runtime=minutes(20, per_state=1),
        shell:
            "hybridom region gate --config {input.config} --start {wildcards.start} > {log} 2>&1"
