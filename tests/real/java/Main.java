import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The command line of the Java client: one word, then options. {@code serve} takes such command lines from standard input, each a
 * JSON array, and prints after each answer {@code end}, or {@code error: } and why: starting takes longer than what most are for.
 */
public final class Main {
    public static void main(String[] arguments) {
        int status = 0;
        try {
            if (arguments.length == 1 && arguments[0].equals("serve")) {
                serve();
            } else {
                run(arguments);
            }
        } catch (Exception error) {
            System.err.println("java-client: " + error);
            status = 1;
        }
        // The client's threads would keep the process alive, after a failure too.
        System.exit(status);
    }

    private static void serve() throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ObjectMapper json = new ObjectMapper();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String end = "end";
            try {
                run(json.readValue(line, String[].class));
            } catch (Exception error) {
                end = "error: " + error.toString().replaceAll("\\s", " ");
            }
            Line.end(end);
        }
    }

    private static void run(String[] arguments) throws Exception {
        String command = arguments.length == 0 ? "" : arguments[0];
        Options options = new Options(Arrays.copyOfRange(arguments, Math.min(1, arguments.length), arguments.length));
        switch (command) {
            case "produce" -> Produce.run(options);
            case "dump" -> Dump.run(options);
            default -> throw new IllegalArgumentException("the command is produce, dump or serve, not '" + command + "'");
        }
    }
}
