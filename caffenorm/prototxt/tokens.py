"""Prototxt text cut into tokens: names, numbers, quoted strings and punctuation, each with its place.

Blank space and `#` comments fall away. What is no token (an unclosed string, a stray character) becomes a
BAD one, which the parser reports where it meets it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

END, NAME, NUMBER, STRING, MARK, BAD = range(6)

# The blanks never have to be tried in another split, because any character, or the end, may follow them.
_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*
    (?: ([A-Za-z_][0-9A-Za-z_+-]*)
      | ([0-9+-][0-9A-Za-z_.+-]* | \.[0-9][0-9A-Za-z_.+-]*)
      | ("[^"\\\n]*(?:\\[^\n][^"\\\n]*)*" | '[^'\\\n]*(?:\\[^\n][^'\\\n]*)*')
      | ([{}<>\[\]:,;])
      | (.)
      | \Z )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    rb"""\\ (?: (?P<plain>[abfnrtv\\'"?])
          | (?P<octal>[0-7]{1,3})
          | x(?P<byte>[0-9a-fA-F]{1,2}) | u(?P<short>[0-9a-fA-F]{4}) | U(?P<long>[0-9a-fA-F]{8})
          | [xuU]
          | (?P<other>.[\x80-\xbf]*) )""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_ESCAPES = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))


class Tokens:
    """The tokens of a text up to the first BAD one, as parallel lists; the last one is END with empty text.

    Attributes:
        kinds: NAME, NUMBER, STRING, MARK (one of `{}<>[]:,;`), BAD or END.
        texts: as written, strings with their quotes.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._first = 1 if text.startswith("\ufeff") else 0  # past a byte order mark
        self.kinds: list[int] = []
        self.texts: list[str] = []
        self._starts: list[int] = []
        for match in _TOKEN.finditer(text, self._first):
            kind = match.lastindex
            if kind is None:
                break
            self.kinds.append(kind)
            self.texts.append(match[kind])
            self._starts.append(match.start(kind))
            # Nobody reads on from there, and trying every quote in an unclosed string takes quadratic time.
            if kind == BAD:
                break
        self.kinds.append(END)
        self.texts.append("")
        self._starts.append(len(text))

    @cached_property
    def _line_starts(self) -> list[int]:
        return [self._first, *(m.end() for m in re.finditer("\n", self.text))]

    def line(self, index: int) -> int:
        """The line of a token, counted from 1."""
        return bisect_right(self._line_starts, self._starts[index])

    def column(self, index: int) -> int:
        """The column of a token, counted from 1 in characters."""
        return self._starts[index] - self._line_starts[self.line(index) - 1] + 1

    def shown(self, index: int) -> str:
        """A token as an error message names it."""
        text = self.texts[index]
        if self.kinds[index] == END:
            return "the end of the text"
        if self.kinds[index] == BAD:
            return "a string without its closing quote" if text in "\"'" else f"the character {text!r}"
        return f"'{text[:40]}...'" if len(text) > 43 else f"'{text}'"


def unquote(token: str) -> tuple[bytes, str]:
    """The bytes that a quoted string stands for, and an escape in it that does not exist ("" where all do).

    Such an escape stays as it is written, as in text_format: files written on Windows have paths with
    single backslashes.

    Raises:
        ValueError: an escape that stands for no byte and no character, or bytes that were no UTF-8 in the
            file.
    """
    try:
        body = token[1:-1].encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("this string is not UTF-8") from None
    if b"\\" not in body:
        return body, ""
    strange = next((m[0].decode("utf-8", "replace") for m in _ESCAPE.finditer(body) if m["other"]), "")
    return _ESCAPE.sub(_escaped, body), strange


def _escaped(match: re.Match[bytes]) -> bytes:
    if plain := match["plain"]:
        return bytes([_PLAIN_ESCAPES[plain[0]]])
    if match["other"]:
        return match[0]
    shown = match[0].decode()
    digits = match["octal"] or match["byte"] or match["short"] or match["long"]
    if not digits:
        raise ValueError(f'"{shown}" needs hexadecimal digits behind it; write "\\\\" for a backslash')
    value = int(digits, 8 if match["octal"] else 16)
    if shown[1] in "uU":
        if value > 0x10FFFF or 0xD800 <= value < 0xE000:
            raise ValueError(f'"{shown}" is no Unicode character')
        return chr(value).encode("utf-8")
    if value > 255:
        raise ValueError(f'"{shown}" is more than a byte holds (at most "\\377")')
    return bytes([value])
