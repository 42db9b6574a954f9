"""Reading back the Markdown that benchmarks print."""


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells of the Markdown tables in `text` by the first of each line; of lines that begin alike, the first."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in reversed(lines)}
