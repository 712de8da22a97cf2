"""The command line: the list of its commands, each imported when it is named."""

from importlib import import_module
from typing import Final, cast

import click
from click.shell_completion import CompletionItem

from modularity_registry import __version__
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.options.connection import before_command, refuse_unused

COMMANDS: Final = {
    "audit": (
        "audit.command:audit",
        "Show who did what, from an audit file.",
    ),
    "completion": ("completion:completion", "Print the completion script for SHELL."),
    "config": (
        "config:config",
        "Check the settings of serve, show them, or begin a file.",
    ),
    "demo": ("demo.command:demo", "Run a small shop of services, to look around."),
    "discover": ("lookup:discover", "Find services to call with every CAPABILITY."),
    "doctor": ("doctor.command:doctor", "Find common problems and how to fix them."),
    "drain": ("registration:drain", "Take a service out of discovery."),
    "explain": ("lookup:explain", "Show which providers callers get, and why not."),
    "export": (
        "transfer:export_command",
        "Write the services, splits and intentions of a store to a file.",
    ),
    "find": ("lookup:find", "Find one provider of CAPABILITY to call."),
    "graph": ("overview:graph", "Show which services call which."),
    "haproxy": (
        "proxies.haproxy_command:haproxy",
        "Keep the servers of a running HAProxy current, without a reload.",
    ),
    "import": (
        "transfer:import_command",
        "Write the services, splits and intentions of a file to a store.",
    ),
    "info": ("lookup:info", "Show everything about one service."),
    "init": ("init.command:init", "Write a module to begin with."),
    "ls": ("lookup:list_services", "List services, sorted by id."),
    "mesh": (
        "mesh.command:mesh",
        "Run a sidecar, and say which services may call which capabilities.",
    ),
    "mirror": (
        "mirror.command:mirror",
        "Keep the services of a Consul or Eureka here as they are there.",
    ),
    "namespaces": ("overview:namespaces", "List the namespaces that you may read."),
    "register": ("registration:register", "Register or replace a service."),
    "render": (
        "proxies.render_command:render",
        "Write configuration files from templates, and keep them current.",
    ),
    "report": ("registration:report", "Report a check of kind ttl, as the service."),
    "serve": ("serve:serve", "Run the registry until Ctrl-C or SIGTERM."),
    "split": ("split:split", "Split the calls of CAPABILITY among its providers."),
    "stats": ("overview:stats", "Show the registry's counts and its replicas."),
    "store": ("store:store", "Look after a store: begin a new epoch in it."),
    "token": ("tokens.command:token", "Create, list, rotate and revoke tokens."),
    "undrain": ("registration:undrain", "Put a drained service back into discovery."),
    "unregister": ("registration:unregister", "Unregister one or more services."),
    "watch": ("watch.command:watch", "Watch services and their events, until Ctrl-C."),
}
"""By name: a module in this package, a name in it, and the first line of its help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named.

    As click's documentation has it ("Lazily Loading Subcommands"). Its own help and
    the shell's completion of a name import none.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"modularity_registry.cli.{module}"), name)
        return cast(click.Command, command)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@before_command
@click.version_option(__version__, prog_name=PROGRAM)
def main(**given: str | None) -> None:
    """Modularity Registry: find a healthy provider of the capability you need.

    The options for a registry work before a command as well as after it.
    """
    context = click.get_current_context()
    command = main.get_command(context, context.invoked_subcommand or "")
    if command is not None:
        refuse_unused(command, given)
