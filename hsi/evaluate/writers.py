"""The table in LaTeX and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from hsi.evaluate.paper import Entry, PaperTable

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "\n": " ",
}  # fmt: skip
_MARKDOWN = "\\`*_|<>[]"


def latex_escaped(text: str) -> str:
    """The text, letter by letter, in LaTeX with T1 fonts or any newer engine.

    Example:
        >>> print(latex_escaped("a_b & 5 %"))
        a\\_b \\& 5 \\%
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def markdown_escaped(text: str) -> str:
    """The text, letter by letter, in a cell of a Markdown table."""
    kept = "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in text)
    return kept.replace("\n", " ")


def latex(table: PaperTable) -> str:
    """A `table*` for `booktabs`, in small type; bold is the best of a column."""
    columns = "l" + "r" * (len(table.heads) - 1)
    lines = [
        r"% needs \usepackage{booktabs} and, for its width, \usepackage{graphicx}",
        r"\begin{table*}",
        r"  \centering",
        rf"  \caption{{{latex_escaped(table.caption)}}}",
        rf"  \label{{{table.label}}}",
        r"  \resizebox{\textwidth}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        *(f"    {line}" for line in _latex_groups(table.groups)),
        f"    {' & '.join(map(latex_escaped, table.heads))} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(map(_latex_entry, row))} \\\\" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *(rf"  \par\smallskip\footnotesize {latex_escaped(note)}" for note in table.notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _latex_groups(groups: Sequence[tuple[str, int]]) -> list[str]:
    """The line of group titles, and the rules under them."""
    cells, rules, first = [], [], 1
    for title, span in groups:
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{latex_escaped(title)}}}")
        if title:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    return [f"{' & '.join(cells)} \\\\", " ".join(rules)]


def _latex_entry(entry: Entry) -> str:
    text = latex_escaped(entry.text)
    text = rf"\textbf{{{text}}}" if entry.best else text
    return rf"{text} $\pm$ {latex_escaped(entry.deviation)}" if entry.deviation else text


def markdown(table: PaperTable) -> str:
    """A table of pipes under its caption; a heading names its group."""
    titles = [title for title, span in table.groups for _ in range(span)]
    heads = [
        f"{title}: {head}" if title else head
        for title, head in zip(titles, table.heads, strict=True)
    ]
    lines = [
        markdown_escaped(table.caption),
        "",
        _piped([markdown_escaped(head) for head in heads]),
        _piped(["---", *["---:"] * (len(heads) - 1)]),
        *(_piped([_markdown_entry(entry) for entry in row]) for row in table.rows),
        *(line for note in table.notes for line in ("", f"- {markdown_escaped(note)}")),
    ]
    return "\n".join(lines) + "\n"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_entry(entry: Entry) -> str:
    text = markdown_escaped(entry.text)
    text = f"**{text}**" if entry.best else text
    return f"{text} ± {entry.deviation}" if entry.deviation else text
