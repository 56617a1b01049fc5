"""Reads objects as their documentation describes them, with nothing but Python's own library, and prints what is in them.

objects.py FOLDER: every object in it, oldest first. For each one JSON line that says where it is and what the store keeps
beside it (its metadata and content type), then one line for each record: its members as they are, `members` with their names in order, `properties` as
pairs, and the payload as `kind` (the member that held it) and `payload_base64`.
objects.py --digest FOLDER: instead of the records one line with their number, their first and last id; and at the end one with
their number and the SHA-256 of all payloads, one after the other.
"""

import base64
import gzip
import hashlib
import json
import os
import sys

PAIRS = json.JSONDecoder(object_pairs_hook=list)
KINDS = ("null_value", "value", "text", "base64", "raw_base64")


def members(line):
    """Name, meaning and own text of each member of one object, in order, repeated ones too."""
    assert line[0] == "{" and line[-1] == "}", line[:200]
    at = 1
    while True:
        name, at = json.decoder.scanstring(line, at + 1)
        assert line[at] == ":", line[:200]
        begin = at + 1
        meaning, at = PAIRS.raw_decode(line, begin)
        yield name, meaning, line[begin:at]
        if at == len(line) - 1:
            return
        assert line[at] == ",", line[:200]
        at += 1


def record(line):
    answer, names, payload = {"properties": []}, [], None
    for name, meaning, text in members(line):
        names.append(name)
        if name in KINDS:
            answer["kind"] = name
            payload = {
                "null_value": lambda: None,
                "value": lambda: text.encode(),
                "text": lambda: meaning.encode(),
                "base64": lambda: base64.b64decode(meaning, validate=True),
                "raw_base64": lambda: base64.b64decode(meaning, validate=True),
            }[name]()
        elif name == "undecodable":
            answer["undecodable"] = json.loads(text)
        else:
            answer[name] = meaning
    answer["members"] = names
    answer["payload"] = payload
    return answer


def objects(folder):
    found = []
    for path, _, names in os.walk(folder):
        found += [os.path.join(path, name) for name in names if name.endswith((".jsonl", ".jsonl.gz"))]
    return sorted(found, key=os.path.basename)


def show(line):
    print(json.dumps(line))


def main():
    digest = sys.argv[1] == "--digest"
    folder = sys.argv[-1]
    total, of_all = hashlib.sha256(), 0
    for path in objects(folder):
        sha256 = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                sha256.update(piece)
        # Where this kind of store keeps what was sent beside the content.
        metadata, content_type = json.loads(os.getxattr(path, "user.metadata")), os.getxattr(path, "user.content-type").decode()
        etag = os.getxattr(path, "user.etag").decode()
        key = os.path.relpath(path, folder)
        show({"object": key, "bytes": os.path.getsize(path), "sha256": sha256.hexdigest(), "metadata": metadata, "content_type": content_type, "etag": etag})
        first, last, count = None, None, 0
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as lines:
            for line in lines:
                assert line.endswith(b"\n"), "the last line has no end"
                it = record(line[:-1].decode())
                payload = it.pop("payload")
                if not digest:
                    it["payload_base64"] = None if payload is None else base64.b64encode(payload).decode()
                    show(it)
                    continue
                total.update(payload or b"")
                count, first, last = count + 1, first or it["id"], it["id"]
        if digest:
            show({"count": count, "first": first, "last": last})
            of_all += count
    if digest:
        show({"count": of_all, "sha256": total.hexdigest()})


if __name__ == "__main__":
    main()
