import static java.nio.charset.StandardCharsets.US_ASCII;

import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;

/**
 * Many messages, fast. A payload is a function of its index and size alone, the same one as in {@code ../python/bulk.py}, so
 * that the digest says whether every byte of every message arrived, whoever sent it.
 */
final class Bulk {
    private static final int POOL = 1 << 22;
    private static final String[] WORDS = (
            "sensor status running stopped valve pressure temperature humidity north south east west alpha beta gamma delta "
            + "order paid shipped returned account customer invoice total amount currency region zone host service").split(" ");
    private static byte[] pool;

    private Bulk() {}

    /** Words and numbers: compresses to about a third, and repeats only after 4 MiB, past the reach of most compressors. */
    private static byte[] pool() {
        if (pool == null) {
            StringBuilder text = new StringBuilder(POOL + 16);
            long state = 1;
            while (text.length() < POOL) {
                state = (state * 1_103_515_245L + 12_345L) & 0x7fffffffL;
                text.append(WORDS[(int) (state >> 16) % WORDS.length]).append(' ').append((state >> 8) & 0xffff).append(' ');
            }
            text.setLength(POOL);
            pool = text.toString().getBytes(US_ASCII);
        }
        return pool;
    }

    /** JSON of exactly {@code size} bytes, or as short as its fixed fields allow. */
    static byte[] payload(long index, int size) {
        byte[] head = ("{\"index\":" + index + ",\"device\":\"d-" + index % 1_000 + "\",\"text\":\"").getBytes(US_ASCII);
        int text = Math.max(0, size - head.length - 2);
        byte[] payload = new byte[head.length + text + 2];
        System.arraycopy(head, 0, payload, 0, head.length);
        int at = (int) (index * 1_000_003L % POOL);
        for (int done = 0; done < text; ) {
            int part = Math.min(text - done, POOL - at);
            System.arraycopy(pool(), at, payload, head.length + done, part);
            done += part;
            at = 0;
        }
        payload[payload.length - 2] = '"';
        payload[payload.length - 1] = '}';
        return payload;
    }

    static void send(Produce produce) throws Exception {
        int count = Integer.parseInt(produce.options().get("count", "1000"));
        int size = Integer.parseInt(produce.options().get("size", "1000"));
        ProducerBuilder<byte[]> builder = produce.producer().sendTimeout(0, TimeUnit.SECONDS);
        if (size <= 20_000) {
            builder.enableBatching(true).batchingMaxPublishDelay(10, TimeUnit.MILLISECONDS);
        } else if (size > 5_000_000) {
            builder.enableChunking(true);
        }
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        CompletableFuture<MessageId> first = null;
        CompletableFuture<MessageId> last = null;
        long bytes = 0;
        try (Producer<byte[]> producer = builder.create()) {
            for (int i = 0; i < count; i++) {
                byte[] payload = payload(i, size);
                digest.update(payload);
                bytes += payload.length;
                last = producer.sendAsync(payload);
                first = first == null ? last : first;
            }
            producer.flush();
            Line line = new Line().put("count", count).put("bytes", bytes);
            if (last != null) {
                line.put("first", Line.text(first.get())).put("last", Line.text(last.get()));
            }
            line.put("sha256", HexFormat.of().formatHex(digest.digest())).print();
        }
    }
}
