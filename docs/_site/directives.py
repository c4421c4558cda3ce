"""What the site has beside its pages: commands and public names from the package itself, formulas, titles of links, and
pictures on the ground of the page."""

import inspect
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from typer.testing import CliRunner

import supcrd
from supcrd.cli import app as commands
from supcrd.cli.help import GROUPS


class Commands(SphinxDirective):
    """What `supcrd COMMAND --help` prints, command by command in the order of `supcrd --help`."""

    def run(self) -> list[nodes.Node]:
        """A section for every command."""
        found: list[nodes.Node] = []
        for name in (name for names in GROUPS.values() for name in names):
            label = f"command-{name.replace(' ', '-')}"
            section = nodes.section(ids=[label], names=[label])
            section += nodes.title(text=name)
            asked = CliRunner().invoke(commands, [name, "--help"], env={"COLUMNS": "80"}, prog_name="supcrd")
            section += nodes.literal_block(text=asked.output.strip(), language="text")
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


def mathml(self: Any, node: nodes.math | nodes.math_block) -> None:
    """Formulas as MathML, which browsers draw by themselves: a page loads nothing from elsewhere."""
    block = isinstance(node, nodes.math_block)
    self.body.append(latex2mathml.converter.convert(node.astext(), display="block" if block else "inline"))
    raise nodes.SkipNode


class Grounds(SphinxTransform):
    """A picture NAME.svg that has a NAME-dark.svg beside it is that one on a dark page."""

    default_priority = 200  # before Sphinx collects the files of pictures

    def apply(self, **others: Any) -> None:
        """Put the second picture after the first; furo's classes show one of them."""
        for image in list(self.document.findall(nodes.image)):
            light = Path(image["uri"])
            dark = light.with_stem(f"{light.stem}-dark")
            if light.suffix == ".svg" and (Path(self.env.srcdir) / dark).is_file():
                other = image.deepcopy()
                other["uri"] = dark.as_posix()
                for picture, ground in ((image, "only-light"), (other, "only-dark")):
                    picture["classes"] += ["picture", ground]
                image.parent.insert(image.parent.index(image) + 1, other)


def titled(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Links that read `page.md`, as they should in a repository, read as the page's title here."""
    for link in doctree.findall(nodes.reference):
        target = link.get("refuri", "").partition("#")[0].removesuffix(".html").rpartition("/")[2]
        if link.astext() == f"{target}.md" and target in app.env.titles:
            link.children = [nodes.inline(text=app.env.titles[target].astext())]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it."""
    app.add_directive("commands", Commands)
    app.add_directive("names", Names)
    app.add_transform(Grounds)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("doctree-resolved", titled)
    return {"parallel_read_safe": True}
