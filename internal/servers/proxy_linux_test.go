package servers

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/wspool"
)

// Many callers use a proxy. While it is reloaded, drained, killed or disconnected from its
// servers, each question is echoed, or its caller gets the reason in time.
const (
	crowd       = 64
	crowdPool   = 16
	crowdRounds = 20
)

// proxy is a reverse proxy program.
type proxy struct {
	start func(t testing.TB, addr string, o proxyOptions) *daemon
	// Signals to its main process.
	reload, leave syscall.Signal
	down          int // status while no server behind it listens
}

type proxyOptions struct {
	behind []string      // addresses of servers
	idle   time.Duration // idle timeout of connections
	grace  time.Duration // lifetime of old connections after a reload or shutdown; zero: unbounded
	limit  int           // limit of connections; others get 503; zero: no limit
}

var (
	nginx   = proxy{start: startNginx, reload: syscall.SIGHUP, leave: syscall.SIGQUIT, down: http.StatusBadGateway}
	haproxy = proxy{start: startHAProxy, reload: syscall.SIGUSR2, leave: syscall.SIGUSR1, down: http.StatusServiceUnavailable}
	proxies = map[string]proxy{"nginx": nginx, "haproxy": haproxy}
)

func startNginx(t testing.TB, addr string, o proxyOptions) *daemon {
	t.Helper()
	program := debian(t, "/usr/sbin/nginx")
	addr = orUnused(t, addr)
	dir := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, "daemon off; user root; worker_processes 2; pid %s/pid; error_log stderr warn;\n", dir)
	if o.grace > 0 {
		fmt.Fprintf(&b, "worker_shutdown_timeout %dms;\n", o.grace.Milliseconds())
	}
	fmt.Fprintf(&b, "events { worker_connections 1024; }\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	fmt.Fprintf(&b, "upstream behind {\n")
	for _, at := range o.behind {
		fmt.Fprintf(&b, "server %s max_fails=0;\n", at)
	}
	fmt.Fprintf(&b, "}\nlimit_conn_zone $server_port zone=all:1m;\nserver {\nlisten %s;\nlocation / {\n", addr)
	if o.limit > 0 {
		fmt.Fprintf(&b, "limit_conn all %d;\n", o.limit)
	}
	fmt.Fprintf(&b, "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;\n"+
		"proxy_set_header Connection upgrade; proxy_read_timeout %[1]dms; proxy_send_timeout %[1]dms;\n}\n}\n}\n", o.idle.Milliseconds())
	return startDaemon(t, addr, program, "-e", "stderr", "-p", dir, "-c", configured(t, dir, "nginx.conf", b.String()))
}

func startHAProxy(t testing.TB, addr string, o proxyOptions) *daemon {
	t.Helper()
	program := debian(t, "/usr/sbin/haproxy")
	addr = orUnused(t, addr)
	var b strings.Builder
	fmt.Fprintf(&b, "global\n")
	if o.grace > 0 {
		fmt.Fprintf(&b, "hard-stop-after %dms\n", o.grace.Milliseconds())
	}
	fmt.Fprintf(&b, "defaults\nmode http\ntimeout connect 5s\ntimeout queue 100ms\n"+
		"timeout client %[1]dms\ntimeout server %[1]dms\ntimeout tunnel %[1]dms\nretries 0\n"+
		"frontend here\nbind %[2]s\ndefault_backend behind\nbackend behind\n", o.idle.Milliseconds(), addr)
	for i, at := range o.behind {
		fmt.Fprintf(&b, "server s%d %s", i, at)
		if o.limit > 0 {
			fmt.Fprintf(&b, " maxconn %d", o.limit/len(o.behind))
		}
		fmt.Fprintln(&b)
	}
	return startDaemon(t, addr, program, "-W", "-db", "-f", configured(t, t.TempDir(), "haproxy.cfg", b.String()))
}

// throng starts a load through a proxy at addr. Connections are replaced constantly, so that
// there are dials in every phase.
func throng(t *testing.T, addr string, change func(*wspool.Config)) *load {
	t.Helper()
	cfg := wspool.Config{URL: "ws://" + addr + "/", MaxSize: crowdPool, Eviction: policy.MaxLeases(30, 0)}
	if change != nil {
		change(&cfg)
	}
	l := (&load{ask: askEcho, callers: crowd, rounds: crowdRounds, anyFailure: true}).begin(t, cfg)
	l.await("callers are not served", &l.warm)
	return l
}

// finish waits until all callers have been served again, and closes the pool.
func (l *load) finish(addr string) {
	l.t.Helper()
	l.phase.Store(back)
	l.await("callers are not served again", &l.all)
	l.close()
	if addr != "" {
		awaitEmpty(l.t, addr)
	}
	l.t.Logf("%d questions: %d lost and told so, %d got no connection and were told so", l.ids.Load(), l.lost.Load(), l.noConn.Load())
	l.logCauses()
}

// behind starts two servers for use behind a proxy.
func behind(t *testing.T) (servers []running, at []string) {
	t.Helper()
	for _, name := range []string{"coder", "gws"} {
		s := own(name)(t, "127.0.0.1:0")
		servers, at = append(servers, s), append(at, s.address())
	}
	return servers, at
}

const proxyIdle = time.Minute // the default of nginx

func TestProxy(t *testing.T) {
	for name, p := range proxies {
		for scene, play := range map[string]func(*testing.T, proxy){
			"reload":   playReload,
			"shutdown": playShutdown,
			"kill":     playKill,
			"drain":    playDrain,
			"down":     playDown,
			"hang":     playHang,
			"limit":    playLimit,
		} {
			t.Run(name+"/"+scene, func(t *testing.T) {
				t.Parallel()
				play(t, p)
			})
		}
	}
}

// playReload reloads the proxy, which keeps old connections: no caller may notice.
func playReload(t *testing.T, p proxy) {
	_, at := behind(t)
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: proxyIdle})
	l := throng(t, d.address(), nil)
	for range 3 {
		if err := d.cmd.Process.Signal(p.reload); err != nil {
			t.Fatal(err)
		}
		l.more(10 * crowd)
	}
	// Still in phase healthy: any error has failed the test.
	l.finish(d.address())
}

