import java.util.ArrayList;
import java.util.List;
import org.apache.pulsar.client.api.BatcherBuilder;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;

/** As large, or as many, as it goes. */
final class Limits {
    private static final int LARGEST = 5 << 20;

    private Limits() {}

    /** Bytes that do not compress, the same ones each time. */
    static byte[] noise(int size) {
        byte[] bytes = new byte[size];
        long state = 88172645463325252L;
        for (int i = 0; i < size; i++) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            bytes[i] = (byte) state;
        }
        return bytes;
    }

    static void properties(Produce produce) throws Exception {
        Draft many = Draft.of("many");
        for (int i = 0; i < 1_000; i++) {
            many.property("name-" + i * 37 % 1_000, "value \u4e16 " + i);
        }
        produce.send(produce.producer(), List.of(many));
    }

    static void batch(Produce produce) throws Exception {
        produce.send(produce.batching(CompressionType.NONE), tiny(1_000));
    }

    /** One entry for each key; the order is that of the log, not of the calls. */
    static void batchByKey(Produce produce) throws Exception {
        produce.sendInOrderOfIds(produce.batching(CompressionType.NONE).batcherBuilder(BatcherBuilder.KEY_BASED), tiny(50));
    }

    private static List<Draft> tiny(int count) {
        List<Draft> drafts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            drafts.add(Draft.of("" + i).key("key-" + i % 7));
        }
        return drafts;
    }

    /**
     * As large as the client takes, which is the broker's limit less what stands around the payload; then two that fit only
     * because they are compressed.
     */
    static void largest(Produce produce) throws Exception {
        byte[] whole = noise(LARGEST);
        try (Producer<byte[]> producer = produce.producer().create()) {
            for (int size = LARGEST; ; size--) {
                Draft draft = Draft.of(java.util.Arrays.copyOf(whole, size)).sequenceId(1);
                try {
                    MessageId id = draft.fill(producer.newMessage()).send();
                    draft.line().id(id).put("sequence_id", 1).put("producer_name", producer.getProducerName()).print();
                    break;
                } catch (PulsarClientException.InvalidMessageException tooLarge) {
                    if (size < LARGEST - 1_000) {
                        throw tooLarge;
                    }
                }
            }
        }
        for (CompressionType compression : List.of(CompressionType.LZ4, CompressionType.ZSTD)) {
            produce.send(produce.producer().compressionType(compression), List.of(Draft.of(Bulk.payload(1, LARGEST))));
        }
    }
}
