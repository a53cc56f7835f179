"""The raw files: simulated here, or already in the folders that the configuration names."""

if CONFIG.source.kind == "twin":

    rule twin_year:
        "Simulate one year of the embedded ocean."
        input:
            config=layout.stage_config("twin"),
            previous=previous_year,
        output:
            layout.twin_manifest(YEAR),
        log:
            f"{LOGS}/twin/{{year}}.log",
        benchmark:
            f"{BENCHMARKS}/twin/{{year}}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(0),
            runtime=minutes(60 if CONFIG.twin.degrees == 4 else 240),
        shell:
            "hybridom twin --config {input.config} --year {wildcards.year} > {log} 2>&1"
