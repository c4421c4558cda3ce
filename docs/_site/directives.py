"""Pages that are made from the package itself: the command line, and every public name."""

import inspect
from typing import Any

import typer
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import supcrd
from supcrd.cli import app as commands
from supcrd.cli.help import GROUPS


class Commands(SphinxDirective):
    """What `supcrd COMMAND --help` prints, command by command in the order of `supcrd --help`."""

    def run(self) -> list[nodes.Node]:
        """A section for every command."""
        group: Any = typer.main.get_command(commands)
        found: list[nodes.Node] = []
        for name in (name for names in GROUPS.values() for name in names):
            section = nodes.section(ids=[f"command-{name}"], names=[f"command-{name}"])
            section += nodes.title(text=name)
            context = typer.Context(group.commands[name], info_name=f"supcrd {name}", terminal_width=78)
            section += nodes.literal_block(text=group.commands[name].get_help(context), language="text")
            found.append(section)
        return found


class Names(SphinxDirective):
    """What autodoc makes of public names of `supcrd`; `metrics` stands for all that are in it. In `eval-rst` only."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """A description for every name."""
        lines: list[str] = []
        for name in self.arguments[0].split():
            thing = getattr(supcrd, name)
            things = [getattr(thing, part) for part in thing.__all__] if inspect.ismodule(thing) else [thing]
            for thing in things:
                kind = "autoclass" if inspect.isclass(thing) else "autofunction"
                lines += [f".. {kind}:: {thing.__module__}.{thing.__qualname__}", ""]
        box = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.add_directive("commands", Commands)
    app.add_directive("names", Names)
    return {"parallel_read_safe": True}
