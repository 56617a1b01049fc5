"""Prints the table of case × producing client: table.py FILE, in which each cell has noted what it came to.

A line of the file: case, column and word, parted by tabs. The word is `expected` (there must be such a cell), `ok` (it held) or
`not made: ` and why. The column is a client, or a client and `+embedded`: the embedded broker did the same with that client's
entries. Exit code 1 where a cell that was expected did not hold.
"""

import sys

CLIENTS = {"java": "Java", "python": "Python (C++)", "go": "Go"}


def main():
    words = {}
    for line in open(sys.argv[1], encoding="utf-8"):
        case, column, word = line.rstrip("\n").split("\t")
        words.setdefault(case, {}).setdefault(column, set()).add(word)
    footnotes, broken, rows = [], 0, []

    def cell(said, held):
        nonlocal broken
        reason = next((word for word in said if word.startswith("not made: ")), None)
        if reason is not None:
            text = reason.removeprefix("not made: ")
            if text not in footnotes:
                footnotes.append(text)
            return f"— {footnotes.index(text) + 1}"
        broken += not held
        return "ok" if held else "BROKEN"

    for case in sorted(words, key=lambda case: (":" in case, case)):
        row = words[case]
        made = [client for client in CLIENTS if "expected" in row.get(client, ())]
        cells = [cell(row.get(client, set()), "ok" in row.get(client, ())) for client in CLIENTS]
        played = bool(made) and all("ok" in row.get(f"{client}+embedded", ()) for client in made)
        rows.append([case, *cells, cell(row.get("embedded", set()), played)])
    head = ["case", *CLIENTS.values(), "embedded broker"]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |")
    print()
    for number, text in enumerate(footnotes, 1):
        print(f"— {number}: {text}")
    if not rows or broken:
        sys.exit(f"{broken} of the cells of {len(rows)} rows did not hold")


if __name__ == "__main__":
    main()
