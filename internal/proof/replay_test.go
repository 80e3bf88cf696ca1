package proof_test

import "testing"

// Failures that random scripts have found, and find again only once in many thousands.
func TestReplay(t *testing.T) {
	ok := makePlan{how: "ok", watch: "quiet", destroy: "ok"}
	for name, s := range map[string]script{
		"a shrink satisfies Warm": {
			shape: shape{max: 2, makeTimeout: ms(30000), sweep: ms(10000)},
			makes: []makePlan{ok, {how: "ok", watch: "invalidates", destroy: "ok", dying: ms(5)}},
			ops:   []op{{kind: "warm", a: 2}, {kind: "shrink"}},
		},
		"nothing is lent that was checked when the pool closed": {
			shape: shape{max: 1, makeTimeout: ms(30000), sweep: ms(10000), health: "slow"},
			makes: []makePlan{ok},
			ops:   []op{{kind: "acquire"}, {kind: "close"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := prove(t, s, newReal[*thing]); err != nil {
				t.Error(err)
			}
		})
	}
}
