"""Fonts for what others name things: matplotlib's own, and behind it those of this machine that have what it lacks."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font

OURS = "DejaVu Sans"
"""It comes with matplotlib."""
NO_TEXT = ("Last Resort", "cm")
"""Families, by how their names begin, whose glyphs are boxes, or are not those of the characters."""


def families(characters: Iterable[str]) -> tuple[list[str], str]:
    """Choose font families that have these characters, ours first, and return those that none on this machine has."""
    paths = [findfont(FontProperties(family=OURS, weight=weight)) for weight in ("normal", "bold")]
    lacking = {each for each in characters if not (each.isspace() or all(_has(path, each) for path in paths))}
    names = [OURS]
    entries = sorted(fontManager.ttflist, key=_rank) if lacking else []
    while lacking:
        found = {entry.name: {each for each in lacking if _has(entry.fname, each)} for entry in reversed(entries)}
        best = max(reversed(found), key=lambda name: len(found[name]), default=OURS)
        if not found.get(best):
            break
        names.append(best)
        lacking -= found[best]
    return names, "".join(sorted(lacking))


def boxes_note(missing: str) -> list[str]:
    """What is said of a picture with characters that no font has: a line, or none."""
    if not missing:
        return []
    some = " ".join(missing[:20]) + (" ..." if len(missing) > 20 else "")
    names = ", ".join(sorted({unicodedata.name(each, "UNKNOWN").split()[0].lower() for each in missing})[:3])
    return [f"the picture has boxes for {some} ({names}): no font on this machine has them; install one that does"]


def _rank(entry: FontEntry) -> tuple[bool, bool, str]:
    """Upright fonts of ordinary weight first, those without serifs before the others."""
    return entry.style != "normal" or str(entry.weight) not in ("400", "normal"), "Sans" not in entry.name, entry.name


@lru_cache(maxsize=1 << 14)
def _has(path: str, character: str) -> bool:
    """Whether a font has a character that can be drawn; a font of coloured bitmaps has some that cannot."""
    try:
        font = get_font(path)
        if font.family_name.startswith(NO_TEXT) or not font.get_char_index(ord(character)):
            return False
        font.set_size(10, 72)
        font.load_char(ord(character))
    except (OSError, RuntimeError):
        return False
    return True
