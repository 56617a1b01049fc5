"""Sends the messages of one case and prints one JSON line for each, in the order of sending.

--url --token --topic --case [--listener] [--compression] [--producer] [--count --size]; --case list prints the cases.
The Java client's cases are the model; here is what this client can make of them.
"""

import argparse
import base64
import datetime
import hashlib
import json
import sys

import bulk
import limits
import pulsar
import pulsar.schema

COMPRESSIONS = {
    "none": pulsar.CompressionType.NONE,
    "lz4": pulsar.CompressionType.LZ4,
    "zlib": pulsar.CompressionType.ZLib,
    "zstd": pulsar.CompressionType.ZSTD,
    "snappy": pulsar.CompressionType.SNAPPY,
}


def text(id):
    entry = f"{id.ledger_id()}:{id.entry_id()}:{id.partition()}"
    return entry if id.batch_index() < 0 else f"{entry}:{id.batch_index()}"


def show(**fields):
    line = {}
    for name, value in fields.items():
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        if value is not None:
            line[name] = value
    print(json.dumps(line, ensure_ascii=False), flush=True)


def draft(payload, **fields):
    """A message as the test means it; the fields are those of the client's send()."""
    return {"content": payload.encode() if isinstance(payload, str) else payload, **fields}


class Session:
    def __init__(self, options):
        self.options = options
        more = {"listener_name": options.listener} if options.listener else {}
        self.client = pulsar.Client(
            options.url,
            authentication=pulsar.AuthenticationToken(options.token) if options.token else None,
            logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr"),
            **more,
        )

    def producer(self, **more):
        fields = {
            "producer_name": self.options.producer,
            "compression_type": self.options.compression,
            "block_if_queue_full": True,
            **more,
        }
        if isinstance(fields["compression_type"], str):
            fields["compression_type"] = COMPRESSIONS[fields["compression_type"]]
        return self.client.create_producer(self.options.topic, **fields)

    def batching(self, compression, **more):
        """An entry ends only where send() ends: no limit of the client may come before."""
        limits = {
            "batching_max_messages": 10_000,
            "batching_max_allowed_size_in_bytes": 4 << 20,
            "batching_max_publish_delay_ms": 3_600_000,
        }
        return self.producer(compression_type=compression, batching_enabled=True, **limits | more)

    def send(self, producer, drafts, encode=lambda content: content):
        """With batching one call makes one entry; without, each draft is one."""
        before = producer.last_sequence_id()
        # Entry by entry, which is not the order of the calls where there is one for each key.
        answers = {}
        for index, it in enumerate(drafts):
            producer.send_async(callback=lambda result, id, index=index: answers.update({index: (result, id)}), **it)
        producer.flush()
        # The client counts only the messages whose number it chooses itself.
        counted, lines = before, []
        for index, it in enumerate(drafts):
            result, id = answers[index]
            if result != pulsar.Result.Ok:
                sys.exit(f"produce.py: the broker answered {result}")
            counted += "sequence_id" not in it
            lines.append((it, id, it.get("sequence_id", counted)))
        for it, id, number in sorted(lines, key=lambda line: (line[1].ledger_id(), line[1].entry_id(), line[1].batch_index())):
            self.say(it, id, number, producer, encode)

    def say(self, it, id, number, producer, encode=lambda content: content):
        """One line about a message that was sent."""
        ordering = it.get("ordering_key")
        content = it["content"]
        show(
            id=text(id),
            payload_base64=None if content is None else encode(content),
            null=True if content is None else None,
            key=it.get("partition_key"),
            ordering_key_base64=None if ordering is None else ordering.encode(),
            properties=[list(pair) for pair in it.get("properties", {}).items()],
            event_time=it.get("event_timestamp"),
            deliver_at_time=it.get("deliver_at"),
            sequence_id=number,
            producer_name=producer.producer_name(),
        )


def plain(session):
    session.send(
        session.producer(),
        [
            draft('{"text":"héllo 世界 😀","n":1}'),
            draft(' \t{"outer":"space"} \r\n'),
            draft('{\n  "inner": "newline"\r\n}'),
            draft("plain text, not JSON"),
            draft("text\nof two lines"),
            draft(""),
            draft(b"\x00\xff\xfe\x80\xc3\x28\n"),
            draft("[" * 64 + "]" * 64),
            draft("[" * 65 + "]" * 65),
            draft('{"a":' * 64 + "1" + "}" * 64),
            draft('{"a":' * 65 + "1" + "}" * 65),
            draft('"\\ud800"'),
            draft("42"),
            draft("-0.0"),
            draft("1e400"),
            draft("123456789012345678901234567890.10"),
            draft('"a string"'),
            draft("true"),
            draft("null"),
            draft('{"twice":1,"twice":2}'),
        ],
    )


def single(compression):
    return lambda session: session.send(
        session.producer(compression_type=compression),
        [
            draft('{"short":1}'),
            draft(""),
            draft('{"long":"' + "compressible " * 8_000 + '"}', partition_key="k", properties={"p": "v"}),
            draft(bulk.payload(7, 100_000)),
        ],
    )


