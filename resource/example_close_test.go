package resource_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/respool/respool/resource"
)

// A service drains on SIGTERM: the server first, so that no work arrives, then the pool.
func ExamplePool_Close_sigterm() {
	pool, err := resource.New(resource.Config[*Session]{Make: dialer(), MaxSize: 8, Destroy: func(s *Session, cause error) { s.Close() }})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := pool.Do(r.Context(), func(ctx context.Context, s *Session) error {
			_, err := fmt.Fprint(w, s.Ask("well"))
			return err
		})
		if err != nil {
			http.Error(w, "no session", http.StatusServiceUnavailable)
		}
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)
	signaled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	visit("http://" + listener.Addr().String())
	terminate()

	<-signaled.Done()
	stop()                                                                     // a second signal ends the process at once
	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second) // less than the orchestrator waits until it kills
	defer cancel()
	if err := server.Shutdown(grace); err != nil { // no new requests; those that run may end, and with them their leases
		log.Print(err)
	}
	if err := pool.Close(grace); err != nil {
		log.Printf("%+v", err) // which resources are still leased
	}

	fmt.Println(pool.Stats().Load)
	// Output:
	// 200 OK
	// closed 1
	// max 8: 0 idle, 0 leased, 0 making, 0 destroying; 0 waiting
}

// visit makes a request on a connection of its own, and prints the status.
func visit(url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
	fmt.Println(answer.Status)
}

// terminate sends SIGTERM to this process, as an orchestrator does.
func terminate() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGTERM)
	}
	if err != nil {
		log.Fatal(err)
	}
}
