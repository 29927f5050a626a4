"""What became of a weights file: which layers of it a net took."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReport:
    """What became of a weights file.

    Attributes:
        loaded: layers of the net that got their values from the file.
        missing: layers of the net with parameters that the file does not have; they keep theirs.
        unused: layers of the file with blobs that the net does not have.
        mismatched: what does not fit and was passed over, in words; empty unless that was asked for.
        notes: what the file turned out to be: dialects, and all `doubts`.
        doubts: the notes that speak of probable mistakes.
        file: the weights file.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    file: str = ""

    @property
    def ok(self) -> bool:
        """Whether every parameter of the net got its values."""
        return not self.missing and not self.mismatched

    def __str__(self) -> str:
        lines = [f"{self.file or 'weights'}: {_layers(len(self.loaded))} loaded"]
        for name in self.missing:
            near = difflib.get_close_matches(name, self.unused, n=1)
            hint = f' (the file has a layer "{near[0]}" that the net has not)' if near else ""
            lines.append(f'  missing in the file, left as it was: "{name}"{hint}')
        lines += [f"  does not fit, left as it was: {what}" for what in self.mismatched]
        if self.unused:
            names = ", ".join(f'"{name}"' for name in self.unused)
            lines.append(f"  only in the file, not used: {names}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _layers(count: int) -> str:
    return f"{count} layer" if count == 1 else f"{count} layers"
