"""Prints where a subscription stands, as one JSON object, from the broker's own statistics.

--url HTTP --token T --topic TOPIC --name SUBSCRIPTION. With --name left out: the topic, with the names of its subscriptions.
A partitioned topic is asked for one partition at a time (TOPIC-partition-0).
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def get(options, what):
    topic = options.topic.removeprefix("persistent://")
    if "/" not in topic:
        topic = f"public/default/{topic}"
    request = urllib.request.Request(
        f"{options.url}/admin/v2/persistent/{urllib.parse.quote(topic)}/{what}",
        headers={"Authorization": f"Bearer {options.token}"} if options.token else {},
    )
    # No proxy of the environment: the broker is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"subscription.py: {error.code} {error.read().decode(errors='replace')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--name")
    options = parser.parse_args()
    internal, stats = get(options, "internalStats"), get(options, "stats")
    answer = {
        "lastConfirmedEntry": internal["lastConfirmedEntry"],
        "numberOfEntries": internal["numberOfEntries"],
        "msgInCounter": stats["msgInCounter"],
    }
    if options.name is None:
        answer["subscriptions"] = sorted(stats["subscriptions"])
    elif options.name not in stats["subscriptions"]:
        sys.exit(f"subscription.py: no subscription '{options.name}'; there are: {', '.join(stats['subscriptions']) or 'none'}")
    else:
        cursor, subscription = internal["cursors"][urllib.parse.quote_plus(options.name)], stats["subscriptions"][options.name]
        answer |= {
            "markDeletePosition": cursor["markDeletePosition"],
            "readPosition": cursor["readPosition"],
            "individuallyDeletedMessages": cursor["individuallyDeletedMessages"],
            "msgBacklog": subscription["msgBacklog"],
            "type": subscription.get("type"),
            "consumers": len(subscription["consumers"]),
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
