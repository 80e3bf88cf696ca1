package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/memnet"
	"go.uber.org/goleak"
)

// TestMain fails if any test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Bytes are read in the order written, and a full buffer blocks the writer.
func TestBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(4)
		sent := make(chan error, 1)
		go func() {
			_, err := a.Write([]byte("123456"))
			sent <- err
		}()
		synctest.Wait()
		if len(sent) != 0 {
			t.Error("6 bytes went into a buffer of 4")
		}
		p := make([]byte, 6)
		if _, err := io.ReadFull(b, p); err != nil || string(p) != "123456" {
			t.Errorf("read %q, %v", p, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// After Close the other end reads the rest, then io.EOF, and writes fail.
func TestClose(t *testing.T) {
	a, b := memnet.Pipe(4)
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if p, err := io.ReadAll(b); err != nil || string(p) != "x" {
		t.Errorf("read %q, %v", p, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of the closed end: %v", err)
	}
}

// A deadline interrupts a running call at its instant, and can be removed.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := memnet.Pipe(4)
		defer a.Close()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		var ne net.Error
		if took := time.Since(start); !errors.As(err, &ne) || !ne.Timeout() || took != time.Second {
			t.Errorf("read: %v after %v", err, took)
		}
		a.SetWriteDeadline(start.Add(2 * time.Second))
		if n, err := a.Write(make([]byte, 5)); n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %d, %v", n, err)
		}
		a.SetDeadline(time.Time{})
		read := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		a.SetReadDeadline(time.Unix(1, 0)) // a past deadline interrupts, as net/http requires
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}

// After Close of the listener Accept and Dial fail.
func TestListener(t *testing.T) {
	l := memnet.Listen(4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ctx, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v", err)
	}
	l.Close()
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}
