import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageRoutingMode;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;

/**
 * Sends the messages of one case and prints one line for each, in the order of sending.
 *
 * <p>{@code --url --token --topic --case [--listener] [--compression] [--producer] [--count --size] [--transactions]}; {@code --case list} prints
 * the cases.
 */
final class Produce {
    private final Options options;
    private final PulsarClient client;

    private Produce(Options options) throws Exception {
        this.options = options;
        this.client = options.client();
    }

    static void run(Options options) throws Exception {
        String name = options.get("case");
        if (name.equals("list")) {
            Cases.names().forEach(System.out::println);
            return;
        }
        Cases.find(name).send(new Produce(options));
    }

    Options options() {
        return options;
    }

    PulsarClient client() {
        return client;
    }

    ProducerBuilder<byte[]> producer() {
        return common(client.newProducer());
    }

    <T> ProducerBuilder<T> common(ProducerBuilder<T> builder) {
        builder.topic(options.get("topic"))
                .enableBatching(false)
                .messageRoutingMode(MessageRoutingMode.RoundRobinPartition)
                .compressionType(CompressionType.valueOf(options.get("compression", "none").toUpperCase()))
                .blockIfQueueFull(true);
        String name = options.get("producer", "");
        return name.isEmpty() ? builder : builder.producerName(name);
    }

    /** An entry ends only where {@link #send} ends: no limit of the client may come before. */
    ProducerBuilder<byte[]> batching(CompressionType compression) {
        return producer()
                .enableBatching(true)
                .batchingMaxMessages(10_000)
                .batchingMaxBytes(0)
                .batchingMaxPublishDelay(1, TimeUnit.HOURS)
                .compressionType(compression);
    }

    /** With batching one call makes one entry; without, each draft is one. */
    void send(Producer<byte[]> producer, List<Draft> drafts) throws Exception {
        for (Line line : lines(producer, drafts)) {
            line.print();
        }
    }

    void sendInOrderOfIds(ProducerBuilder<byte[]> builder, List<Draft> drafts) throws Exception {
        try (Producer<byte[]> producer = builder.create()) {
            next = 0;
            Line.printInOrder(lines(producer, drafts));
        }
    }

    private List<Line> lines(Producer<byte[]> producer, List<Draft> drafts) throws Exception {
        List<CompletableFuture<MessageId>> sent = new ArrayList<>();
        for (Draft draft : drafts) {
            sent.add(draft.fill(producer.newMessage()).sendAsync());
        }
        producer.flush();
        List<Line> lines = new ArrayList<>();
        for (int i = 0; i < drafts.size(); i++) {
            Draft draft = drafts.get(i);
            lines.add(draft.line()
                    .id(sent.get(i).get())
                    .put("sequence_id", draft.sequenceId != null ? draft.sequenceId : next++)
                    .put("producer_name", producer.getProducerName()));
        }
        return lines;
    }

    // The client counts only the messages whose number it chooses itself; it does not tell the number.
    private long next = 0;

    void send(ProducerBuilder<byte[]> builder, List<Draft> drafts) throws Exception {
        try (Producer<byte[]> producer = builder.create()) {
            next = 0;
            send(producer, drafts);
        }
    }
}
