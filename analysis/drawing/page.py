"""Self-contained HTML pages from templates, ``.html.j2`` files that extend ``drawing/base.html.j2``.

Whatever is put into a page is escaped; ``tojson`` makes inline data, in which ``<`` is ``\\u003c``, so that no text
can end the element that holds it.  A page's policy lets the scripts run that it was rendered with, by their hashes, and
nothing else; it loads nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """The HTML of a template, named by its path below ``analysis/``: ``page/page.html.j2``.

    :param scripts: JavaScript of ours, run in this order at the end of the page.
    """
    page = _environment().get_template(template)
    return page.render(values, scripts=scripts, policy=_policy(scripts))


def _policy(scripts: Sequence[str]) -> str:
    """What a browser lets the page do; the style of an element is no script, and Vega sets many."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


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
