package treap_test

import (
	"math"
	"slices"
	"testing"

	"github.com/respool/respool/internal/treap"
)

type node = treap.Node[int64]

// model is the set as a slice sorted by key.
type model struct {
	set   treap.Set[int64]
	nodes []*node
	value map[*node]int64
}

func (m *model) insert(key, value int64) {
	i, found := slices.BinarySearchFunc(m.nodes, key, func(n *node, k int64) int { return int(n.Key() - k) })
	if found {
		return
	}
	n := &node{Item: key}
	m.set.Insert(n, key, value)
	m.nodes = slices.Insert(m.nodes, i, n)
	m.value[n] = value
}

func (m *model) remove(i int) {
	n := m.nodes[i]
	m.set.Remove(n)
	m.nodes = slices.Delete(m.nodes, i, i+1)
	delete(m.value, n)
}

// first returns the first member, from the front or the back, for which ok.
func (m *model) first(backwards bool, ok func(n *node) bool) *node {
	nodes := slices.Clone(m.nodes)
	if backwards {
		slices.Reverse(nodes)
	}
	if i := slices.IndexFunc(nodes, ok); i >= 0 {
		return nodes[i]
	}
	return nil
}

func (m *model) check(t *testing.T, bound int64) {
	t.Helper()
	anyone := func(*node) bool { return true }
	below := func(n *node) bool { return m.value[n] < bound }
	above := func(n *node) bool { return m.value[n] > bound }
	for _, c := range []struct {
		name      string
		got, want *node
	}{
		{"First", m.set.First(), m.first(false, anyone)},
		{"Last", m.set.Last(), m.first(true, anyone)},
		{"FirstBelow", m.set.FirstBelow(bound), m.first(false, below)},
		{"FirstAbove", m.set.FirstAbove(bound), m.first(false, above)},
		{"LastAbove", m.set.LastAbove(bound), m.first(true, above)},
		{"After", m.set.After(bound), m.first(false, func(n *node) bool { return n.Key() > bound })},
	} {
		if c.got != c.want {
			t.Fatalf("%s(%d) of %d members: got %v, want %v", c.name, bound, len(m.nodes), c.got, c.want)
		}
	}
	if n := m.set.Len(); n != len(m.nodes) {
		t.Fatalf("Len: got %d, want %d", n, len(m.nodes))
	}
	for _, i := range []int{0, len(m.nodes) / 2, len(m.nodes) - 1, len(m.nodes)} {
		want := (*node)(nil)
		if i >= 0 && i < len(m.nodes) {
			want = m.nodes[i]
		}
		if i >= 0 && m.set.At(i) != want {
			t.Fatalf("At(%d): got %v, want %v", i, m.set.At(i), want)
		}
	}
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, v := range m.value {
		least, most = min(least, v), max(most, v)
	}
	if got, ok := m.set.Min(); ok != (len(m.nodes) > 0) || ok && got != least {
		t.Fatalf("Min: got %d, %v, want %d", got, ok, least)
	}
	if got, ok := m.set.Max(); ok != (len(m.nodes) > 0) || ok && got != most {
		t.Fatalf("Max: got %d, %v, want %d", got, ok, most)
	}
}

// run does what each pair of bytes says.
func run(t *testing.T, ops []byte) {
	m := &model{value: map[*node]int64{}}
	for ; len(ops) >= 2; ops = ops[2:] {
		a, b := int64(ops[0]), int64(ops[1])
		if a%3 == 0 && len(m.nodes) > 0 {
			m.remove(int(b) % len(m.nodes))
		} else {
			m.insert(a, b)
		}
		m.check(t, b-1)
		m.check(t, a)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte("abcdefgh0123456789zyxwvu"))
	f.Add([]byte{1, 1, 2, 2, 4, 4, 5, 5, 3, 0, 3, 1, 7, 0})
	f.Fuzz(run)
}

func TestSet_InOrderOfKeys(t *testing.T) {
	m := &model{value: map[*node]int64{}}
	for i := range int64(1000) {
		m.insert(i, i%7)
	}
	for i := range int64(8) {
		m.check(t, i)
	}
	for len(m.nodes) > 0 {
		m.remove(0)
	}
	m.check(t, 0)
}

func TestNode_InsertedTwice(t *testing.T) {
	var s treap.Set[int64]
	n := &node{}
	if n.Member() {
		t.Error("a new node is a member")
	}
	s.Insert(n, 1, 1)
	if !n.Member() {
		t.Error("an inserted node is no member")
	}
	s.Remove(n)
	s.Insert(n, 2, 2)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.Insert(n, 3, 3)
}
