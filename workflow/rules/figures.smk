"""One rule a figure, since each has its own caption, inputs and place in the report."""

for figure in figure_names(CONFIG):

    rule:
        name:
            f"figure_{figure}"
        input:
            config=layout.stage_config("figures"),
            data=figure_inputs(figure, CONFIG, layout),
        output:
            marked_for_report(figure),
        log:
            f"{LOGS}/figures/{figure}.log",
        benchmark:
            f"{BENCHMARKS}/figures/{figure}.tsv"
        group:
            "figures"
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(20),
            runtime=minutes(20, per_state=0.2),
            figures=1,
        params:
            figure=figure,
        shell:
            "hybridom figures {params.figure} --config {input.config} > {log} 2>&1"
