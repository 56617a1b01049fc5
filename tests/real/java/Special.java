import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.CryptoKeyReader;
import org.apache.pulsar.client.api.EncryptionKeyInfo;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.common.schema.KeyValue;
import org.apache.pulsar.common.schema.KeyValueEncodingType;

/** The cases that need more than drafts and an ordinary producer. */
final class Special {
    private Special() {}

    /** Null values; then null keys and values, each on its own, as the key/value schema writes them. */
    static void nulls(Produce produce) throws Exception {
        produce.send(produce.producer(), List.of(
                Draft.none(),
                Draft.none().key("gone").property("tombstone", "yes").eventTime(1_700_000_000_000L),
                Draft.of(""),
                Draft.of("null"),
                Draft.none().keyBytes(0xff)));
        Schema<KeyValue<byte[], byte[]>> schema = Schema.KeyValue(Schema.BYTES, Schema.BYTES, KeyValueEncodingType.SEPARATED);
        try (Producer<KeyValue<byte[], byte[]>> producer = produce.common(produce.client().newProducer(schema)).create()) {
            byte[][][] pairs = {
                {"key".getBytes(UTF_8), "value".getBytes(UTF_8)},
                {"key".getBytes(UTF_8), null},
                {null, "value".getBytes(UTF_8)},
                {null, null},
            };
            for (int i = 0; i < pairs.length; i++) {
                byte[] key = pairs[i][0];
                byte[] value = pairs[i][1];
                new Line()
                        .id(producer.newMessage().value(new KeyValue<>(key, value)).send())
                        .bytes("payload_base64", value)
                        .put("null", value == null ? true : null)
                        .bytes("key_base64", key)
                        .put("null_partition_key", key == null ? true : null)
                        .put("properties", List.of())
                        .put("sequence_id", i)
                        .put("producer_name", producer.getProducerName())
                        .print();
            }
        }
    }

    /** Small chunks make the same thing as large ones; the last two are as large as the broker takes. */
    static void chunked(Produce produce) throws Exception {
        produce.send(produce.producer().enableChunking(true).chunkMaxMessageSize(20_000), List.of(
                Draft.of("{\"before\":1}"),
                Draft.of(Bulk.payload(1, 100_000)).key("chunked").property("p", "v").eventTime(1_700_000_000_000L),
                Draft.of("{\"between\":1}"),
                Draft.of(Bulk.payload(2, 20_001)),
                Draft.of("{\"after\":1}")));
        produce.send(produce.producer().enableChunking(true).chunkMaxMessageSize(20_000).compressionType(CompressionType.LZ4),
                List.of(Draft.of(Bulk.payload(3, 200_000)).key("compressed first, then cut")));
        produce.send(produce.producer().enableChunking(true), List.of(Draft.of(Bulk.payload(4, 12 << 20))));
    }

    /** The same cut, with each compression: what does not compress well has several parts. */
    static void chunked(Produce produce, CompressionType compression) throws Exception {
        produce.send(produce.producer().enableChunking(true).chunkMaxMessageSize(20_000).compressionType(compression), List.of(
                Draft.of("{\"before\":1}"),
                Draft.of(Limits.noise(100_000)).key("chunked").property("p", "v").eventTime(1_700_000_000_000L),
                Draft.of(Bulk.payload(3, 400_000)),
                Draft.of("{\"after\":1}")));
    }

    /** Two producers, each of which waits for the broker before it sends its next part: the parts of the two alternate. */
    static void interleaved(Produce produce) throws Exception {
        List<Thread> threads = new ArrayList<>();
        List<Line> lines = Collections.synchronizedList(new ArrayList<>());
        List<Exception> failures = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch both = new CountDownLatch(2);
        for (int number = 0; number < 2; number++) {
            Draft draft = Draft.of(Limits.noise(400_000 + number)).key("from-" + number).property("of", "" + number);
            threads.add(new Thread(() -> {
                try (Producer<byte[]> producer = produce.producer()
                        .enableChunking(true).chunkMaxMessageSize(10_000).maxPendingMessages(1).create()) {
                    both.countDown();
                    both.await();
                    lines.add(draft.line()
                            .id(draft.fill(producer.newMessage()).send())
                            .put("sequence_id", 0)
                            .put("producer_name", producer.getProducerName()));
                } catch (Exception failure) {
                    failures.add(failure);
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) {
            thread.join();
        }
        if (!failures.isEmpty()) {
            throw failures.get(0);
        }
        Line.printInOrder(lines);
    }

    /** With a key nobody keeps: what a backup sees when it cannot read. The printed payload is the one before encryption. */
    static void encrypted(Produce produce) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        KeyPair pair = generator.generateKeyPair();
        String pem = "-----BEGIN PUBLIC KEY-----\n"
                + Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(pair.getPublic().getEncoded())
                + "\n-----END PUBLIC KEY-----\n";
        CryptoKeyReader keys = new CryptoKeyReader() {
            @Override
            public EncryptionKeyInfo getPublicKey(String name, Map<String, String> metadata) {
                return new EncryptionKeyInfo(pem.getBytes(UTF_8), Map.of("kept", "nowhere"));
            }

            @Override
            public EncryptionKeyInfo getPrivateKey(String name, Map<String, String> metadata) {
                throw new IllegalStateException("nothing here decrypts");
            }
        };
        produce.send(produce.producer(), List.of(Draft.of("{\"readable\":\"before\"}")));
        produce.send(produce.producer().addEncryptionKey("a-key").cryptoKeyReader(keys), List.of(
                Draft.of("{\"secret\":1}").key("k").property("p", "v"), Draft.of("{\"secret\":2}")));
        produce.send(produce.batching(CompressionType.LZ4).addEncryptionKey("a-key").cryptoKeyReader(keys), List.of(
                Draft.of("{\"secret\":3}").key("k"), Draft.of("{\"secret\":4}")));
        produce.send(produce.producer(), List.of(Draft.of("{\"readable\":\"after\"}")));
    }
}
