"""Further cases of produce.py: as large, as many and as odd as it goes. A message is a dict of the client's send()."""

import hashlib
import os
import sys

import bulk
import pulsar
import pulsar.schema

LARGEST = 5 << 20


def noise(size):
    """Bytes that do not compress, the same ones each time."""
    return hashlib.shake_128(b"noise").digest(size)


def many_properties(session):
    properties = {f"name-{i * 37 % 1_000}": f"value 世 {i}" for i in range(1_000)}
    session.send(session.producer(), [{"content": b"many", "properties": properties}])


def tiny(count):
    return [{"content": str(i).encode(), "partition_key": f"key-{i % 7}"} for i in range(count)]


def batch(session):
    session.send(session.batching("none"), tiny(1_000))


def batch_by_key(session):
    """One entry for each key."""
    session.send(session.batching("none", batching_type=pulsar.BatchingType.KeyBased), tiny(50))


def largest(session):
    """As large as the client takes, which is the broker's limit less what stands around the payload; then two that fit only
    because they are compressed."""
    whole, producer = noise(LARGEST), session.producer()
    for size in range(LARGEST, LARGEST - 1_000, -1):
        try:
            id = producer.send(whole[:size], sequence_id=1)
        except pulsar.MessageTooBig:
            continue
        session.say({"content": whole[:size]}, id, 1, producer)
        break
    else:
        sys.exit("limits.py: the client takes nothing of about 5 MiB")
    for compression in ["lz4", "zstd"]:
        session.send(session.producer(compression_type=compression), [{"content": bulk.payload(1, LARGEST)}])


def empty():
    contents = [{}, {"null": True}, {"partition_key": "k"}, {"partition_key": "k", "null": True}, {"properties": {"": ""}}, {}]
    return [{"content": None if it.pop("null", False) else b"", **it} for it in contents]


def unicode(session):
    """Texts that go wrong where somebody cuts, folds, normalises or counts in another unit."""
    texts = ["e\u0301 \u00e9", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0627\u0644\u0639 \u202e left", "\u0001\u007f\u0085"]
    texts += ["a\0b", "\ufffd\ufffe\uffff", "\U0010ffff", "\u2028\u2029", "\ufeffmark", "\u0130 \u0131 \u00df \u1e9e"]
    drafts = []
    for text in texts:
        drafts.append({"content": text.encode(), "partition_key": text, "ordering_key": text, "properties": {text: text}})
        drafts.append({"content": f'"{text}"'.encode(), "properties": {text + text: ""}})
    session.send(session.producer(), drafts)


def sequence_ids(session):
    numbers = [None, 7, None, 7, 3, (1 << 53) + 1, (1 << 63) - 1, None]
    session.send(session.producer(), [{"content": b"n"} | ({} if it is None else {"sequence_id": it}) for it in numbers])


def not_replicated(session):
    drafts = [{"content": b"everywhere"}, {"content": b"stays here", "disable_replication": True}]
    session.send(session.producer(), drafts + [{"content": b"goes there", "replication_clusters": ["elsewhere"]}])


def strings(session):
    texts = ["text", "", '{"json":1}', "世😀"]
    session.send(session.producer(schema=pulsar.schema.StringSchema()), [{"content": it} for it in texts], encode=str.encode)


def encrypted(session):
    """With a key whose other half nobody has."""
    lost = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lost-key.pem")
    seal = {"encryption_key": "a-key", "crypto_key_reader": pulsar.CryptoKeyReader(lost, lost)}
    session.send(session.producer(), [{"content": b'{"readable":"before"}'}])
    session.send(session.producer(**seal), [{"content": b'{"secret":1}', "partition_key": "k"}, {"content": b'{"secret":2}'}])
    session.send(session.batching("lz4", **seal), [{"content": b'{"secret":3}', "partition_key": "k"}, {"content": b'{"secret":4}'}])
    session.send(session.producer(), [{"content": b'{"readable":"after"}'}])


def chunked(compression):
    """This client cuts only what the broker would refuse."""

    def send(session):
        drafts = [{"content": b'{"before":1}'}, {"content": noise(6 << 20), "partition_key": "chunked", "properties": {"p": "v"}}]
        session.send(session.producer(chunking_enabled=True, compression_type=compression), drafts + [{"content": b'{"after":1}'}])

    return send


CASES = {
    "properties-1000": many_properties,
    "batch-1000": batch,
    "batch-by-key": batch_by_key,
    "largest": largest,
    "empty": lambda session: session.send(session.producer(), empty()),
    "empty-batch": lambda session: session.send(session.batching("none"), empty()),
    "unicode": unicode,
    "sequence-ids": sequence_ids,
    "not-replicated": not_replicated,
    "schema-string": strings,
    "encrypted": encrypted,
}
