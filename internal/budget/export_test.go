package budget

import "fmt"

// Missing returns how many resources must give way.
func (b *Budget) Missing() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missingLocked()
}

// Coming returns how many slots are about to be freed.
func (b *Budget) Coming() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dying.expected()
}

// Held returns how many slots s has.
func (s *Share) Held() int {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.held
}

// Patient reports whether the claim of s is patient.
func (s *Share) Patient() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.patient
}

// Audit checks the internal consistency of the budget. all must be all its members.
func (b *Budget) Audit(all []*Share) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	used, dying, needed, bare, lines, idle := 0, 0, 0, 0, 0, 0
	spared := make(map[*Share]bool)
	for _, s := range b.exempt {
		spared[s] = true
	}
	for i, s := range all {
		used, dying, needed = used+s.held, dying+s.dying, needed+s.claim
		if _, ends := b.ending[s]; s.stuck < 0 || s.stuck > s.dying || ends != (s.stuck < s.dying) {
			return fmt.Errorf("member %d has %d dying and %d stuck, and is looked at: %t", i, s.dying, s.stuck, ends)
		}
		if s.held < 0 || s.dying < 0 || s.dying > s.held || s.claim < 0 {
			return fmt.Errorf("member %d holds %d, of which %d are dying, and claims %d", i, s.held, s.dying, s.claim)
		}
		if s.claim > 0 {
			lines++
			if s.held == s.stuck && !s.patient {
				bare++
			}
		}
		if _, dry := b.noIdle[s]; s.idleIndex >= 0 {
			idle++
			if dry {
				return fmt.Errorf("member %d is in noIdle and in idlers", i)
			}
		} else if s.held > 0 && !dry && !spared[s] {
			return fmt.Errorf("member %d holds %d and is never asked", i, s.held)
		}
		if s.claim > 0 != (s.claimIndex >= 0) || s.claimIndex >= 0 && b.claims[s.claimIndex] != s ||
			s.idleIndex >= 0 && b.idlers[s.idleIndex] != s {
			return fmt.Errorf("member %d has a wrong index", i)
		}
	}
	if used != b.used || dying != b.dying.expected()+b.dying.stuck || needed != b.needed || bare != b.emptyHanded ||
		lines != len(b.claims) || idle != len(b.idlers) || b.dying.stuck < 0 {
		return fmt.Errorf("used %d of %d counted, dying %d+%d of %d, needed %d of %d, bare %d of %d",
			b.used, used, b.dying.expected(), b.dying.stuck, dying, b.needed, needed, b.emptyHanded, bare)
	}
	for i := range b.claims {
		if i > 0 && b.claims.Less(i, (i-1)/2) {
			return fmt.Errorf("claimant %d is out of order", i)
		}
	}
	for i := range b.idlers {
		if i > 0 && b.idlers.Less(i, (i-1)/2) {
			return fmt.Errorf("idler %d is out of order", i)
		}
	}
	if len(b.noIdle) > 0 && !b.scarce.Load() {
		return fmt.Errorf("%d members in noIdle without scarcity", len(b.noIdle))
	}
	return nil
}
