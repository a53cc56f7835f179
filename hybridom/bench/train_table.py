"""The results of `bench train` as text."""

from __future__ import annotations

from typing import Any

from hybridom.bench.train_parts import PARTS

TERA = 1e12
GIGA = 1e3  # MB


def table(result: dict[str, Any]) -> str:
    """The result of `train.bench_train`."""
    data = result["data"]
    lines = [
        *_head(result),
        f"data      {_source(data)}",
        "",
        f"{'':12}{'samples/s':>11}{'days/s':>9}{'x first':>9}{'s a step':>10}{'fastest':>9}"
        f"{'waiting %':>11}{'peak GB':>9}{'TFLOP/s':>10}{'% of':>8}{'peak':>10}",
    ]
    measured = {name: row for name, row in result["variants"].items() if "skipped" not in row}
    for name, row in result["variants"].items():
        lines.append(f"{name:12}" + (_speed(row) if name in measured else f"  {row['skipped']}"))
    named = [part for part in PARTS if any(part in row["parts"] for row in measured.values())]
    lines += ["", f"{'s a step':12}" + "".join(f"{part:>10}" for part in (*named, "sum"))]
    for name, row in measured.items():
        parts = [row["parts"][part] for part in named]
        lines.append(f"{name:12}" + "".join(f"{x:10.3g}" for x in (*parts, sum(parts))))
    return "\n".join([*lines, "", *_traits(measured), "", *_counted(result["variants"])])


def count_table(result: dict[str, Any]) -> str:
    """The result of `train.count_train`."""
    return "\n".join([*_head(result), "", *_counted(result["variants"])])


def _speed(row: dict[str, Any]) -> str:
    cells = [
        f"{row['samples_per_second']:11.4g}",
        f"{row['days_per_second']:9.4g}",
        f"{row['times_first']:9.2f}" if "times_first" in row else f"{'-':>9}",
        f"{row['median']:10.4g}",
        f"{row['fastest']:9.4g}",
        f"{row['waiting_percent']:11.2f}",
        f"{(row['peak_memory_mb'] - row['start_memory_mb']) / GIGA:9.2f}",
        f"{row['tflop_per_s']:10.3g}",
        f"{row['peak_percent']:8.1f}",
        f"{row['peak_tflop_per_s']:10.3g}",
    ]
    if row["vendor_tflop_per_s"] is not None:
        of_vendor = f"{row['vendor_percent']:.1f} % of {row['vendor_tflop_per_s']:g}"
        cells.append(f"  {of_vendor} by the data sheet")
    return "".join(cells)


def _head(result: dict[str, Any]) -> list[str]:
    nz, ny, nx = result["grid"]
    where = f"{result['device']}, {result['threads']} threads" if "device" in result else "any"
    versions = ", ".join(f"{n} {result[n] or '-'}" for n in ("torch", "numba", "triton"))
    return [
        f"device    {where}, {versions}",
        f"ocean     {nz} x {ny} x {nx} cells, {result['wet_share']:.0%} wet, "
        f"{result['substeps']} substeps a day",
        f"step      {result['accumulate']} x {result['batch']} windows of {result['days']} days",
    ]


def _source(data: dict[str, Any]) -> str:
    if data["source"] == "memory":
        why = f" ({data['note']})" if data["note"] else ""
        return f"one batch in memory, {data['window_mb']:.1f} MB a window: nothing is read{why}"
    what = "invented, in temporary stores" if data["source"] == "synthetic" else "own stores"
    return (
        f"{what}: {data['windows']} windows of {data['window_mb']:.1f} MB, "
        f"{data['workers']} loader processes, {data['samples_per_second']:.2f} samples/s alone"
    )


def _traits(rows: dict[str, Any]) -> list[str]:
    """Each variant in words."""
    lines = []
    for name, row in rows.items():
        words = [row["arithmetic"], f"kernels {row['kernels'] or '-'}"]
        words += [word for word in ("channels_last", "compile") if row[word]]
        words += [f"checkpoint {'+'.join(row['checkpoint'])}"] if row["checkpoint"] else []
        words += [f"{n} {size:,} parameters" for n, size in row["parameters"].items()]
        lines.append(f"{name:12}{', '.join(words)}; first step {row['first_seconds']:.1f} s")
    return lines


def _counted(rows: dict[str, Any]) -> list[str]:
    """What was counted, of each variant."""
    lines = [
        f"{'counted':12}{'forward':>11}{'backward':>11}{'again':>11}  TFLOP a sample"
        f"{'weights':>11}{'window':>11}{'step':>11}{'total':>11}  GB",
    ]
    for name, row in rows.items():
        if "flop" not in row:
            lines.append(f"{name:12}  {row['skipped']}")
            continue
        flop, size = row["flop"], row["counted_memory_mb"]
        work = (flop[key] / TERA for key in ("forward", "backward", "recomputed"))
        space = (size[key] / GIGA for key in ("weights", "window", "step", "total"))
        cells = [*(f"{x:11.4g}" for x in work), " " * 16, *(f"{x:11.4g}" for x in space)]
        lines.append(f"{name:12}" + "".join(cells))
    return lines
