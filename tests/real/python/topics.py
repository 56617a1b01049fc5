"""Fills many topics alike: topics.py URL TOKEN ENTRIES MESSAGES, the topics' names on standard input, one a line.

Each gets ENTRIES batches of MESSAGES messages, small ones. Prints one JSON line for each message: topic, id, payload_base64.
"""

import base64
import json
import sys

import bulk
import produce
import pulsar


def main():
    url, token, entries, messages = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    client = pulsar.Client(
        url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr")
    )
    for number, topic in enumerate(sys.stdin.read().split()):
        producer = client.create_producer(
            topic, batching_enabled=True, batching_max_messages=10_000, batching_max_publish_delay_ms=3_600_000
        )
        for entry in range(entries):
            contents = [bulk.payload(number * 1_000_000 + entry * messages + i, 200) for i in range(messages)]
            ids = []
            for content in contents:
                producer.send_async(content, lambda result, id: ids.append((result, id)))
            producer.flush()
            for content, (result, id) in zip(contents, ids, strict=True):
                if result != pulsar.Result.Ok:
                    sys.exit(f"topics.py: the broker answered {result}")
                line = {"topic": topic, "id": produce.text(id), "payload_base64": base64.b64encode(content).decode()}
                print(json.dumps(line))
        producer.close()
    client.close()


if __name__ == "__main__":
    main()
