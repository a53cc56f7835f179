"""Regions and the models that drive them, each by a workflow like this one with names of its own."""

for link, elsewhere in zip(LINKS, RAW_ELSEWHERE_OF_LINKS):
    PREFIX = rule_prefix(link)
    CHAINED_WORKFLOW = f"chained_{PREFIX}"

    module:
        name: CHAINED_WORKFLOW
        snakefile:
            "../../Snakefile"
        config:
            chained_config(link, elsewhere)

    use rule * from CHAINED_WORKFLOW as PREFIX*
