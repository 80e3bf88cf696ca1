package budget

// claimHeap is the members who claim, the next to be served first.
type claimHeap []*Share

func (h claimHeap) Len() int { return len(h) }
func (h claimHeap) Less(i, j int) bool {
	if h[i].patient != h[j].patient {
		return h[j].patient
	}
	if a, b := h[i].has(), h[j].has(); a != b {
		return a < b
	}
	return h[i].since < h[j].since
}

// other returns who of those that are not s is to be served next; nil if there
// is nobody else.
func (h claimHeap) other(s *Share) *Share {
	switch {
	case len(h) == 0 || len(h) == 1 && h[0] == s:
		return nil
	case h[0] != s:
		return h[0]
	case len(h) == 2 || h.Less(1, 2):
		return h[1]
	}
	return h[2]
}
func (h claimHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].inLine, h[j].inLine = i, j
}
func (h *claimHeap) Push(x any) {
	s := x.(*Share)
	s.inLine = len(*h)
	*h = append(*h, s)
}
func (h *claimHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.inLine = -1
	return s
}

// idleHeap is the members who may have something idle, by since when at most
// some of it is. What a member uses in the meantime is found out when it comes
// first.
type idleHeap []*Share

func (h idleHeap) Len() int { return len(h) }
func (h idleHeap) Less(i, j int) bool {
	if h[i].oldest != h[j].oldest {
		return h[i].oldest < h[j].oldest
	}
	return h[i].asked < h[j].asked
}
func (h idleHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].inIdle, h[j].inIdle = i, j
}
func (h *idleHeap) Push(x any) {
	s := x.(*Share)
	s.inIdle = len(*h)
	*h = append(*h, s)
}
func (h *idleHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.inIdle = -1
	return s
}
