"""From raw files to stores on the model grid. Nothing long starts before every check has passed (files
that are fetched: the first year's and its own); once the stores are made, new files of one year concern
that year alone (the other reports are ancient).
"""


rule check_year:
    "Check the raw files of one year."
    input:
        config=layout.stage_config("check"),
        raw=raw_files,
    output:
        layout.check_report(YEAR),
    log:
        f"{SHARED_LOGS}/check/{{year}}.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/check/{{year}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(0, base=4000),
        runtime=minutes(60),
    shell:
        "hybridom prepare check --config {input.config} --year {wildcards.year} > {log} 2>&1"


rule prepare_grid:
    "Write the model grid and its wet mask."
    input:
        config=layout.stage_config("grid"),
        static=static_files,
        checks=ancient(FIRST_CHECKS),
    output:
        layout.grid_file,
    log:
        f"{SHARED_LOGS}/grid.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/grid.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(20, base=4000),
        runtime=minutes(20),
    shell:
        "hybridom prepare grid --config {input.config} > {log} 2>&1"


rule prepare_state:
    "Regrid the ocean state of one year."
    input:
        config=layout.stage_config("state"),
        grid=layout.grid_file,
        check=layout.check_report(YEAR),
        checks=ancient(FIRST_CHECKS),
    output:
        layout.state_manifest(YEAR),
    log:
        f"{SHARED_LOGS}/state/{{year}}.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/state/{{year}}.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=memory(10, base=4000),
        runtime=minutes(60, per_state=2),
    shell:
        "hybridom prepare state --config {input.config} --year {wildcards.year} "
        "--threads {threads} > {log} 2>&1"


rule prepare_forcing:
    "Regrid the forcing of one year."
    input:
        config=layout.stage_config("state"),
        grid=layout.grid_file,
        state=bulk_state,
        check=layout.check_report(YEAR),
        checks=ancient(FIRST_CHECKS),
    output:
        layout.forcing_manifest(YEAR),
    log:
        f"{SHARED_LOGS}/forcing/{{year}}.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/forcing/{{year}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(10, base=4000),
        runtime=minutes(30, per_state=2),
    shell:
        "hybridom prepare forcing --config {input.config} --year {wildcards.year} > {log} 2>&1"


rule prepare_climatology:
    "Make the daily climatology of the training period."
    input:
        config=layout.stage_config("climatology"),
        grid=layout.grid_file,
        stores=year_stores(CONFIG.periods.train.years),
    output:
        layout.climatology_manifest,
    log:
        f"{SHARED_LOGS}/climatology.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/climatology.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=memory(100),
        runtime=minutes(30, per_state=10),
    shell:
        "hybridom prepare climatology --config {input.config} > {log} 2>&1"


rule prepare_statistics:
    "Make the normalisation statistics of the training period."
    input:
        config=layout.stage_config("climatology"),
        grid=layout.grid_file,
        stores=year_stores(CONFIG.periods.train.years),
        climatology=layout.climatology_manifest,
    output:
        layout.statistics_file,
    log:
        f"{SHARED_LOGS}/statistics.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/statistics.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=memory(50),
        runtime=minutes(30, per_state=10),
    shell:
        "hybridom prepare statistics --config {input.config} > {log} 2>&1"


rule prepare_percentiles:
    "Make the thresholds of extremes of the training period."
    input:
        config=layout.stage_config("percentiles"),
        grid=layout.grid_file,
        stores=[layout.state_manifest(year) for year in CONFIG.periods.train.years],
    output:
        layout.percentiles_manifest,
    log:
        f"{SHARED_LOGS}/percentiles.log",
    benchmark:
        f"{SHARED_BENCHMARKS}/percentiles.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=memory(50, base=4000),
        runtime=minutes(30, per_state=10),
    shell:
        "hybridom prepare percentiles --config {input.config} > {log} 2>&1"
