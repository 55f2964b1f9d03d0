"""The keys of the docks, in one table: for the help page, the documentation, and the test that they are all there."""

from __future__ import annotations

KEYS: dict[str, dict[str, str]] = {
    "Teacher": {"W": "Preview the visible field"},
    "Review": {",": "The prediction before, of the teacher and the rounds", ".": "The next one; where two are compared, it is B"},
    "Review, Compare": {
        "D": "To the next place, of those where A and B differ most",
        "Shift+D": "To the place before",
        "F": "held: A and B in turn; let go, and all is as before",
    },
    "Review, Points": {
        "T": "It is tumour",
        "N": "It is not tumour",
        "U": "Unsure",
        "B Backspace": "Back to the place before",
    },
    "Review, Lesions": {
        "J": "The next lesion; lists them first",
        "K": "The lesion before",
        "A": "Accept it; once more takes that back",
        "R": "Reject it; once more takes that back",
    },
}
"""What each key does, by the page on which it does so; keys that belong together stand in one row."""
