import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.transaction.Transaction;

/**
 * {@code --transactions} is a word for each message, from a, b, c: {@code -} outside of any transaction, {@code a} inside transaction
 * a, {@code +a} commits it, {@code !a} aborts it. What is not ended can be ended by a later command of the same process; else it
 * stays open until it times out. Each line says which one it was.
 */
final class Transactions {
    /** By broker, topic and name. */
    private static final Map<String, Transaction> OPEN = new HashMap<>();
    /** By broker. */
    private static final Map<String, PulsarClient> CLIENTS = new HashMap<>();

    private Transactions() {}

    static void send(Produce produce) throws Exception {
        String broker = produce.options().get("url") + " ";
        PulsarClient client = CLIENTS.get(broker);
        if (client == null) {
            client = produce.options().transactional();
            CLIENTS.put(broker, client);
        }
        send(produce, client, broker + produce.options().get("topic") + " ");
        if (OPEN.keySet().stream().noneMatch(it -> it.startsWith(broker))) {
            // It would go on looking for its coordinator when the broker is gone.
            CLIENTS.remove(broker).shutdown();
        }
    }

    private static void send(Produce produce, PulsarClient client, String prefix) throws Exception {
        int next = 0;
        try (Producer<byte[]> producer = client.newProducer()
                .topic(produce.options().get("topic")).enableBatching(false).sendTimeout(0, TimeUnit.SECONDS).create()) {
            for (String word : produce.options().get("transactions", "- a +a b !b -").split(" ")) {
                if (word.startsWith("+")) {
                    OPEN.remove(prefix + word.substring(1)).commit().get();
                    continue;
                }
                if (word.startsWith("!")) {
                    OPEN.remove(prefix + word.substring(1)).abort().get();
                    continue;
                }
                Transaction transaction = word.equals("-") ? null : OPEN.get(prefix + word);
                if (!word.equals("-") && transaction == null) {
                    transaction = client.newTransaction().withTransactionTimeout(10, TimeUnit.MINUTES).build().get();
                    OPEN.put(prefix + word, transaction);
                }
                Draft draft = Draft.of("{\"n\":" + next + "}");
                MessageId id = draft.fill(transaction == null ? producer.newMessage() : producer.newMessage(transaction)).send();
                draft.line()
                        .id(id)
                        .put("sequence_id", next++)
                        .put("producer_name", producer.getProducerName())
                        .put("transaction", word)
                        .print();
            }
        }
    }
}