// more waits until n more questions were asked.
func (l *load) more(n int64) {
	l.t.Helper()
	n += l.ids.Load()
	l.until("the load stands still", func() bool { return l.ids.Load() >= n })
}

// until polls ok.
func (l *load) until(otherwise string, ok func() bool) {
	l.t.Helper()
	until(l.t, otherwise, func() bool { return l.t.Failed() || ok() })
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// playShutdown reloads the proxy, which closes old connections after a short time, in use or
// not.
func playShutdown(t *testing.T, p proxy) {
	_, at := behind(t)
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: proxyIdle, grace: 100 * time.Millisecond})
	l := throng(t, d.address(), func(cfg *wspool.Config) { cfg.Eviction = nil })
	made := l.pool.Stats().Made
	l.phase.Store(failing)
	if err := d.cmd.Process.Signal(p.reload); err != nil {
		t.Fatal(err)
	}
	l.until("old connections are not cut", func() bool { return l.pool.Stats().Destroyed >= made })
	l.finish(d.address())
}

func playKill(t *testing.T, p proxy) {
	_, at := behind(t)
	o := proxyOptions{behind: at, idle: proxyIdle}
	d := p.start(t, "127.0.0.1:0", o)
	l := throng(t, d.address(), nil)
	l.phase.Store(failing)
	d.end(t, kill)
	l.awaitRefused()
	d = p.start(t, d.address(), o)
	l.finish(d.address())
}

// playDrain shuts the proxy down gracefully, with a limit.
func playDrain(t *testing.T, p proxy) {
	_, at := behind(t)
	o := proxyOptions{behind: at, idle: proxyIdle, grace: 100 * time.Millisecond}
	d := p.start(t, "127.0.0.1:0", o)
	l := throng(t, d.address(), nil)
	l.phase.Store(failing)
	if err := d.cmd.Process.Signal(p.leave); err != nil {
		t.Fatal(err)
	}
	d.wait(t)
	l.awaitRefused()
	d = p.start(t, d.address(), o)
	l.finish(d.address())
}

func (l *load) awaitRefused() {
	l.t.Helper()
	select {
	case <-l.refused:
	case <-time.After(patience):
		l.t.Fatalf("no caller gets the error of a dial: %v", l.pool.Stats())
	}
}

// playDown kills the servers behind a proxy, which then answers with an error status.
func playDown(t *testing.T, p proxy) {
	servers, at := behind(t)
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: proxyIdle})
	l := throng(t, d.address(), nil)
	l.phase.Store(failing)
	for _, s := range servers {
		s.end(t, kill)
	}
	l.until("the proxy does not say so", func() bool { return l.refusedWith(p.down) > 0 })
	own("coder")(t, at[0])
	own("gws")(t, at[1])
	l.finish(d.address())
}

// playHang stops the processes of the servers behind a proxy, which times out: it closes
// connections and answers handshakes with 504.
func playHang(t *testing.T, p proxy) {
	servers, at := behind(t)
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: time.Second})
	l := &load{ask: askEcho, callers: crowd, rounds: crowdRounds, anyFailure: true}
	l.phase.Store(failing) // it may time out on a busy machine too
	l.begin(t, wspool.Config{URL: "ws://" + d.address() + "/", MaxSize: crowdPool})
	l.await("callers are not served", &l.warm)
	signal := func(s syscall.Signal) {
		for _, server := range servers {
			if err := server.(*process).cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := l.refusedWith(http.StatusGatewayTimeout)
	signal(syscall.SIGSTOP)
	l.until("the proxy does not say so", func() bool { return l.refusedWith(http.StatusGatewayTimeout) > before })
	signal(syscall.SIGCONT)
	l.finish(d.address())
}

// playLimit makes the proxy accept fewer connections than the pool wants, and refuse the
// others with 503.
func playLimit(t *testing.T, p proxy) {
	_, at := behind(t)
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: proxyIdle, limit: crowdPool / 2})
	l := &load{ask: askEcho, callers: crowd, rounds: crowdRounds, anyFailure: true}
	l.phase.Store(failing)
	l.begin(t, wspool.Config{URL: "ws://" + d.address() + "/", MaxSize: crowdPool})
	l.await("callers are not served", &l.warm)
	if s := l.pool.Stats(); s.Idle+s.Leased > crowdPool/2 {
		t.Errorf("%d connections, of %d that the proxy accepts", s.Idle+s.Leased, crowdPool/2)
	}
	l.until("the proxy refuses no connection", func() bool { return l.refusedWith(http.StatusServiceUnavailable) > 0 })
	l.finish(d.address())
}
