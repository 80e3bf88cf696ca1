// Package treap is an ordered set whose members carry a value, and which finds
// the first or last member whose value is above or below a bound.
//
// A treap is a binary search tree by key and a heap by random priority, so that
// its depth is logarithmic whatever the order of insertions (Seidel and Aragon,
// Randomized Search Trees, 1996). Each node knows the smallest and the largest
// value below it.
package treap

import "math/rand/v2"

// Node is one member. Its user keeps it, allocates it once and may insert it
// again after it was removed. The zero Node is a member of no set.
type Node[T any] struct {
	Item        T
	key, value  int64
	min, max    int64 // of the values of this subtree
	size        int   // of this subtree; 0: not a member
	priority    uint32
	left, right *Node[T]
}

// Member reports whether the node is in a set.
func (n *Node[T]) Member() bool { return n != nil && n.size > 0 }

// Key returns the key under which the node was inserted last.
func (n *Node[T]) Key() int64 { return n.key }

// Set is the set. The zero Set is empty. Its user serializes the calls.
type Set[T any] struct{ root *Node[T] }

// Len returns how many members there are.
func (s *Set[T]) Len() int { return s.root.len() }

// Insert adds n, which is in no set, under a key that no member has.
func (s *Set[T]) Insert(n *Node[T], key, value int64) {
	if n.size != 0 {
		panic("treap: inserted twice")
	}
	n.key, n.value, n.priority = key, value, rand.Uint32()
	n.left, n.right = nil, nil
	n.update()
	s.root = insert(s.root, n)
}

// Remove takes n, which is a member, out of the set.
func (s *Set[T]) Remove(n *Node[T]) {
	s.root = remove(s.root, n)
	n.left, n.right, n.size = nil, nil, 0
}

// First returns the member with the smallest key; nil if there is none.
func (s *Set[T]) First() *Node[T] {
	n := s.root
	for n != nil && n.left != nil {
		n = n.left
	}
	return n
}

// Last returns the member with the largest key; nil if there is none.
func (s *Set[T]) Last() *Node[T] {
	n := s.root
	for n != nil && n.right != nil {
		n = n.right
	}
	return n
}

// Min returns the smallest value; false if there is no member.
func (s *Set[T]) Min() (int64, bool) {
	if s.root == nil {
		return 0, false
	}
	return s.root.min, true
}

// Max returns the largest value; false if there is no member.
func (s *Set[T]) Max() (int64, bool) {
	if s.root == nil {
		return 0, false
	}
	return s.root.max, true
}

// FirstBelow returns the member with the smallest key among those whose value
// is less than bound.
func (s *Set[T]) FirstBelow(bound int64) *Node[T] {
	n := s.root
	if n == nil || n.min >= bound {
		return nil
	}
	for {
		switch {
		case n.left != nil && n.left.min < bound:
			n = n.left
		case n.value < bound:
			return n
		default:
			n = n.right
		}
	}
}

// FirstAbove returns the member with the smallest key among those whose value
// is greater than bound.
func (s *Set[T]) FirstAbove(bound int64) *Node[T] {
	n := s.root
	if n == nil || n.max <= bound {
		return nil
	}
	for {
		switch {
		case n.left != nil && n.left.max > bound:
			n = n.left
		case n.value > bound:
			return n
		default:
			n = n.right
		}
	}
}

// LastAbove returns the member with the largest key among those whose value is
// greater than bound.
func (s *Set[T]) LastAbove(bound int64) *Node[T] {
	n := s.root
	if n == nil || n.max <= bound {
		return nil
	}
	for {
		switch {
		case n.right != nil && n.right.max > bound:
			n = n.right
		case n.value > bound:
			return n
		default:
			n = n.left
		}
	}
}

// After returns the member with the smallest key that is greater than key.
func (s *Set[T]) After(key int64) (next *Node[T]) {
	for n := s.root; n != nil; {
		if n.key > key {
			next, n = n, n.left
		} else {
			n = n.right
		}
	}
	return next
}

// At returns the member that i others precede, 0 being the first; nil if there
// are not so many.
func (s *Set[T]) At(i int) *Node[T] {
	n := s.root
	for n != nil {
		switch left := n.left.len(); {
		case i < left:
			n = n.left
		case i == left:
			return n
		default:
			i -= left + 1
			n = n.right
		}
	}
	return nil
}

func (n *Node[T]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *Node[T]) update() {
	n.size, n.min, n.max = 1, n.value, n.value
	for _, child := range [...]*Node[T]{n.left, n.right} {
		if child != nil {
			n.size += child.size
			n.min, n.max = min(n.min, child.min), max(n.max, child.max)
		}
	}
}

func insert[T any](root, n *Node[T]) *Node[T] {
	switch {
	case root == nil:
		return n
	case n.priority > root.priority:
		n.left, n.right = split(root, n.key)
		n.update()
		return n
	case n.key < root.key:
		root.left = insert(root.left, n)
	case n.key > root.key:
		root.right = insert(root.right, n)
	default:
		panic("treap: two members with one key")
	}
	root.update()
	return root
}

func remove[T any](root, n *Node[T]) *Node[T] {
	switch {
	case root == n:
		return merge(n.left, n.right)
	case root == nil:
		panic("treap: removed, but not a member")
	case n.key < root.key:
		root.left = remove(root.left, n)
	default:
		root.right = remove(root.right, n)
	}
	root.update()
	return root
}

// split divides a tree into the members with smaller and with larger keys.
func split[T any](root *Node[T], key int64) (less, more *Node[T]) {
	if root == nil {
		return nil, nil
	}
	if root.key < key {
		root.right, more = split(root.right, key)
		root.update()
		return root, more
	}
	less, root.left = split(root.left, key)
	root.update()
	return less, root
}

// merge joins two trees, of which all keys of a are smaller than those of b.
func merge[T any](a, b *Node[T]) *Node[T] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = merge(a.right, b)
		a.update()
		return a
	default:
		b.left = merge(a, b.left)
		b.update()
		return b
	}
}
