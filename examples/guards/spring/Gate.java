package scim;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A subject's standing, as the SCIM server writes it: {@code "<epoch>:<denied 0|1>:<not_before_ms>"}. Pure, JDK only.
 *
 * <p>{@code epoch} only ever grows; {@code denied} ends all sessions; {@code notBefore} is unix ms.
 */
public record Gate(long epoch, boolean denied, long notBefore) {

    /** A subject that was never deactivated. */
    public static final Gate OPEN = new Gate(0, false, 0);

    /** What holds while gates cannot be read and that closes the CRM. */
    static final Gate SHUT = new Gate(0, true, 0);

    private static final Pattern MARKER = Pattern.compile("([0-9]{1,16}):([01]):([0-9]{1,16})");
    private static final Pattern PLACEHOLDER = Pattern.compile("\\{\\{|}}|\\{tenant}|\\{subject}");

    /** Null is OPEN. Throws IllegalArgumentException for anything that is not a marker. */
    public static Gate parse(String marker) {
        if (marker == null) {
            return OPEN;
        }
        Matcher found = MARKER.matcher(marker);
        if (!found.matches()) {
            throw new IllegalArgumentException("a gate marker reads <epoch>:<denied 0|1>:<not_before_ms>");
        }
        return new Gate(Long.parseLong(found.group(1)), found.group(2).equals("1"), Long.parseLong(found.group(3)));
    }

    /**
     * Whether a session may go on. {@code sessionEpoch} is what {@code Guard.begin} returned at its login. Where none
     * was kept (a JWT), {@code startedMs} decides ({@code iat * 1000}). A session that knows neither (null) is taken
     * to be older than any gate.
     */
    public boolean allows(Long sessionEpoch, Long startedMs) {
        if (denied) {
            return false;
        }
        if (sessionEpoch != null) { // never mixed with the time: two machines' clocks need not agree
            return sessionEpoch >= epoch;
        }
        if (startedMs != null) {
            return startedMs > notBefore;
        }
        return epoch == 0;
    }

    /** Fills {@code {tenant}} and {@code {subject}} of a key template; literal braces are doubled. */
    public static String fillKey(String template, String tenant, String subject) {
        return PLACEHOLDER.matcher(template).replaceAll(found -> Matcher.quoteReplacement(switch (found.group()) {
            case "{{" -> "{";
            case "}}" -> "}";
            case "{tenant}" -> tenant;
            default -> subject;
        }));
    }
}
