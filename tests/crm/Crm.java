import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.File;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;
import org.mariadb.jdbc.MariaDbPoolDataSource;
import scim.Guard;
import scim.GuardFilter;

/** A CRM of one servlet in a real Tomcat: GET /?login=SUBJECT signs in, GET / says who is. Arguments: port, JDBC URL. */
public final class Crm {

    public static void main(String[] arguments) throws Exception {
        Guard guard = new Guard(new Guard.SqlGates(new MariaDbPoolDataSource(arguments[1]), "default"));
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[2]);
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(Integer.parseInt(arguments[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context site = tomcat.addContext("", new File(arguments[2]).getAbsolutePath());
        Tomcat.addServlet(site, "home", new Home(guard));
        site.addServletMappingDecoded("/", "home");
        FilterDef filter = new FilterDef();
        filter.setFilterName("scim");
        filter.setFilter(new GuardFilter(guard, Crm::subject));
        site.addFilterDef(filter);
        FilterMap everywhere = new FilterMap();
        everywhere.setFilterName("scim");
        everywhere.addURLPattern("/*");
        site.addFilterMap(everywhere);
        tomcat.start();
        tomcat.getServer().await();
    }

    private static String subject(HttpServletRequest request) {
        HttpSession session = request.getSession(false);
        return session == null ? null : (String) session.getAttribute("subject");
    }

    private static final class Home extends HttpServlet {
        private static final long serialVersionUID = 1;
        private final transient Guard guard;

        Home(Guard guard) {
            this.guard = guard;
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            String login = request.getParameter("login");
            if (login != null) {
                long epoch = guard.begin(login);
                HttpSession session = request.getSession(true);
                session.setAttribute("subject", login);
                session.setAttribute(GuardFilter.EPOCH, epoch);
                if (!guard.confirm(login, epoch)) {
                    session.invalidate();
                    response.sendError(403);
                    return;
                }
            }
            response.getWriter().println(subject(request));
        }
    }
}
