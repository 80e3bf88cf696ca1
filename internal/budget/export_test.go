package budget

import "fmt"

// Missing is how many things must give way.
func (b *Budget) Missing() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missing()
}

// Coming is how many places are on their way back.
func (b *Budget) Coming() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dying.coming()
}

// Held is how many places s has.
func (s *Share) Held() int {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.held
}

// Patient reports whether s claims for nobody who waits.
func (s *Share) Patient() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.patient
}

// Audit says what does not add up, if all are all members.
func (b *Budget) Audit(all []*Share) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	used, dying, needed, bare, lines, idle := 0, 0, 0, 0, 0, 0
	spared := make(map[*Share]bool)
	for _, s := range b.spared {
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
		if _, dry := b.dry[s]; s.inIdle >= 0 {
			idle++
			if dry {
				return fmt.Errorf("member %d is dry and may have something idle", i)
			}
		} else if s.held > 0 && !dry && !spared[s] {
			return fmt.Errorf("member %d holds %d and is never asked", i, s.held)
		}
		if s.claim > 0 != (s.inLine >= 0) || s.inLine >= 0 && b.claims[s.inLine] != s ||
			s.inIdle >= 0 && b.idlers[s.inIdle] != s {
			return fmt.Errorf("member %d is not where it should be", i)
		}
	}
	if used != b.used || dying != b.dying.coming()+b.dying.stuck || needed != b.needed || bare != b.bare ||
		lines != len(b.claims) || idle != len(b.idlers) || b.dying.stuck < 0 {
		return fmt.Errorf("used %d of %d counted, dying %d+%d of %d, needed %d of %d, bare %d of %d",
			b.used, used, b.dying.coming(), b.dying.stuck, dying, b.needed, needed, b.bare, bare)
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
	if len(b.dry) > 0 && !b.scarce.Load() {
		return fmt.Errorf("%d members are thought to offer, and need not", len(b.dry))
	}
	return nil
}
