"""Holds a subscription until its standard input ends: hold.py URL TOKEN TOPIC SUBSCRIPTION. Prints `held` once it does."""

import sys

import pulsar

url, token, topic, subscription = sys.argv[1:]
client = pulsar.Client(
    url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr")
)
client.subscribe(
    topic, subscription, consumer_type=pulsar.ConsumerType.Exclusive, initial_position=pulsar.InitialPosition.Earliest, receiver_queue_size=0
)
print("held", flush=True)
sys.stdin.read()
client.close()
