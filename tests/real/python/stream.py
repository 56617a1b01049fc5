"""Sends until its standard input ends: stream.py URL TOKEN TOPIC SEED [chunks].

Numbered messages of several sizes, in batches, alone and, where asked for, in chunks; none of them is ever given up. Prints one JSON
line for each that the broker confirmed: id, payload_base64, and `at`, when the receipt came in ms since the epoch.
"""

import base64
import json
import random
import sys
import threading
import time

import bulk
import produce
import pulsar

# More than the broker takes at once.
CHUNKED = (5 << 20) + (200 << 10)


def main():
    url, token, topic, seed = sys.argv[1:5]
    dice = random.Random(int(seed))
    client = pulsar.Client(
        url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/stderr")
    )
    common = {
        "send_timeout_millis": 0,
        "block_if_queue_full": True,
        "message_routing_mode": pulsar.PartitionsRoutingMode.RoundRobinDistribution,
    }
    batching = client.create_producer(
        topic,
        batching_enabled=True,
        batching_max_publish_delay_ms=5,
        compression_type=dice.choice(list(produce.COMPRESSIONS.values())),
        **common,
    )
    single = client.create_producer(topic, compression_type=dice.choice(list(produce.COMPRESSIONS.values())), **common)
    chunking = client.create_producer(topic, chunking_enabled=True, **common) if sys.argv[5:] == ["chunks"] else None

    asked_to_end, printing, failures, number = threading.Event(), threading.Lock(), [], 0
    threading.Thread(target=lambda: (sys.stdin.read(), asked_to_end.set()), daemon=True).start()

    def send(producer, size):
        nonlocal number
        content, number = bulk.payload(number, size), number + 1

        def answered(result, id):
            if result != pulsar.Result.Ok:
                failures.append(result)
                return
            line = {"id": produce.text(id), "at": int(time.time() * 1000), "payload_base64": base64.b64encode(content).decode()}
            with printing:
                print(json.dumps(line), flush=True)

        producer.send_async(content, answered)

    while not asked_to_end.wait(dice.uniform(0.01, 0.15)):
        if chunking and dice.random() < 1 / 100:
            send(chunking, CHUNKED)
        producer = dice.choice([batching, single])
        for _ in range(dice.choice([1, 3, 10, 40] if producer is batching else [1, 2, 5])):
            send(producer, dice.choice([60, 200, 1_000, 5_000]) if producer is batching else dice.choice([60, 2_000, 20_000, 100_000]))
    for producer in filter(None, [batching, single, chunking]):
        producer.flush()
    if failures:
        sys.exit(f"stream.py: the broker answered {failures[0]}")
    client.close()


if __name__ == "__main__":
    main()
