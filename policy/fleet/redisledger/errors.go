package redisledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/internal/redact"
)

// Kinds of errors of [Ledger.Claim] and [Ledger.Take]: an [*Error] matches one of them.
var (
	// ErrUnreachable: there is no connection to the engine, no answer arrived in time, ctx
	// ended, or the client is closed. Also while Sentinel knows no primary.
	ErrUnreachable = cause.New("engine is unreachable", "unreachable")
	// ErrAuth: the engine refuses the user or the password, or a command for that user.
	ErrAuth = cause.New("engine refuses the credentials", "refused credentials")
	// ErrWrongType: the key of the quota or rate has a value of another kind. Choose another
	// [Options].Prefix.
	ErrWrongType = cause.New("key holds something else", "wrong type")
	// ErrReadOnly: the server is a replica.
	ErrReadOnly = cause.New("server is a read-only replica", "read-only")
	// ErrLoading: the server is reading its data from disk.
	ErrLoading = cause.New("server is loading its data", "loading")
	// ErrBusy: the server or its cluster refuses commands for now: a script is running, the
	// cluster is down, there are too many clients, or the disk cannot be written.
	ErrBusy = cause.New("server refuses commands for now", "busy")
	// ErrMemory: the server has reached its maxmemory, and its policy is to refuse writes.
	ErrMemory = cause.New("server is out of memory", "out of memory")
	// ErrCluster: the key belongs to another node: as a rule the server is one node of a
	// cluster, and the client is not a cluster client.
	ErrCluster = cause.New("key belongs to another node of the cluster", "wrong node")
	// ErrReplicas: fewer replicas than [Options].Replicas have acknowledged the claim. The
	// primary may have recorded it.
	ErrReplicas = cause.New("too few replicas have the claim", "too few replicas")
	// ErrReply: the answer is not a valid reply of the ledger's script.
	ErrReply = cause.New("invalid answer", "invalid answer")
	// ErrEngine: the engine refuses the command for another reason; see Error.Text.
	ErrEngine = cause.New("engine refuses the command", "refused command")
)

// Error is the error of a failed claim or draw. errors.Is matches its Kind, and a context error
// or a syscall.Errno that caused it. Its text contains no password.
type Error struct {
	Op   string // "claim" or "take"
	Name string // of the quota or rate
	Kind error  // one of the errors above
	Text string // what the engine or the network said, without secrets; may be empty
	// under are the causes whose texts have no secrets, for errors.Is.
	under []error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("redisledger: %s %q: %v", e.Op, e.Name, e.Kind)
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns the kind and the known causes. The error of go-redis itself is not among them:
// its text may show the password of an address.
func (e *Error) Unwrap() []error { return append([]error{e.Kind}, e.under...) }

// replyError is an answer that cannot be understood.
type replyError string

func (e replyError) Error() string { return string(e) }

// maxText bounds the text of an Error.
const maxText = 300

// failed makes an Error of what go-redis returned.
func (l *Ledger) failed(ctx context.Context, op, name string, err error) error {
	e := &Error{Op: op, Name: name, Kind: kind(err), Text: l.safe(err.Error())}
	ctxErr := ctx.Err()
	if d, ok := ctx.Deadline(); ctxErr == nil && ok && !time.Now().Before(d) {
		// The connection has the same deadline, and noticed it before the timer of ctx did.
		ctxErr = context.DeadlineExceeded
	}
	if ctxErr != nil {
		e.Kind, e.under = ErrUnreachable, append(e.under, ctxErr)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e.under = append(e.under, errno)
	}
	return e
}

// safe removes secrets from text, and bounds it.
func (l *Ledger) safe(text string) string {
	return redact.Clean(l.secrets().Redact(redact.Hide(text), false), maxText)
}

// answers are the first words of the engine's errors. A script's error has them at the
// beginning since Redis 7, and after other text before that.
var answers = []struct {
	word string
	kind error
}{
	{"WRONGTYPE", ErrWrongType}, {"FLEETDATA", ErrWrongType},
	{"READONLY", ErrReadOnly},
	{"LOADING", ErrLoading},
	{"OOM", ErrMemory},
	{"WRONGPASS", ErrAuth}, {"NOAUTH", ErrAuth}, {"NOPERM", ErrAuth},
	{"MOVED", ErrCluster}, {"ASK", ErrCluster}, {"CROSSSLOT", ErrCluster},
	{"BUSY", ErrBusy}, {"CLUSTERDOWN", ErrBusy}, {"MASTERDOWN", ErrBusy}, {"TRYAGAIN", ErrBusy},
	{"NOREPLICAS", ErrBusy}, {"MISCONF", ErrBusy}, {"UNBLOCKED", ErrBusy},
}

// phrases identify errors that do not have such a word.
var phrases = []struct {
	phrase string
	kind   error
}{
	{"max number of clients", ErrBusy},
	{"invalid password", ErrAuth},
	{"without any password configured", ErrAuth},
	{"unauthenticated", ErrAuth}, // limits on the length of a command
	{"permissions to run", ErrAuth},
	{"can't run this command", ErrAuth},
	{"WRONGTYPE Operation against a key", ErrWrongType}, // as miniredis has it
}

// kind classifies an error of go-redis.
func kind(err error) error {
	var reply replyError
	if errors.As(err, &reply) {
		return ErrReply
	}
	var replicas replicasError
	if errors.As(err, &replicas) {
		return ErrReplicas
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		text := answer.Error()
		for _, a := range answers {
			if strings.HasPrefix(text, a.word+" ") || text == a.word || strings.Contains(text, "-"+a.word+" ") {
				return a.kind
			}
		}
		for _, p := range phrases {
			if strings.Contains(text, p.phrase) {
				return p.kind
			}
		}
		return ErrEngine
	}
	var netErr net.Error
	switch {
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, redis.ErrPoolTimeout),
		errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, redis.ErrClosed), errors.Is(err, net.ErrClosed):
		return ErrUnreachable
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return ErrUnreachable
	}
	return ErrEngine
}
