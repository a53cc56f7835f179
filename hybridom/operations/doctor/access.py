"""Clients and credentials of the data stores. What the credentials are is never read out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hybridom.operations.doctor.environment import requirements
from hybridom.operations.doctor.findings import Case, Checks, Finding, fail, ok, skip, warn

OCEAN = "Copernicus Marine"
OCEAN_VARIABLES = ("COPERNICUSMARINE_SERVICE_USERNAME", "COPERNICUSMARINE_SERVICE_PASSWORD")
CDS = "Climate Data Store"
CDS_VARIABLES = ("CDSAPI_URL", "CDSAPI_KEY")
UNTRIED = "whether they are valid shows with the first file"


def checks(case: Case) -> Checks:
    """The checks of this group."""
    if case.config.source.kind != "download":
        return (("data stores", not_needed),)
    atmosphere = (CDS, cds) if case.config.download.atmosphere == "cds" else ("ERA5", public)
    return ("clients", clients), (OCEAN, ocean), atmosphere


def not_needed(case: Case) -> Iterator[Finding]:
    """Nothing is fetched."""
    yield skip("data stores", f"source.kind is {case.config.source.kind}: nothing is fetched")


def clients(case: Case) -> Iterator[Finding]:
    """Whether the optional part of the installation is there."""
    number, wrong = requirements("download")
    if wrong:
        yield fail("clients", ", ".join(wrong), "run pip install 'hybridom[download]'")
    else:
        yield ok("clients", f"{number} packages of hybridom[download] within their ranges")


def ocean(case: Case) -> Iterator[Finding]:
    """Whether the client would find credentials, in the order in which it looks."""
    from hybridom.retrieve.ocean import LOGIN

    if all(os.environ.get(name) for name in OCEAN_VARIABLES):
        yield ok(OCEAN, f"credentials in {' and '.join(OCEAN_VARIABLES)}")
        return
    home = Path.home()
    base = Path(os.environ.get("COPERNICUSMARINE_CREDENTIALS_DIRECTORY") or home)
    places = (
        base / ".copernicusmarine" / ".copernicusmarine-credentials",
        home / "motuclient" / "motuclient-python.ini",
        home / ".netrc",
    )
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        found = f"no credentials: neither {places[0]} nor {' and '.join(OCEAN_VARIABLES)} is there"
        yield fail(OCEAN, found, LOGIN)
    elif not (text := _text(file)):
        yield fail(OCEAN, f"{file} is empty or cannot be read", LOGIN)
    elif file == places[2] and "cmems-du.eu" not in text:
        yield fail(OCEAN, f"no credentials: {file} has none for Copernicus Marine", LOGIN)
    else:
        yield ok(OCEAN, f"credentials in {file} ({UNTRIED})")
        yield from _private(OCEAN, file)


def cds(case: Case) -> Iterator[Finding]:
    """Whether the client would find an address and a key."""
    from hybridom.retrieve.cds import LOGIN

    if all(os.environ.get(name) for name in CDS_VARIABLES):
        yield ok(CDS, f"address and key in {' and '.join(CDS_VARIABLES)}")
        return
    file = Path(os.environ.get("CDSAPI_RC") or "~/.cdsapirc").expanduser()
    if not file.is_file():
        yield fail(CDS, f"no key: neither {file} nor {' and '.join(CDS_VARIABLES)} is there", LOGIN)
        return
    pairs = [line.partition(":") for line in _text(file).splitlines()]
    given = {key.strip(): value.strip() for key, _, value in pairs}
    given |= {
        name: os.environ[v]
        for name, v in zip(("url", "key"), CDS_VARIABLES, strict=True)
        if os.environ.get(v)
    }
    missing = [key for key in ("url", "key") if not given.get(key)]
    if missing:
        yield fail(CDS, f"{file} has no line for {' and '.join(missing)}", LOGIN)
    elif ":" in given["key"] or given["url"].rstrip("/").endswith("/v2"):
        yield fail(CDS, f"{file} is of the store that was closed in 2024", LOGIN)
    else:
        yield ok(CDS, f"address and key in {file} ({UNTRIED})")
        yield from _private(CDS, file)


def public(case: Case) -> Iterator[Finding]:
    """The public Zarr asks for no account."""
    yield ok("ERA5", "download.atmosphere is arco: a public Zarr, no account needed")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _private(name: str, file: Path) -> Iterator[Finding]:
    """Nobody else should be able to read it."""
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warn(name, f"{file} can be read by others", f"run chmod 600 {file}")
