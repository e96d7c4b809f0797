package scim;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.util.function.Function;

/**
 * Checks each request of a servlet application (Spring Boot 3, Tomcat 10, Jetty 11, or later). It needs only the servlet
 * API; in Spring Boot a bean of type Filter is in the chain.
 *
 * <p>{@code subjectOf} tells whose session a request carries, null for nobody. The login keeps {@code Guard.begin(…)}
 * under {@link #EPOCH} in the session; a session without it is taken to be older than any gate.
 */
public final class GuardFilter implements Filter {

    /** The session attribute that holds the epoch, a Long. */
    public static final String EPOCH = "scim_epoch";

    private final Guard guard;
    private final Function<HttpServletRequest, String> subjectOf;

    public GuardFilter(Guard guard, Function<HttpServletRequest, String> subjectOf) {
        this.guard = guard;
        this.subjectOf = subjectOf;
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        HttpServletRequest http = (HttpServletRequest) request;
        String subject = subjectOf.apply(http);
        HttpSession session = http.getSession(false);
        Long epoch = session == null ? null : (Long) session.getAttribute(EPOCH);
        if (subject == null || guard.check(subject, epoch, null)) {
            chain.doFilter(request, response);
            return;
        }
        if (session != null) {
            session.invalidate();
        }
        HttpServletResponse answer = (HttpServletResponse) response;
        answer.setStatus(HttpServletResponse.SC_UNAUTHORIZED);
        answer.setHeader("Cache-Control", "no-store");
        answer.setContentType("text/plain");
        answer.getWriter().println("This session has ended. Sign in again.");
    }
}
