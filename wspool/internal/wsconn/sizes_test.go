package wsconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"unsafe"
)

// TestSizeEstimate_ReadsAll: whatever was read before, and however it comes, what is read
// is what io.ReadAll reads.
func TestSizeEstimate_ReadsAll(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	ways := map[string]func(io.Reader) io.Reader{
		"whole":        func(r io.Reader) io.Reader { return r },
		"halves":       iotest.HalfReader,
		"with its end": iotest.DataErrReader,
		"bytes":        iotest.OneByteReader,
	}
	for name, way := range ways {
		var u SizeEstimate
		for range 300 {
			n := draw.IntN(1 << draw.IntN(17))
			want := make([]byte, n)
			for i := range want {
				want[i] = byte(draw.Uint32())
			}
			got, err := u.ReadAll(way(bytes.NewReader(want)))
			if err != nil || !bytes.Equal(got, want) || got == nil {
				t.Fatalf("%s: %d bytes: got %d, %v", name, n, len(got), err)
			}
			if spare := cap(got) - len(got); spare > max(firstGuess+1, len(got)) {
				t.Fatalf("%s: %d bytes with room for %d more", name, n, spare)
			}
		}
	}
}

// TestSizeEstimate_Error: what came before an error is there, as with io.ReadAll, and an
// end in the midst is one.
func TestSizeEstimate_Error(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{broken, io.ErrUnexpectedEOF} {
		var u SizeEstimate
		got, err := u.ReadAll(io.MultiReader(bytes.NewReader(make([]byte, 700)), iotest.ErrReader(want)))
		if !errors.Is(err, want) || len(got) != 700 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	wrapped := fmt.Errorf("dial: %w", io.EOF)
	var u SizeEstimate
	if _, err := u.ReadAll(iotest.ErrReader(wrapped)); err != wrapped {
		t.Errorf("%v is not the end", err)
	}
}

// TestSizeEstimate_OneAllocation: messages of one length cost one each, once that is known.
func TestSizeEstimate_OneAllocation(t *testing.T) {
	for _, n := range []int{1, 64, 512, 3200, 32 << 10} {
		var u SizeEstimate
		message := bytes.NewReader(nil)
		text := make([]byte, n)
		read := func() {
			message.Reset(text)
			if _, err := u.ReadAll(message); err != nil {
				t.Fatal(err)
			}
		}
		read()
		if got := testing.AllocsPerRun(100, read); got > 1 {
			t.Errorf("%d bytes: %v allocations", n, got)
		}
	}
}

// readSizes is a reader that notes for how many bytes it is asked.
type readSizes struct {
	io.Reader
	sizes []int
}

func (r *readSizes) Read(p []byte) (int, error) {
	r.sizes = append(r.sizes, len(p))
	return r.Reader.Read(p)
}

// TestSizeEstimate_First: of the first message as much is read at once as io.ReadAll would, and of a
// later one as much as it is expected to have.
func TestSizeEstimate_First(t *testing.T) {
	var u SizeEstimate
	for _, want := range []int{firstGuess + 1, 100 + 1} {
		r := &readSizes{Reader: bytes.NewReader(make([]byte, 100))}
		if _, err := u.ReadAll(r); err != nil || r.sizes[0] != want {
			t.Errorf("%v bytes are read at once, want %d; %v", r.sizes, want, err)
		}
	}
}

// TestSizeEstimate_LongIsForgotten: after one long message those that are short do not go
// on paying for it.
func TestSizeEstimate_LongIsForgotten(t *testing.T) {
	var u SizeEstimate
	u.note(100 << 20)
	n := 0
	for ; u > 20; n++ {
		u.note(10)
	}
	if n > 60 {
		t.Errorf("only after %d short ones", n)
	}
	for range 1000 {
		u.note(0)
	}
	if u != 1 {
		t.Errorf("%d after nothing but empty ones", u)
	}
}

// TestSizeEstimate_EmptyKeepsNothing: an empty message that is kept does not keep the room
// that was made for a longer one.
func TestSizeEstimate_EmptyKeepsNothing(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		b := make([]byte, n, 4096)
		got := trimmed(b)
		if got == nil || len(got) != n || unsafe.SliceData(got) == unsafe.SliceData(b) {
			t.Errorf("%d bytes are in the room of %d still", n, cap(b))
		}
	}
}

func BenchmarkReadAll(b *testing.B) {
	for _, n := range []int{64, 3200, 64 << 10} {
		text := make([]byte, n)
		r := bytes.NewReader(nil)
		var u SizeEstimate
		for name, f := range map[string]func(io.Reader) ([]byte, error){"usual": u.ReadAll, "io": io.ReadAll} {
			b.Run(fmt.Sprintf("bytes=%d/by=%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Reset(text)
					if _, err := f(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
