"""How recorded figures are printed."""

from typing import Any


def print_measured(rows: list[dict[str, Any]], style: Any, text: str) -> None:
    """Print recorded figures: `text` for people where there is one, else the rows."""
    from catalog.measurements import markdown
    from catalog.report import print_rows

    if style == "markdown":
        print(markdown(rows))
    elif style == "table" and text:
        print(text)
    else:
        shown = ("metric", "value", "unit", "goal", "compared_with")
        print_rows(
            rows if style == "json" else [{key: row[key] for key in shown} for row in rows], style
        )
