import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.BufferedOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageIdAdv;
import org.apache.pulsar.client.impl.ChunkMessageIdImpl;

/** One JSON line of the answer. Fields that are absent are left out; bytes are base64. */
final class Line {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT =
            new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false);

    private MessageId place;
    private final LinkedHashMap<String, Object> fields = new LinkedHashMap<>();

    Line put(String name, Object value) {
        if (value != null) {
            fields.put(name, value);
        }
        return this;
    }

    Line bytes(String name, byte[] value) {
        return put(name, value == null ? null : Base64.getEncoder().encodeToString(value));
    }

    /** A message in chunks has the id of its last chunk; the first one's is said too. */
    Line id(MessageId id) {
        place = id;
        put("id", text(id));
        if (id instanceof ChunkMessageIdImpl chunked) {
            put("first_chunk_id", text(chunked.getFirstChunkMessageId()));
        }
        return this;
    }

    /** In the order of the log, which is not always that of the calls. */
    static void printInOrder(List<Line> lines) throws Exception {
        lines.sort(Comparator.comparing(it -> it.place));
        for (Line line : lines) {
            line.print();
        }
    }

    static String text(MessageId any) {
        MessageIdAdv id = (MessageIdAdv) any;
        String entry = id.getLedgerId() + ":" + id.getEntryId() + ":" + id.getPartitionIndex();
        return id.getBatchIndex() < 0 ? entry : entry + ":" + id.getBatchIndex();
    }

    static void end(String word) throws Exception {
        OUT.write((word + "\n").getBytes(StandardCharsets.UTF_8));
        OUT.flush();
    }

    void print() throws Exception {
        OUT.write(JSON.writeValueAsBytes(fields));
        OUT.write('\n');
        OUT.flush();
    }
}
