package repocheck

import (
	"io/fs"
	"testing"
)

func TestOwnersExamples(t *testing.T) {
	table := []ownership{{
		dir: "pool", coordinators: []string{"Pool"}, methods: 2, components: []string{"queue", "idle"},
		records: []string{"entry"}, links: []string{"pool"},
	}}
	base := map[string]string{
		"pool/pool.go": `package pool

type Pool[T any] struct{ queue queue[T]; idle idle[T] }

func (p *Pool[T]) A() {}
func (p *Pool[T]) B() {}

type op[T any] struct{ p *Pool[T] }

type entry[T any] struct{ pool *Pool[T] }
`,
		"pool/queue.go": `package pool

type queue[T any] struct{ first *entry[T] }

func (q *queue[T]) next() *entry[T] { Pool := 1; _ = Pool; return q.first }
`,
		"pool/idle.go": `package pool

type idle[T any] struct{ pool int; waiters *queue[T] }

func (i *idle[T]) take() *entry[T] { i.pool++; return i.waiters.next() }
`,
	}
	with := func(file, code string) map[string]string {
		return map[string]string{file: base[file] + code}
	}
	try(t, func(tree fs.FS) []string { return ownersOf(tree, table) }, base, []example{
		{name: "owners"},
		{name: "operations are free", files: with("pool/pool.go", "func (o op[T]) run(q *queue[T]) { o.p.A() }\n")},
		{name: "no package", files: map[string]string{"pool/pool.go": absent, "pool/queue.go": absent, "pool/idle.go": absent},
			want: []string{"pool: no such package"}},
		{name: "no component", files: map[string]string{"pool/idle.go": absent},
			want: []string{"pool: no component idle"}},
		{name: "too many methods", files: with("pool/pool.go", "func (p Pool[T]) C() {}\n"),
			want: []string{"pool: Pool has 3 methods, over 2"}},
		{name: "holds it", files: map[string]string{"pool/queue.go": "package pool\n\ntype queue[T any] struct{ p *Pool[T] }\n\nfunc (q *queue[T]) next() *entry[T] { return nil }\n"},
			want: []string{"pool/queue.go:3: component queue must not know Pool", "pool/idle.go:3: component idle must not know queue"}},
		{name: "holds what holds it", files: map[string]string{"pool/queue.go": "package pool\n\ntype queue[T any] struct{ o []op[T] }\n\nfunc (q *queue[T]) next() *entry[T] { return nil }\n"},
			want: []string{"pool/queue.go:3: component queue must not know op", "pool/idle.go:3: component idle must not know queue"}},
		{name: "takes it", files: with("pool/queue.go", "func (q *queue[T]) bad(f func(p *Pool[T])) {}\n"),
			want: []string{"pool/queue.go:6: component queue must not know Pool"}},
		{name: "returns it", files: with("pool/queue.go", "func (q *queue[T]) bad() (p *Pool[T]) { return nil }\n"),
			want: []string{"pool/queue.go:6: component queue must not know Pool"}},
		{name: "converts to it", files: with("pool/queue.go", "func (q *queue[T]) bad(x any) { _ = (*Pool[T])(nil) }\n"),
			want: []string{"pool/queue.go:6: component queue must not know Pool"}},
		{name: "makes one", files: with("pool/queue.go", "func (q *queue[T]) bad() { _ = op[T]{} }\n"),
			want: []string{"pool/queue.go:6: component queue must not know op"}},
		{name: "follows a record", files: with("pool/queue.go", "func (q *queue[T]) bad() { q.first.pool.A() }\n"),
			want: []string{"pool/queue.go:6: component queue must not follow pool"}},
		{name: "a circle", files: with("pool/queue.go", "func (q *queue[T]) bad(i *idle[T]) {}\n"),
			want: []string{"pool: components in a circle: queue, idle, queue"}},
		{name: "a circle in a body", files: with("pool/queue.go", "func (q *queue[T]) bad() { var i idle[T]; _ = i }\n"),
			want: []string{"pool: components in a circle: queue, idle, queue"}},
	})
}
