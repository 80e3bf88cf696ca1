package servers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/wspool"
)

// tomcat runs the echo server of Tomcat's examples.
var tomcat = brand{
	start: startTomcat,
	reach: func(cfg *wspool.Config) { cfg.URL += "websocket/echoAnnotation" },
	ask:   askEcho,
}

func TestTomcat(t *testing.T) {
	t.Parallel()
	signalled(t, tomcat)
}

const tomcatEcho = "WEB-INF/classes/websocket/echo/EchoAnnotation.class"

// WebSocket is a filter, which needs a servlet behind it.
const tomcatApplication = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet><servlet-name>default</servlet-name><servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
  <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
</web-app>
`

// Bind the port only after the application was deployed.
const tomcatServer = `<Server port="-1">
  <Service name="Catalina">
    <Connector address="%s" port="%s" bindOnInit="false"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="none" autoDeploy="false" deployOnStartup="false">
        <Context path="" docBase="%s" reloadable="false"><JarScanner scanClassPath="false"/></Context>
      </Host>
    </Engine>
  </Service>
</Server>
`

func startTomcat(t testing.TB, addr string) running {
	t.Helper()
	echo, err := os.ReadFile(debian(t, filepath.Join("/usr/share/tomcat10-examples/examples", tomcatEcho)))
	if err != nil {
		t.Fatal(err)
	}
	home := debian(t, "/usr/share/tomcat10")
	java := outside.Program(t, []string{"java"}, "default-jre-headless")
	addr = orUnused(t, addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	application := filepath.Join(base, "application")
	configured(t, base, "conf/server.xml", fmt.Sprintf(tomcatServer, host, port, application))
	configured(t, base, "temp/none", "")
	configured(t, application, "WEB-INF/web.xml", tomcatApplication)
	configured(t, application, tomcatEcho, string(echo))
	bin := filepath.Join(home, "bin")
	return startDaemon(t, addr, java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true",
		"-Dcatalina.home="+home, "-Dcatalina.base="+base, "-Djava.io.tmpdir="+filepath.Join(base, "temp"),
		"-classpath", filepath.Join(bin, "bootstrap.jar")+":"+filepath.Join(bin, "tomcat-juli.jar"),
		"org.apache.catalina.startup.Bootstrap", "start")
}
