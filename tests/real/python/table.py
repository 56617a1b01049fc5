"""Prints the table of case × producing client: table.py FILE, in which each cell has noted what it came to.

A line of the file: case, column and word, parted by tabs. The word is `expected` (there must be such a cell), `ok` or `raw` (it
held; raw: entry by entry as it was, since nothing can read it) or `not made: ` and why; in the column `peak` it is bytes. The column is a client, or a client and `+embedded`: the embedded broker did the same with that client's
entries. Exit code 1 where a cell that was expected did not hold.
"""

import sys

CLIENTS = {"java": "Java", "python": "Python (C++)", "go": "Go"}
HELD = {"ok", "raw"}


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
        return held or "BROKEN"

    for case in sorted(words, key=lambda case: (":" in case, case)):
        row = words[case]
        made = [client for client in CLIENTS if "expected" in row.get(client, ())]
        cells = [cell(row.get(client, ()), next(iter(HELD & row.get(client, set())), None)) for client in CLIENTS]
        played = bool(made) and all("ok" in row.get(f"{client}+embedded", ()) for client in made)
        peak = max((int(it) for it in row.get("peak", ())), default=0)
        rows.append([case, *cells, cell(row.get("embedded", ()), "ok" if played else None), f"{peak >> 20}" if peak else ""])
    head = ["case", *CLIENTS.values(), "embedded broker", "peak MiB"]
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
