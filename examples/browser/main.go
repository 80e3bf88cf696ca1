// Browser takes screenshots of local pages in parallel, in a pool of a few Chromium tabs. Run
// it from the root of the repository with
//
//	go run ./examples/browser
//
// or with -h for its flags. It needs Chromium or Chrome, which it controls with DevTools over
// one WebSocket connection that all tabs share. The pool of tabs is in tabs.go, the client of
// DevTools in devtools.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"
)

// options are the flags.
type options struct {
	chrome string // executable; "": search for it
	out    string // directory of the screenshots; "": a new one
	tabs   int
	pages  int
}

func main() {
	var o options
	flag.StringVar(&o.chrome, "chrome", "", "the Chromium or Chrome `program`; by default it is looked for")
	flag.StringVar(&o.out, "out", "", "the `directory` for the screenshots; by default a new one")
	flag.IntVar(&o.tabs, "tabs", 4, "how many tabs at most")
	flag.IntVar(&o.pages, "pages", 24, "how many pages")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "browser: takes flags only, got %q\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run takes a screenshot of every page and prints the results to w.
func run(ctx context.Context, w io.Writer, o options) (err error) {
	if o.out == "" {
		if o.out, err = os.MkdirTemp("", "screenshots-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	site := httptest.NewServer(pages{})
	defer site.Close()
	b, err := launch(ctx, o.chrome)
	if err != nil {
		return err
	}
	defer b.close()
	t, err := newTabs(b.url, o.tabs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()

	began := time.Now()
	var all sync.WaitGroup
	failed := make([]error, o.pages)
	for i := range o.pages {
		all.Go(func() {
			name := filepath.Join(o.out, fmt.Sprintf("page-%02d.png", i))
			failed[i] = t.take(ctx, fmt.Sprintf("%s/%d", site.URL, i), name)
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	s := t.pool.Stats()
	fmt.Fprintf(w, "%d screenshots in %v, in %s\n", o.pages, time.Since(began).Round(time.Millisecond), o.out)
	fmt.Fprintf(w, "%d tabs were opened and lent %d times\n", s.Made, s.Acquired)
	fmt.Fprintf(w, "%d commands, up to %d at once; connections dialled: %d\n",
		t.client.mux.Stats().Calls, t.client.mostInFlight(), t.client.pool.Stats().Made)
	return nil
}
