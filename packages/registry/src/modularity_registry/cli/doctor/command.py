"""The command doctor: looks for the usual faults and says what to do."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Final

import click

from modularity_client.http.endpoints import parse_urls
from modularity_registry.cli.doctor import checks, findings, tokens
from modularity_registry.cli.doctor.findings import Finding
from modularity_registry.cli.exit import FAILED
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
@click.option(
    "--store", metavar="URL", help="Try this store as well, as serve would open it."
)
@click.option(
    "--location",
    metavar="URL",
    help="Say whether a service could register there, by the settings here.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES[:3]),
    help="The mode for --location; by its scheme if left out.",
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
    """Look for common problems and say how to fix them.

    The exit code is 1 if there is a problem. Nothing is changed.
    """
    if mode is not None and location is None:
        raise click.UsageError("--mode goes with --location.")
    take_any_text()
    found = list(_examine(url, (token, token_file), store, location, mode))
    problems = sum(each.level == "problem" for each in found)
    if as_json:
        shown = [dataclasses.asdict(each) for each in found]
        show_json({"findings": shown, "problems": problems})
    else:
        show(table(("", "WHAT", "FOUND"), map(_row, found)))
        click.echo(f"{count(problems, 'problem')}." if problems else "No problem.")
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
    """Yield all findings, from the ground up."""
    try:
        urls = parse_urls(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    yield from checks.environment(os.environ, url)
    if store is not None:
        yield checks.store(store)
    if location is not None:
        yield checks.location(location, mode, os.environ)
    token, found = tokens.shown(*source)
    yield from found
    yield from tokens.lines(urls, token)
    answers = {}
    for each in urls:
        found, health = checks.registry(each, token)
        yield from found
        if health is not None:
            answers[each] = health
            yield from tokens.admission(
                each, token, "warnings" in health, checks.PATIENCE
            )
    if answers:
        yield from findings.of_strangers(answers)
        yield from checks.services(next(iter(answers)), token)
