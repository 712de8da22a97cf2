"""Options that describe a service, for the commands that register one."""

import click

from modularity_registry.cli.options.filters import key_values

name_option = click.option("--name", help="Name for people. Default: the id.")
version_option = click.option(
    "--version", metavar="VERSION", help="Its version. Default: 1.0.0."
)
metadata_option = click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="Entry of its metadata; can be repeated.",
)
zone_option = click.option("--zone", metavar="ZONE", help="Zone it runs in.")
region_option = click.option(
    "--region", metavar="REGION", help="Region that the zone is in."
)
owner_key_option = click.option(
    "--owner-key",
    metavar="KEY",
    envvar="REGISTRY_OWNER_KEY",
    help="Secret key that changes to the service need. [REGISTRY_OWNER_KEY]",
)
