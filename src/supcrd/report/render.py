"""HTML from the templates in `templates/`. Values are escaped: a run called `<b>` is just a name."""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def html(template: str, /, **values: object) -> "Markup":
    """A template with its values.

    Args:
        template: name of a file in `templates/`, without `.html`.
        values: whatever is no `Markup` is escaped.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.

    Example:
        >>> html("notes", notes=["<b> & co"])
        Markup('<p class="note">&lt;b&gt; &amp; co</p>')
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(f"{template}.html").render(values).strip())


def asset(name: str) -> "Markup":
    """The text of a style sheet or script in `templates/`, which is put on the page as it is."""
    from markupsafe import Markup

    return Markup((resources.files("supcrd.report") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("supcrd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment
