"""Scores of each forecast beside those of the baselines, and the tables made from them."""


rule fit_damping:
    "Fit the damping of anomalies with lead time, on the training period."
    input:
        config=layout.stage_config("damping"),
        grid=layout.grid_file,
        stores=[layout.state_manifest(year) for year in CONFIG.periods.train.years],
        climatology=layout.climatology_manifest,
    output:
        layout.damping,
    log:
        f"{LOGS}/damping.log",
    benchmark:
        f"{BENCHMARKS}/damping.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(20),
        runtime=minutes(20, per_state=2),
    shell:
        "hybridom evaluate damping --config {input.config} > {log} 2>&1"


rule evaluate_start:
    "Score one forecast against the truth."
    input:
        config=layout.stage_config("evaluate"),
        grid=layout.grid_file,
        forecast=layout.forecast_manifest(START),
        truth=forecast_stores,
        climatology=layout.climatology_manifest,
        statistics=layout.statistics_file,
        damping=damping_file,
        thresholds=thresholds_file,
        driver=DRIVER_OF_FORECAST if "driver" in CONFIG.evaluation.baselines else [],
    output:
        [layout.scores(START, family) for family in FAMILIES_SCORED],
    log:
        f"{LOGS}/evaluate/{{start}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{start}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1 if STATE_MB < 20 else 4
    resources:
        mem_mb=memory(50),
        runtime=minutes(20, per_state=2),
    shell:
        "hybridom evaluate start --config {input.config} --start {wildcards.start} > {log} 2>&1"


rule aggregate_scores:
    "Average the scores over the start dates; write the tables and the summary."
    input:
        config=layout.stage_config("evaluate"),
        scores=[
            layout.scores(start, family)
            for start in CONFIG.forecast.start_dates()
            for family in FAMILIES_SCORED
        ],
    output:
        parquet=[layout.table(family) for family in FAMILIES_SCORED],
        tables=[layout.table(family).with_suffix(".csv") for family in FAMILIES_SCORED],
        skill=report(
            layout.skill_table,
            caption="../report/skill.rst",
            category="Tables",
            labels={"table": "skill"},
        ),
        summary=report(
            layout.summary,
            caption="../report/summary.rst",
            category="Summary",
            labels={"table": "where the model is best"},
        ),
    log:
        f"{LOGS}/aggregate.log",
    benchmark:
        f"{BENCHMARKS}/aggregate.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(0),
        runtime=minutes(20),
    shell:
        "hybridom evaluate aggregate --config {input.config} > {log} 2>&1"
