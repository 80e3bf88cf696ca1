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

// tomcat runs the echo of its own examples.
var tomcat = brand{
	start: startTomcat,
	reach: func(cfg *wspool.Config) { cfg.URL += "websocket/echoAnnotation" },
	ask:   askEcho,
}

func TestTomcat(t *testing.T) { signalled(t, tomcat) }

// Nothing of the port is bound before the application is there.
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
	application := debian(t, "/usr/share/tomcat10-examples/examples")
	home := debian(t, "/usr/share/tomcat10")
	java := outside.Program(t, []string{"java"}, "default-jre-headless")
	addr = orUnused(t, addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	for _, name := range []string{"conf", "logs", "work", "temp"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	configured(t, filepath.Join(base, "conf"), "server.xml", fmt.Sprintf(tomcatServer, host, port, application))
	bin := filepath.Join(home, "bin")
	return startDaemon(t, addr, java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true",
		"-Dcatalina.home="+home, "-Dcatalina.base="+base, "-Djava.io.tmpdir="+filepath.Join(base, "temp"),
		"-classpath", filepath.Join(bin, "bootstrap.jar")+":"+filepath.Join(bin, "tomcat-juli.jar"),
		"org.apache.catalina.startup.Bootstrap", "start")
}
