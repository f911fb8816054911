"""The commands of ``realtime``, by name. Settings are environment variables; options are for one call."""

import os

import typer

from realtime import __version__
from workers.cli.deliveries import deliveries
from workers.cli.doctor import doctor
from workers.cli.executions import executions
from workers.cli.identities import identities
from workers.cli.keys import keys
from workers.cli.output import Commands, show
from workers.cli.projects import projects
from workers.cli.publish import publish
from workers.cli.serve import api, dev, hub
from workers.cli.tail import tail
from workers.cli.token import token
from workers.cli.vars import vars_
from workers.cli.work import work
from workers.cli.workers import functions, webhooks

PRIVATE_UMASK = 0o077
"""What the commands make, such as the data folder, its database and its files, is for their user only."""

app = typer.Typer(
    cls=Commands,
    help="A realtime hub: events from any backend, pushed to the clients that may read them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(dev)
app.command()(hub)
app.command()(api)
app.command()(webhooks)
app.command()(functions)
app.command()(publish)
app.command()(tail)
app.command()(token)
app.add_typer(projects, name="projects")
app.add_typer(keys, name="keys")
app.add_typer(identities, name="identities")
app.add_typer(deliveries, name="deliveries")
app.add_typer(executions, name="executions")
app.add_typer(work, name="work")
app.command("vars")(vars_)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Serve the options that belong to no command."""
    if version:
        show(__version__)


def main() -> None:
    """Run the command line."""
    os.umask(PRIVATE_UMASK)
    app(prog_name="realtime")
