"""Each stage reads its own part of the configuration, so a change elsewhere reruns nothing.

The values are params, so that a changed value is seen; the file and the options that they come
from are fixed text of the command, because a change of those alone concerns no stage.
"""


rule configure_experiment:
    "Write what one stage is given of the configuration."
    output:
        f"{layout.experiment_dir}/config/{{stage}}.yaml",
    log:
        f"{LOGS}/configure/{{stage}}.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        stage=stage_name,
        sections=stage_sections,
    shell:
        "hybridom config stage {params.stage} --experiment {wildcards.experiment} --output {output} "
        f"{CONFIG_OPTIONS} > {{log}} 2>&1"


rule configure_resources:
    "Write what one stage that experiments share is given of the configuration."
    output:
        f"{layout.resources_dir}/config/{{stage}}.yaml",
    log:
        f"{SHARED_LOGS}/configure/{{stage}}.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        stage=stage_name,
        sections=stage_sections,
    shell:
        f"hybridom config stage {{params.stage}} --output {{output}} {CONFIG_OPTIONS} > {{log}} 2>&1"


if CONFIG.source.kind == "twin" and layout.twin_dir not in RAW_ELSEWHERE:

    use rule configure_resources as configure_twin with:
        output:
            layout.stage_config("twin"),
        log:
            f"{SHARED_LOGS}/configure/twin.log",
        localrule: True
