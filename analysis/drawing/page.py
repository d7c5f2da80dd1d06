"""Self-contained HTML pages from templates, ``.html.j2`` files that extend ``drawing/base.html.j2``.

Whatever is put into a page is escaped; ``tojson`` makes inline data, in which ``<`` is ``\\u003c``, so that no text
can end the script that holds it.
"""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """The HTML of a template, named by its path below ``analysis/``: ``diagram/page.html.j2``."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("analysis", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment
