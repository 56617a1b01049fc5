import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.ConsumerCryptoFailureAction;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Reader;
import org.apache.pulsar.client.impl.MessageImpl;
import org.apache.pulsar.client.impl.TopicMessageImpl;

/**
 * The witness: reads a topic from its first message to its last and prints all that the Java client shows of each. A reader
 * has no durable cursor, so no subscription is touched.
 */
final class Dump {
    private Dump() {}

    static void run(Options options) throws Exception {
        try (Reader<byte[]> reader = options.client()
                .newReader()
                .topic(options.get("topic"))
                .startMessageId(MessageId.earliest)
                .cryptoFailureAction(ConsumerCryptoFailureAction.CONSUME)
                .create()) {
            while (reader.hasMessageAvailable()) {
                Message<byte[]> message = reader.readNext(60, TimeUnit.SECONDS);
                if (message == null) {
                    throw new IllegalStateException("the broker says there is more, and sends nothing for a minute");
                }
                line(message).print();
            }
        }
    }

    private static Line line(Message<byte[]> message) {
        byte[] payload = message.getData();
        boolean bytesKey = message.hasBase64EncodedKey();
        Line line = new Line()
                .id(message.getMessageId())
                .put("publish_time", message.getPublishTime())
                .put("key", message.hasKey() && !bytesKey ? message.getKey() : null)
                .bytes("key_base64", message.hasKey() && bytesKey ? message.getKeyBytes() : null)
                .bytes("ordering_key_base64", message.hasOrderingKey() ? message.getOrderingKey() : null)
                .put("properties", properties(message))
                .put("producer_name", message.getProducerName())
                .put("sequence_id", unsigned(message.getSequenceId()))
                .bytes("schema_version_base64", message.getSchemaVersion())
                .put("replicated_from", message.isReplicated() ? message.getReplicatedFrom() : null)
                .put("index", message.getIndex().orElse(null))
                .put("broker_publish_time", message.getBrokerPublishTime().orElse(null))
                .put("encrypted", message.getEncryptionCtx().isPresent() ? true : null)
                .bytes("payload_base64", payload)
                .put("null", payload == null ? true : null);
        // The rest has no public name, and is on the wire all the same.
        var metadata = implementation(message).getMessageBuilder();
        return line
                .put("event_time", metadata.hasEventTime() ? unsigned(metadata.getEventTime()) : null)
                .put("null_partition_key", metadata.isNullPartitionKey() ? true : null)
                .put("deliver_at_time", metadata.hasDeliverAtTime() ? metadata.getDeliverAtTime() : null);
    }

    /** As the wire has it: the client shows large ones as negative. */
    private static BigInteger unsigned(long value) {
        return new BigInteger(Long.toUnsignedString(value));
    }

    /** The client keeps a map: a name that came twice has its last value, and the order is the map's. */
    private static List<List<String>> properties(Message<byte[]> message) {
        List<List<String>> pairs = new ArrayList<>();
        message.getProperties().forEach((name, value) -> pairs.add(List.of(name, value)));
        return pairs;
    }

    private static MessageImpl<?> implementation(Message<byte[]> message) {
        return (MessageImpl<?>) (message instanceof TopicMessageImpl<?> wrapped ? wrapped.getMessage() : message);
    }
}
