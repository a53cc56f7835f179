"""The raw files: simulated here, fetched from their data stores, or already in the folders that the
configuration names. Fetched files and the journals beside the manifests outlive a deleted manifest,
so that a job that runs again fetches only what is missing. Folders that a region and its driver share
are filled by one of them.
"""

if CONFIG.source.kind == "twin" and layout.twin_dir not in RAW_ELSEWHERE:

    rule twin_year:
        "Simulate one year of the embedded ocean."
        input:
            config=layout.stage_config("twin"),
            previous=previous_year,
        output:
            layout.twin_manifest(YEAR),
        log:
            f"{SHARED_LOGS}/twin/{{year}}.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/twin/{{year}}.tsv"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(0),
            runtime=minutes(60 if CONFIG.twin.degrees == 4 else 240),
        shell:
            "hybridom twin --config {input.config} --year {wildcards.year} > {log} 2>&1"


if CONFIG.source.kind == "download" and layout.ocean_dir not in RAW_ELSEWHERE:

    rule retrieve_ocean_month:
        "Fetch one month of GLORYS12V1."
        input:
            config=layout.stage_config("download"),
        output:
            layout.ocean_download(MONTH),
        log:
            f"{SHARED_LOGS}/retrieve/ocean/{{month}}.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/retrieve/ocean/{{month}}.tsv"
        wildcard_constraints:
            month=r"\d{4}-\d{2}",
        retries: 3
        localrule: True
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            downloads=1,
            mem_mb=memory(0, base=6000),
            runtime=minutes(720),
        shell:
            "hybridom retrieve ocean --config {input.config} --month {wildcards.month} > {log} 2>&1"


if CONFIG.source.kind == "download" and layout.forcing_dir not in RAW_ELSEWHERE:

    rule retrieve_forcing_month:
        "Fetch one month of ERA5."
        input:
            config=layout.stage_config("download"),
        output:
            layout.forcing_download(MONTH),
        log:
            f"{SHARED_LOGS}/retrieve/forcing/{{month}}.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/retrieve/forcing/{{month}}.tsv"
        wildcard_constraints:
            month=r"\d{4}-\d{2}",
        retries: 3
        localrule: True
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            downloads=1,
            mem_mb=memory(0, base=4000),
            runtime=minutes(1440),
        shell:
            "hybridom retrieve forcing --config {input.config} --month {wildcards.month} > {log} 2>&1"


if CONFIG.source.kind == "download" and layout.static_dir not in RAW_ELSEWHERE:

    rule retrieve_static:
        "Fetch the static files of GLORYS12V1."
        input:
            config=layout.stage_config("download"),
        output:
            layout.static_download,
        log:
            f"{SHARED_LOGS}/retrieve/static.log",
        benchmark:
            f"{SHARED_BENCHMARKS}/retrieve/static.tsv"
        retries: 3
        localrule: True
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            downloads=1,
            mem_mb=memory(0, base=4000),
            runtime=minutes(120),
        shell:
            "hybridom retrieve static --config {input.config} > {log} 2>&1"
