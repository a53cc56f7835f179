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
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(0),
        runtime=minutes(20),
    shell:
        "hybridom page --config {input.config} > {log} 2>&1"