def batch(compression):
    def send(session):
        producer = session.batching(compression)
        session.send(
            producer,
            [
                draft('{"n":0}', partition_key="a", properties={"p": "0"}, event_timestamp=1_700_000_000_000, sequence_id=100),
                draft("not JSON", ordering_key="order", sequence_id=105),
                draft(None, partition_key="gone", properties={"tombstone": "yes"}, sequence_id=106),
                draft("", properties={"p": "3", "q": ""}, sequence_id=110),
                draft('{"n":4}', partition_key="b", event_timestamp=1_700_000_000_004, sequence_id=111),
            ],
        )
        session.send(producer, [draft('{"alone":"in its batch"}', partition_key="c", sequence_id=120)])
        session.send(
            producer,
            [
                draft(bulk.payload(i, 60 + i), partition_key=f"key-{i % 7}", properties={"i": str(i)}, sequence_id=200 + i)
                for i in range(100)
            ],
        )
        producer.close()

    return send


def keys(session):
    session.send(
        session.producer(),
        [
            draft("1", partition_key="text"),
            draft("2", partition_key='é世😀 "quoted"\n'),
            draft("4", partition_key="k" * 2_000),
            draft("5", partition_key="aGVsbG8="),
            draft("6", ordering_key="order"),
            draft("7", partition_key="text", ordering_key="é😀"),
            draft("8"),
        ],
    )


def properties(session):
    session.send(
        session.producer(),
        [
            draft("none"),
            draft("order", properties={"z": "1", "a": "2", "m": "3"}),
            draft("unicode", properties={"näme 世😀": "wért 😀"}),
            draft("quotes", properties={"a\"b'c\\d": "x\"y'z\\\n\t\u0001"}),
            draft("empty", properties={"": "empty name", "empty value": ""}),
            draft("long", properties={"long": "v" * 50_000}),
            draft("many", properties={f"name-{i * 37 % 200}": f"value {i}" for i in range(200)}),
        ],
    )


def times(session):
    session.send(
        session.producer(),
        [draft("none")]
        + [draft(name, event_timestamp=at) for name, at in [("one", 1), ("past", 1_000_000_000_123), ("far", 253_402_300_800_000)]],
    )


def delayed(session):
    session.send(
        session.producer(),
        [
            draft("at once"),
            draft("in an hour", deliver_after=datetime.timedelta(hours=1)),
            draft("at a time", deliver_at=4_000_000_000_000),
        ],
    )


def nulls(session):
    session.send(
        session.producer(),
        [
            draft(None),
            draft(None, partition_key="gone", properties={"tombstone": "yes"}, event_timestamp=1_700_000_000_000),
            draft(""),
            draft("null"),
        ],
    )


def schema(session):
    class Reading(pulsar.schema.Record):
        sensor = pulsar.schema.String()
        value = pulsar.schema.Long()

    json_schema = pulsar.schema.JsonSchema(Reading)
    session.send(
        session.producer(schema=json_schema),
        [{"content": Reading(sensor=f"s-{i}", value=i), "partition_key": f"s-{i}"} for i in range(3)],
        encode=json_schema.encode,
    )


def chunked(session):
    """This client cuts only what the broker would refuse."""
    session.send(
        session.producer(chunking_enabled=True),
        [
            draft('{"before":1}'),
            draft(bulk.payload(1, 12 << 20), partition_key="chunked", properties={"p": "v"}),
            draft('{"after":1}'),
        ],
    )


def send_bulk(session):
    count, size = session.options.count, session.options.size
    if session.options.blank:
        # One entry, a thousandth as long.
        make, whole = bulk.blank, {"batching_max_allowed_size_in_bytes": 2 * count * size}
        producer = session.batching("zstd", send_timeout_millis=0, **whole)
    else:
        make = bulk.noise if session.options.noise else bulk.payload
        batches, chunks = size <= 20_000, size > 5_000_000
        producer = session.producer(batching_enabled=batches, chunking_enabled=chunks, send_timeout_millis=0)
    digest, total, ids, failures = hashlib.sha256(), 0, {}, []

    def callback(index):
        def answered(result, id):
            if result != pulsar.Result.Ok:
                failures.append(result)
            elif index in (0, count - 1):
                ids[index] = text(id)

        return answered

    def ignored(result, id):
        if result != pulsar.Result.Ok:
            failures.append(result)

    for i in range(count):
        content = make(i, size)
        digest.update(content)
        total += len(content)
        producer.send_async(content, callback(i) if i in (0, count - 1) else ignored)
    producer.flush()
    if failures:
        sys.exit(f"produce.py: {len(failures)} messages were not taken; the broker answered {failures[0]}")
    show(count=count, bytes=total, first=ids.get(0), last=ids.get(count - 1), sha256=digest.hexdigest())


def cases():
    found = {"plain": plain, "batch": batch("none")}
    for name in COMPRESSIONS:
        if name != "none":
            found[f"batch-{name}"] = batch(name)
            found[f"single-{name}"] = single(name)
            found[f"chunked-{name}"] = limits.chunked(name)
    found |= {"keys": keys, "properties": properties, "times": times, "delayed": delayed, "nulls": nulls}
    return found | limits.CASES | {"schema": schema, "chunked": chunked, "bulk": send_bulk}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, choices=["list", *cases()])
    parser.add_argument("--url")
    parser.add_argument("--token")
    parser.add_argument("--topic")
    parser.add_argument("--listener")
    parser.add_argument("--producer")
    parser.add_argument("--compression", default="none", type=str.lower, choices=COMPRESSIONS)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--blank", action="store_true")
    options = parser.parse_args()
    if options.case == "list":
        print("\n".join(cases()))
        return
    if not options.url or not options.topic:
        parser.error("--url and --topic are missing")
    session = Session(options)
    try:
        cases()[options.case](session)
    except pulsar.PulsarException as error:
        sys.exit(f"produce.py: {error}")
    session.client.close()


if __name__ == "__main__":
    main()
