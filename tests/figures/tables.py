"""Tables of scores as the evaluation writes them, with invented values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hybridom.variables import PROGNOSTIC, VARIABLES

MODEL = "model"
KEYS = ("lead", "region", "variable", "depth", "system", "metric")
GROWTH = {
    "model": 0.8,
    "driver": 0.9,
    "persistence": 1.4,
    "climatology": 0.0,
    "damped_persistence": 1.0,
}


def write_tables(config, folder: Path) -> None:
    """Write `<family>.parquet` of every family into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        make(config).to_parquet(folder / f"{name}.parquet", index=False)


def finished(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A table with an interval about each value and the number of start dates."""
    rng = np.random.default_rng(seed)
    spread = np.abs(table["value"]) * rng.uniform(0.05, 0.15, len(table))
    table = table.assign(low=table["value"] - spread, high=table["value"] + spread, n_starts=9)
    extra = [name for name in ("wavelength",) if name in table]
    return table[[*KEYS, *extra, "value", "low", "high", "n_starts"]]


def rows(axes: Mapping[str, Iterable]) -> pd.DataFrame:
    """All combinations of some keys."""
    return pd.MultiIndex.from_product(list(axes.values()), names=list(axes)).to_frame(index=False)


def systems(config) -> list[str]:
    return [MODEL, *config.evaluation.baselines]


def leads(config) -> range:
    return range(1, config.forecast.days + 1)


def regions(config) -> list[str]:
    around = ["edges", "interior"] if config.evaluation.edges else []
    return ["global", *around, *config.evaluation.regions]


def places(config, names: Sequence[str], depths: Sequence[float]) -> list[tuple[str, float]]:
    """Variables with the levels on which they are scored."""
    return [
        (name, depth)
        for name in names
        for depth in (depths if name == "ke" or VARIABLES[name].has_depth else [np.nan])
    ]


def grow(table: pd.DataFrame, days: int) -> np.ndarray:
    """An error that grows with lead, otherwise for each system."""
    rate = table["system"].map({**GROWTH, "truth": 0.0}).to_numpy(float)
    lead = table["lead"].to_numpy(float) / days
    return np.where(table["system"] == "climatology", 1.0, 0.1 + rate * lead**0.7)


def scores(config) -> pd.DataFrame:
    """Errors of the fields, and the skill over each baseline."""
    pairs = places(config, PROGNOSTIC, (np.nan, *config.grid.depths))
    keys = {"lead": leads(config), "region": regions(config), "place": range(len(pairs))}
    base = rows({**keys, "system": systems(config)})
    place = base.pop("place").to_numpy()
    variables, depths = np.array([name for name, _ in pairs]), np.array([d for _, d in pairs])
    base = base.assign(variable=variables[place], depth=depths[place])
    deep = np.nan_to_num(base["depth"])
    error = grow(base, config.forecast.days) * np.exp(-deep / 600.0)
    normal = base["system"] == "climatology"
    parts = [
        base.assign(metric="rmse_mean", value=error),
        base.assign(metric="bias", value=0.2 * error * np.sin(0.1 * base["lead"])),
        base.assign(metric="acc_centred", value=np.where(normal, np.nan, 1 - 0.6 * error)),
        base.assign(metric="activity", value=np.where(normal, 0.0, 1 - 0.2 * error)),
    ]
    band = base["region"] == "edges"
    ratio = 1.0 + 0.4 * error + 0.1 * (base["system"] == "persistence")
    parts.append(base[band].assign(metric="edge_ratio", value=ratio[band]))
    ours = (base["system"] == MODEL).to_numpy()
    for name in config.evaluation.baselines:
        theirs = error[(base["system"] == name).to_numpy()]
        skill = 1 - error[ours] / theirs + 0.15 * np.sin(deep[ours] / 150.0)
        parts.append(base[ours].assign(metric=f"skill_{name}", value=skill))
    table = finished(pd.concat(parts, ignore_index=True).dropna(subset="value"), 1)
    wider = table["metric"].str.startswith("skill_") * 0.08
    return table.assign(low=table["low"] - wider, high=table["high"] + wider)


def extremes(config) -> pd.DataFrame:
    """Scores of extremes at the first level."""
    parts = []
    for variable, depth in places(config, PROGNOSTIC, config.grid.depths[:1]):
        base = rows({"lead": leads(config), "region": regions(config), "system": systems(config)})
        base = base.assign(variable=variable, depth=depth)
        error = 0.6 * grow(base, config.forecast.days)
        for number, percentile in enumerate(config.extremes.percentiles):
            for name, best in (("csi", 0.8), ("sedi", 0.95)):
                value = np.clip(best - 0.1 * number - error, 0.0, 1.0)
                metric = f"{name}_p{percentile:g}"
                parts.append(base.assign(metric=metric, value=value))
    return finished(pd.concat(parts, ignore_index=True), 2)


def spectra(config) -> pd.DataFrame:
    """Spectra that steepen with lead."""
    names = ("truth", *systems(config))
    wavelength = 4400.0 / 2.0 ** np.arange(0.0, 3.6, 0.2)
    parts = []
    for variable, depth in places(config, ("thetao", "so", "zos", "ke"), config.grid.depths[:1]):
        base = rows(
            {
                "lead": leads(config),
                "region": regions(config),
                "system": names,
                "wavelength": wavelength,
            }
        ).assign(variable=variable, depth=depth)
        truth = 1e-2 * (base["wavelength"] / 4400.0) ** 3
        loss = grow(base, config.forecast.days) * (base["system"] != "truth")
        ratio = np.exp(-loss * np.log(4400.0 / base["wavelength"]))
        parts.append(base.assign(metric="psd", value=truth * ratio))
        ours = base[base["system"] != "truth"]
        parts.append(ours.assign(metric="psd_ratio", value=ratio[ours.index]))
        rate = grow(ours, config.forecast.days)
        shortest = np.clip(4400.0 * 0.5 ** (1.0 / np.maximum(rate, 0.1)), 440.0, 4400.0)
        one = ours.assign(metric="effective_resolution", value=shortest, wavelength=np.nan)
        parts.append(one.drop_duplicates(ignore_index=True))
    return finished(pd.concat(parts, ignore_index=True), 3)


def drift(config) -> pd.DataFrame:
    """Separations that grow with the square root of time and a bit."""
    days = range(1, min(config.evaluation.drift.days, config.forecast.days) + 1)
    base = rows({"lead": days, "region": regions(config), "system": systems(config)})
    base = base.assign(variable="drift", depth=np.nan)
    value = 12.0 * grow(base, len(days)) * base["lead"] ** 0.5
    names = ("separation", "separation_median", "path_length", "path_length_truth", "left")
    parts = [base.assign(metric=name, value=value) for name in names]
    return finished(pd.concat(parts, ignore_index=True), 4)


def heatwaves(config) -> pd.DataFrame:
    """Areas, intensities and scores of marine heatwaves."""
    base = rows({"lead": leads(config), "region": regions(config), "system": systems(config)})
    base = base.assign(variable="thetao", depth=config.grid.depths[0])
    error = grow(base, config.forecast.days)
    values = {
        "csi": 0.8 - 0.5 * error,
        "pod": 0.9 - 0.5 * error,
        "far": 0.1 + 0.4 * error,
        "area_fraction_forecast": 0.08 - 0.03 * error,
        "area_fraction_truth": 0.08 + 0.01 * np.sin(base["lead"] / 9.0),
        "intensity_forecast": 1.2 - 0.4 * error,
        "intensity_truth": 1.2 + 0.1 * np.sin(base["lead"] / 9.0),
    }
    parts = [base.assign(metric=name, value=value) for name, value in values.items()]
    return finished(pd.concat(parts, ignore_index=True), 7)


def derived(config) -> pd.DataFrame:
    """Errors of quantities made of the state, and ratios of energies."""
    sizes = {"mlotst": 30.0, "ugos": 0.02, "vgos": 0.02, "ohc_0_300": 2e8, "ke": 4e-4, "eke": 3e-4}
    parts = []
    for variable, size in sizes.items():
        base = rows({"lead": leads(config), "region": regions(config), "system": systems(config)})
        base = base.assign(variable=variable, depth=np.nan)
        error = grow(base, config.forecast.days)
        parts.append(base.assign(metric="rmse_mean", value=size * error))
        if variable in ("ke", "eke"):
            parts.append(base.assign(metric="energy_ratio", value=1.0 - 0.3 * error))
    return finished(pd.concat(parts, ignore_index=True), 5)


def budgets(config) -> pd.DataFrame:
    """Contents of the ocean, of the truth too, and their change since lead 0."""
    sizes = {"heat_content": 9e21, "salt_content": -9e12, "volume_anomaly": 9e11}
    sizes |= {"thetao_mean": 0.01, "so_mean": 1e-4, "kinetic_energy": 9e15}
    names = [*systems(config), "truth"]
    parts = []
    for variable, size in sizes.items():
        base = rows({"lead": leads(config), "region": regions(config), "system": names})
        base = base.assign(variable=variable, depth=np.nan)
        change = size * np.sin(base["lead"] / 15.0) * (1.0 + 0.3 * grow(base, config.forecast.days))
        parts.append(base.assign(metric="change", value=change))
        parts.append(base.assign(metric="value", value=100.0 * abs(size) + change))
    return finished(pd.concat(parts, ignore_index=True), 6)


TABLES = {
    "scores": scores,
    "extremes": extremes,
    "heatwaves": heatwaves,
    "derived": derived,
    "budgets": budgets,
    "spectra": spectra,
    "drift": drift,
}
