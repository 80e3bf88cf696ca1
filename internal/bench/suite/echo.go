package suite

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/internal/echo"
)

// echoEnv, when set, makes this program the server of the WebSocket rows. It exits when
// its standard input ends.
const echoEnv = "RESPOOL_BENCH_PEER"

// An address is where a server listens. The server's process prints it as the first line of
// its output.
type address = echo.Address

// server starts this program again as the server, so that the CPU time and the memory of
// this process are the client's alone. The server ends with the row or round of x.
func (x *setup) server() (a address) {
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, must(os.Executable()))
	cmd.Env, cmd.Stderr = append(os.Environ(), echoEnv+"=1"), os.Stderr
	stdin, stdout := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	check(cmd.Start())
	x.cleanup(func() error {
		defer kill()
		stdin.Close()
		defer time.AfterFunc(peer.CloseTime, kill).Stop()
		return cmd.Wait()
	})
	defer context.AfterFunc(x.ctx, kill)()
	check(json.NewDecoder(stdout).Decode(&a))
	return a
}

// serveEchoes is the server's process. It prints its address and serves until in ends,
// as it does at the latest when the parent exits.
func serveEchoes(in io.Reader, out io.Writer) {
	s := must(echo.Listen())
	check(json.NewEncoder(out).Encode(s.Addr()))
	_, err := io.Copy(io.Discard, in)
	check(errors.Join(err, s.Close()))
}

// speech is where the server listens to an utterance before it replies: a handshake
// takes as long as one over a network, and a reply as long as inference.
func speech(a address, s size) address {
	return a.With(url.Values{"handshake": {s.time(50 * ms).String()}, "takes": {s.time(10 * ms).String()}, "texts": {"1"}}.Encode())
}
