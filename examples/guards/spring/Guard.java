package scim;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import javax.sql.DataSource;

/**
 * The CRM's half of a cut: reads the gate that the SCIM server writes, and says whether a session may go on. JDK only.
 *
 * <p>The server writes the gate before it deletes sessions; so a CRM that looks again <em>after</em> creating a session
 * cannot miss a deactivation, however the two interleave. The three calls of a login:
 *
 * <pre>{@code
 * long epoch = guard.begin(subject);         // once the subject is known, before the password is checked
 * String sid = sessions.create(subject, epoch); // stored and committed; the session keeps the epoch
 * if (!guard.confirm(subject, epoch)) {      // deactivated meanwhile
 *     sessions.delete(sid);                  // and refuse
 * }
 * }</pre>
 *
 * <p>While gates cannot be read (a broken marker included) the CRM works on, unless {@code failClosed}. Give the store's
 * client a short timeout: the guard has none of its own.
 */
public final class Guard {

    /** Where gates are kept. Both methods may throw. */
    public interface Gates {
        /** The subject's marker, or null. */
        String read(String subject) throws Exception;

        /** Leave the sign of life: the server reports it as {@code guard=seen}. */
        void beat(long nowMs) throws Exception;
    }

    private static final System.Logger LOG = System.getLogger("scim.guard");
    private static final long BEAT_EVERY_NS = 10_000_000_000L;

    private final Gates gates;
    private final Gate unread;
    private final AtomicLong nextBeat = new AtomicLong(System.nanoTime());
    private final AtomicBoolean failing = new AtomicBoolean();

    public Guard(Gates gates) {
        this(gates, false);
    }

    public Guard(Gates gates, boolean failClosed) {
        this.gates = gates;
        this.unread = failClosed ? Gate.SHUT : Gate.OPEN;
    }

    /** The epoch to keep in the session that this login may create. */
    public long begin(String subject) {
        return gate(subject).epoch();
    }

    /** Call after the session is created. False: delete it and refuse the login. */
    public boolean confirm(String subject, long epoch) {
        return gate(subject).allows(epoch, null);
    }

    /** Call on each request; null for what the session does not know. False: it is over, even if its record is there. */
    public boolean check(String subject, Long epoch, Long startedMs) {
        return gate(subject).allows(epoch, startedMs);
    }

    private Gate gate(String subject) {
        Gate gate = unread;
        try {
            gate = Gate.parse(gates.read(subject));
            beat();
            if (failing.getAndSet(false)) {
                LOG.log(System.Logger.Level.WARNING, "gate store answers again");
            }
        } catch (InterruptedException stop) {
            Thread.currentThread().interrupt();
        } catch (Exception problem) { // whatever the store's client throws: the policy is the same
            if (!failing.getAndSet(true)) {
                LOG.log(System.Logger.Level.WARNING, "gate store fails ({0}): unread gates count as {1}",
                        problem, unread.denied() ? "denied" : "open");
            }
        }
        return gate;
    }

    private void beat() throws Exception {
        long now = System.nanoTime();
        long due = nextBeat.get();
        if (now - due >= 0 && nextBeat.compareAndSet(due, now + BEAT_EVERY_NS)) {
            gates.beat(System.currentTimeMillis());
        }
    }

    /**
     * Gates in two tables: the server writes the first, the guard's heartbeat the second. Every read takes a connection
     * of its own in autocommit mode: inside a longer transaction a repeatable read would show yesterday's gate.
     *
     * <pre>{@code
     * CREATE TABLE scim_gate (subject VARCHAR(320) PRIMARY KEY,
     *     epoch BIGINT NOT NULL, denied SMALLINT NOT NULL, not_before BIGINT NOT NULL);
     * CREATE TABLE scim_guard (name VARCHAR(255) PRIMARY KEY, seen_ms BIGINT NOT NULL);
     * }</pre>
     */
    public record SqlGates(DataSource source, String tenant) implements Gates {

        @Override
        public String read(String subject) throws SQLException {
            String sql = "SELECT epoch, denied, not_before FROM scim_gate WHERE subject = ?";
            try (Connection connection = source.getConnection();
                    PreparedStatement statement = connection.prepareStatement(sql)) {
                statement.setString(1, subject);
                try (ResultSet row = statement.executeQuery()) {
                    return row.next() ? row.getLong(1) + ":" + row.getInt(2) + ":" + row.getLong(3) : null;
                }
            }
        }

        @Override
        public void beat(long nowMs) throws SQLException {
            try (Connection connection = source.getConnection()) {
                if (changed(connection, "UPDATE scim_guard SET seen_ms = ? WHERE name = ?", nowMs) == 0) {
                    changed(connection, "INSERT INTO scim_guard (seen_ms, name) VALUES (?, ?)", nowMs);
                }
            }
        }

        private int changed(Connection connection, String sql, long nowMs) throws SQLException {
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                statement.setLong(1, nowMs);
                statement.setString(2, tenant);
                return statement.executeUpdate();
            }
        }
    }
}
