import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.transaction.Transaction;

/**
 * {@code --transactions} is a word for each message, from a, b, c: {@code -} outside of any transaction, {@code a} inside transaction
 * a, {@code +a} commits it, {@code !a} aborts it. What is not ended stays open until it times out. Each line says which one it was.
 */
final class Transactions {
    private Transactions() {}

    static void send(Produce produce) throws Exception {
        PulsarClient client = produce.options().client(true);
        java.util.Map<String, Transaction> open = new java.util.HashMap<>();
        int next = 0;
        try (Producer<byte[]> producer = client.newProducer()
                .topic(produce.options().get("topic")).enableBatching(false).sendTimeout(0, TimeUnit.SECONDS).create()) {
            for (String word : produce.options().get("transactions", "- a +a b !b -").split(" ")) {
                if (word.startsWith("+")) {
                    open.remove(word.substring(1)).commit().get();
                    continue;
                }
                if (word.startsWith("!")) {
                    open.remove(word.substring(1)).abort().get();
                    continue;
                }
                Transaction transaction = word.equals("-") ? null : open.get(word);
                if (!word.equals("-") && transaction == null) {
                    transaction = client.newTransaction().withTransactionTimeout(10, TimeUnit.MINUTES).build().get();
                    open.put(word, transaction);
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
