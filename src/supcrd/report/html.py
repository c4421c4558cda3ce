"""HTML from nested calls: whatever is no `Html` yet is escaped, so that a run called `<b>` is just a name."""

from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Html:
    """An element; children that are no `Html` are text, None is left out.

    Args:
        tag: its name; void elements (img, meta) take no children.
        children: text, numbers, `Html`, or None.
        attributes: values are escaped; True stands alone, None and False are left out. `class_` is class, and `_`
            within a name is `-` (aria_sort).

    Example:
        >>> element("td", "<b> & co", class_="name", data_value=0.5, hidden=False)
        '<td class="name" data-value="0.5">&lt;b&gt; &amp; co</td>'
    """
    shown = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in ("img", "meta", "br", "input"):
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{join(*children)}</{tag}>")


def join(*children: object, between: str = "") -> Html:
    """Children one after the other, escaped as `element` does."""
    return Html(
        between.join(
            child if isinstance(child, Html) else escape(str(child)) for child in children if child is not None
        )
    )
