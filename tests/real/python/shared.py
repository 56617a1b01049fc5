"""Acknowledges single messages on a Shared subscription: shared.py URL TOKEN TOPIC SUBSCRIPTION INDEX...

Makes the subscription at the earliest message if it is missing, counts what it receives from 0, and acknowledges the given ones.
"""

import sys

import pulsar

url, token, topic, subscription, *indexes = sys.argv[1:]
client = pulsar.Client(
    url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr")
)
consumer = client.subscribe(
    topic, subscription, consumer_type=pulsar.ConsumerType.Shared, initial_position=pulsar.InitialPosition.Earliest
)
wanted = {int(index) for index in indexes}
for index in range(max(wanted) + 1):
    message = consumer.receive(timeout_millis=20000)
    if index in wanted:
        consumer.acknowledge(message)
client.close()
