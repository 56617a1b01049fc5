import io.opentelemetry.api.OpenTelemetry;
import java.util.HashMap;
import java.util.Map;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.PulsarClient;

/** {@code --name value} pairs, and the client they describe. */
final class Options {
    /** One for each broker, and never closed: that waits seconds for threads which end with the process anyway. */
    private static final Map<String, PulsarClient> CLIENTS = new HashMap<>();

    private final Map<String, String> values = new HashMap<>();

    Options(String[] arguments) {
        for (int i = 0; i < arguments.length; i += 2) {
            if (!arguments[i].startsWith("--") || i + 1 == arguments.length) {
                throw new IllegalArgumentException("options are --name value; this is not: " + arguments[i]);
            }
            values.put(arguments[i].substring(2), arguments[i + 1]);
        }
    }

    String get(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }

    String get(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    /** Not to be closed. */
    PulsarClient client() throws Exception {
        String which = get("url") + " " + get("token", "") + " " + get("listener", "");
        PulsarClient client = CLIENTS.get(which);
        if (client == null) {
            client = connect(false);
            CLIENTS.put(which, client);
        }
        return client;
    }

    /** A new one. */
    PulsarClient transactional() throws Exception {
        return connect(true);
    }

    private PulsarClient connect(boolean transactions) throws Exception {
        ClientBuilder builder = PulsarClient.builder().serviceUrl(get("url")).openTelemetry(OpenTelemetry.noop());
        if (values.containsKey("token")) {
            builder.authentication(AuthenticationFactory.token(get("token")));
        }
        if (values.containsKey("listener")) {
            builder.listenerName(get("listener"));
        }
        return builder.enableTransaction(transactions).build();
    }
}
