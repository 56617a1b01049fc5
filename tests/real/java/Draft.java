import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.TypedMessageBuilder;

/** A message as the test means it: what is given to the client, and what is printed about it. */
final class Draft {
    final byte[] payload;
    String key;
    byte[] keyBytes;
    byte[] orderingKey;
    final List<List<String>> properties = new ArrayList<>();
    Long eventTime;
    Long sequenceId;
    Long deliverAt;
    Long deliverAfterMillis;
    String replicateTo;

    private Draft(byte[] payload) {
        this.payload = payload;
    }

    static Draft of(String payload) {
        return new Draft(payload.getBytes(StandardCharsets.UTF_8));
    }

    static Draft bytes(int... payload) {
        return new Draft(raw(payload));
    }

    static Draft of(byte[] payload) {
        return new Draft(payload);
    }

    /** No value at all, which is not the same as an empty one. */
    static Draft none() {
        return new Draft(null);
    }

    static byte[] raw(int... values) {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            bytes[i] = (byte) values[i];
        }
        return bytes;
    }

    Draft key(String value) {
        key = value;
        return this;
    }

    Draft keyBytes(int... value) {
        keyBytes = raw(value);
        return this;
    }

    Draft orderingKey(int... value) {
        orderingKey = raw(value);
        return this;
    }

    Draft orderingKey(String value) {
        orderingKey = value.getBytes(StandardCharsets.UTF_8);
        return this;
    }

    Draft property(String name, String value) {
        properties.add(List.of(name, value));
        return this;
    }

    Draft eventTime(long millis) {
        eventTime = millis;
        return this;
    }

    Draft sequenceId(long value) {
        sequenceId = value;
        return this;
    }

    Draft deliverAt(long millis) {
        deliverAt = millis;
        return this;
    }

    Draft deliverAfter(long millis) {
        deliverAfterMillis = millis;
        return this;
    }

    /** The only cluster that the message goes to. */
    Draft replicateTo(String cluster) {
        replicateTo = cluster;
        return this;
    }

    TypedMessageBuilder<byte[]> fill(TypedMessageBuilder<byte[]> message) {
        message.value(payload);
        if (key != null) {
            message.key(key);
        }
        if (keyBytes != null) {
            message.keyBytes(keyBytes);
        }
        if (orderingKey != null) {
            message.orderingKey(orderingKey);
        }
        // One by one: a map would drop a name that comes twice.
        properties.forEach(it -> message.property(it.get(0), it.get(1)));
        if (eventTime != null) {
            message.eventTime(eventTime);
        }
        if (sequenceId != null) {
            message.sequenceId(sequenceId);
        }
        if (deliverAt != null) {
            message.deliverAt(deliverAt);
        }
        if (deliverAfterMillis != null) {
            message.deliverAfter(deliverAfterMillis, TimeUnit.MILLISECONDS);
        }
        if (replicateTo != null) {
            message.replicationClusters(List.of(replicateTo));
        }
        return message;
    }

    Line line() {
        return new Line()
                .bytes("payload_base64", payload)
                .put("null", payload == null ? true : null)
                .put("key", key)
                .bytes("key_base64", keyBytes)
                .bytes("ordering_key_base64", orderingKey)
                .put("properties", properties)
                .put("event_time", eventTime)
                .put("deliver_at_time", deliverAt);
    }
}
