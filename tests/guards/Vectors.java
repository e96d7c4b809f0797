import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import scim.Gate;
import scim.Guard;

/**
 * Reads vectors line by line and prints what the Java guard makes of each. The JDK has no JSON: the fields are parted by
 * tabs, in the order of vectors.json, texts as hexadecimal UTF-8, and "-" is null.
 */
public final class Vectors {

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t", -1);
            out.println(switch (fields[0]) {
                case "decide" -> decide(text(fields[1]), number(fields[2]), number(fields[3]));
                case "login" -> login(text(fields[1]), text(fields[2]), fields[3].equals("true"));
                default -> Gate.fillKey(text(fields[1]), text(fields[2]), text(fields[3]));
            });
        }
    }

    private static String decide(String marker, Long epoch, Long startedMs) {
        try {
            return String.valueOf(Gate.parse(marker).allows(epoch, startedMs));
        } catch (IllegalArgumentException notAMarker) {
            return "invalid";
        }
    }

    private static String login(String begin, String confirm, boolean failClosed) {
        Deque<String> stored = new ArrayDeque<>(Arrays.asList(String.valueOf(begin), String.valueOf(confirm)));
        Guard guard = new Guard(new Guard.Gates() {
            @Override
            public String read(String subject) {
                String answer = stored.remove();
                if (answer.equals("down")) {
                    throw new IllegalStateException("down");
                }
                return answer.equals("null") ? null : answer;
            }

            @Override
            public void beat(long nowMs) {}
        }, failClosed);
        long epoch = guard.begin("s");
        return epoch + " " + guard.confirm("s", epoch);
    }

    private static String text(String field) {
        if (field.equals("-")) {
            return null;
        }
        byte[] bytes = new byte[field.length() / 2];
        for (int at = 0; at < bytes.length; at++) {
            bytes[at] = (byte) Integer.parseInt(field.substring(2 * at, 2 * at + 2), 16);
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static Long number(String field) {
        return field.equals("-") ? null : Long.valueOf(field);
    }
}
