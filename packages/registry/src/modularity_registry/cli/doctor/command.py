"""The command doctor: looks for common problems and says how to fix them."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Final

import click

from modularity_client.http.endpoints import parse_urls
from modularity_registry.cli.doctor import checks, findings, tokens
from modularity_registry.cli.doctor.findings import Finding
from modularity_registry.cli.exit import FAILED
from modularity_registry.cli.options.namespace import current_namespace
from modularity_registry.cli.output import (
    Cell,
    count,
    show,
    show_json,
    table,
    take_any_text,
)
from modularity_registry.cli.session import json_option, url_option
from modularity_registry.model.service import MODES

STYLES: Final = {"ok": "green", "note": "yellow", "problem": "bold red"}


@click.command()
@url_option
@json_option
@click.option("--store", metavar="URL", help="Check this store as well.")
@click.option(
    "--location",
    metavar="URL",
    help="Check whether a service can register with this location.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES[:3]),
    help="Mode for --location. Default: that of its scheme.",
)
def doctor(
    url: str,
    token: str | None,
    token_file: str | None,
    as_json: bool,
    store: str | None,
    location: str | None,
    mode: str | None,
) -> None:
    """Find common problems and how to fix them.

    The exit code is 1 if there is a problem. Nothing is changed.
    """
    if mode is not None and location is None:
        raise click.UsageError("--mode needs --location.")
    take_any_text()
    results = list(_examine(url, (token, token_file), store, location, mode))
    problems = sum(finding.level == "problem" for finding in results)
    if as_json:
        documents = [dataclasses.asdict(finding) for finding in results]
        show_json({"findings": documents, "problems": problems})
    else:
        show(table(("", "WHAT", "RESULT"), map(_row, results)))
        click.echo(f"{count(problems, 'problem')}." if problems else "No problems.")
    if problems:
        click.get_current_context().exit(FAILED)


def _row(finding: Finding) -> tuple[Cell, ...]:
    advice = f"\n-> {finding.advice}" if finding.advice else ""
    level = finding.level
    return (level, STYLES[level]), finding.about, f"{finding.message}{advice}"


def _examine(
    url: str,
    source: tuple[str | None, str | None],
    store: str | None,
    location: str | None,
    mode: str | None,
) -> Iterator[Finding]:
    """Yield all findings, the environment first, the services last."""
    try:
        urls = parse_urls(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    current_namespace()  # a bad name as well is a mistake in the line
    yield from checks.environment(os.environ, url)
    if store is not None:
        yield checks.store(store)
    if location is not None:
        yield checks.location(location, mode, os.environ)
    token, token_findings = tokens.find_token(*source)
    yield from token_findings
    yield from tokens.unencrypted(urls, token)
    healths = {}
    for replica_url in urls:
        registry_findings, health = checks.registry(replica_url, token)
        yield from registry_findings
        if health is not None:
            healths[replica_url] = health
            yield from tokens.admission(
                replica_url, token, "warnings" in health, checks.PATIENCE
            )
    if healths:
        yield from findings.of_strangers(healths)
        yield from checks.services(next(iter(healths)), token)
