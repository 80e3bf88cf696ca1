package suite

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// peerEnv, when set, makes this program the server of the WebSocket rows and
// nothing else: it ends when its standard input does.
const peerEnv = "RESPOOL_BENCH_PEER"

// An address is where the server is, and what it says of itself on the first
// line of its output.
type address struct {
	WS, WSS string // ws://… and wss://…
	TCP     string // host:port, where it echoes bytes
	Counts  string // http://…, where it tells its counts
	Cert    []byte // of wss, DER
}

// counts is what the server has seen so far.
type counts struct {
	Opened, Pings int64
}

// tlsConfig trusts the server, and nobody else.
func (a address) tlsConfig() (*tls.Config, error) {
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots}, nil
}

// url returns where the server speaks scheme.
func (a address) url(scheme string) string {
	if scheme == "wss" {
		return a.WSS
	}
	return a.WS
}

// counts asks the server for them.
func (a address) counts(ctx context.Context) (c counts, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Counts, nil)
	if err != nil {
		return c, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// echoPeer is the server, in a process of its own so that what this one takes
// and keeps is the client's alone. All entrants of a row share it: it runs from
// the first open to the last close.
type echoPeer struct {
	mu    sync.Mutex
	users int
	proc  *exec.Cmd
	stdin io.Closer
	addr  address
}

func (p *echoPeer) open(ctx context.Context) (address, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		if err := p.start(ctx); err != nil {
			return address{}, fmt.Errorf("server process: %w", err)
		}
	}
	p.users++
	return p.addr, nil
}

func (p *echoPeer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return nil
	}
	return p.stop()
}

// start runs this program again as the server and reads where it is.
func (p *echoPeer) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.proc = exec.Command(self)
	p.proc.Env = append(os.Environ(), peerEnv+"=1")
	p.proc.Stderr = os.Stderr
	if p.stdin, err = p.proc.StdinPipe(); err != nil {
		return err
	}
	stdout, err := p.proc.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.proc.Start(); err != nil {
		return err
	}
	spare := context.AfterFunc(ctx, func() { p.proc.Process.Kill() })
	defer spare()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.addr)
	}
	if err != nil {
		return errors.Join(err, ctx.Err(), p.stop())
	}
	return nil
}

// stop ends the process and waits for its end.
func (p *echoPeer) stop() error {
	p.stdin.Close()
	kill := time.AfterFunc(peer.CloseTime, func() { p.proc.Process.Kill() })
	defer kill.Stop()
	return p.proc.Wait()
}
