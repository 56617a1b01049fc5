"""Uses a subscription as somebody did before the backup had it: used.py URL TOKEN TOPIC SUBSCRIPTION TYPE ACKNOWLEDGE.

Receives a message, acknowledges and closes. ACKNOWLEDGE: `nothing`, `first` (the first message), `first-cumulatively`.
"""

import sys

import pulsar

url, token, topic, subscription, kind, acknowledge = sys.argv[1:]
client = pulsar.Client(
    url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr")
)
consumer = client.subscribe(
    topic,
    subscription,
    consumer_type=getattr(pulsar.ConsumerType, kind),
    initial_position=pulsar.InitialPosition.Earliest,
    batch_index_ack_enabled=True,
)
first = consumer.receive(timeout_millis=60_000)
match acknowledge:
    case "first":
        consumer.acknowledge(first)
    case "first-cumulatively":
        consumer.acknowledge_cumulative(first)
consumer.close()
client.close()
