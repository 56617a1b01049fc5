import java.util.Arrays;

/** The command line of the Java client: one word, then options. */
public final class Main {
    public static void main(String[] arguments) {
        String command = arguments.length == 0 ? "" : arguments[0];
        Options options = new Options(Arrays.copyOfRange(arguments, Math.min(1, arguments.length), arguments.length));
        int status = 0;
        try {
            switch (command) {
                case "produce" -> Produce.run(options);
                case "dump" -> Dump.run(options);
                default -> throw new IllegalArgumentException("the command is produce or dump, not '" + command + "'");
            }
        } catch (Exception error) {
            System.err.println("java-client: " + error);
            status = 1;
        }
        // The client's threads would keep the process alive, after a failure too.
        System.exit(status);
    }
}
