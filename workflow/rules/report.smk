"""All tables and figures on one page that needs no other file."""


rule page:
    "Put the summary, all figures and all tables on one page."
    input:
        config=layout.stage_config("page"),
        tables=[layout.table(family) for family in FAMILIES_SCORED],
        skill=layout.skill_table,
        forecasts=[layout.forecast_manifest(start) for start in CONFIG.forecast.start_dates()],
        figures=[figure_outputs(name, CONFIG, layout) for name in figure_names(CONFIG)],
    output:
        layout.page,
    log:
        f"{LOGS}/page.log",
    benchmark:
        f"{BENCHMARKS}/page.tsv"
    group:
        "figures"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(0),
        runtime=minutes(20),
    shell:
        "hybridom page --config {input.config} > {log} 2>&1"


if len(EXPERIMENTS) > 1:

    rule compare:
        "Put the scores of all experiments side by side."
        input:
            config=f"{CONFIG.paths.results}/{CONFIG.experiment}/config/page.yaml",
            tables=expand(
                [layout.table(family) for family in FAMILIES_SCORED], experiment=EXPERIMENTS
            ),
        output:
            comparison(CONFIG) / "page.html",
        log:
            f"{SHARED_LOGS}/compare.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/compare.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(0),
            runtime=minutes(20),
        params:
            experiments=list(EXPERIMENTS),
            folder=comparison(CONFIG),
        shell:
            "hybridom compare {params.experiments} --config {input.config} "
            "--output {params.folder} > {log} 2>&1"
