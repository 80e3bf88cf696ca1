package proof_test

import (
	"errors"

	"github.com/respool/respool/resource"
)

// open creates the pool described by the script.
func (d *drive) open(make newPool[*thing]) (err error) {
	c := d.script.shape
	cfg := resource.Config[*thing]{
		Make: d.world.make, Destroy: d.destroy, Watch: d.watch,
		MaxSize: c.max, MinIdle: c.minIdle, MakeTimeout: c.makeTimeout, SweepInterval: c.sweep,
		Order: c.order, Outage: c.outage,
	}
	policy := func(on bool, name string, plan []verdict) *permits {
		if !on {
			return nil
		}
		p := &permits{name: name, plan: plan, complain: d.locked, exits: name != "admission"}
		if p.exits {
			p.onAsk = d.asks
		}
		return p
	}
	if d.admits = policy(c.admission, "admission", d.script.admits); d.admits != nil {
		d.admits.onAnswer = d.admission
		cfg.Admission = d.admits
	}
	if d.gate = policy(c.gate, "make gate", d.script.gates); d.gate != nil {
		cfg.MakeGate = d.gate
	}
	if d.quota = policy(c.quota, "quota", d.script.quotas); d.quota != nil {
		cfg.Quota = d.quota
	}
	d.asking = func() (n int) {
		for _, p := range []*permits{d.gate, d.quota} {
			if p != nil {
				n += int(p.asking.Load())
			}
		}
		return n
	}
	switch {
	case c.eviction == "":
	case c.predicted:
		cfg.Eviction = predicted{eviction(c.eviction)}
	default:
		cfg.Eviction = eviction(c.eviction)
	}
	if c.health != "" {
		d.health = &health{w: d.world, kind: c.health}
		cfg.Health = d.health
	}
	if c.queue != "" {
		cfg.Queue = &order{w: d.world, plan: d.script.queries}
	}
	if c.brokenAsks {
		cfg.Broken = broken
	}
	d.pool, err = make(cfg)
	return err
}

var (
	errBroken = errors.New("planned broken thing")
	errMild   = errors.New("planned mild error")
	errWild   = errors.New("planned error that Broken panics about")
)

func broken(err error) bool {
	if errors.Is(err, errWild) {
		panic("planned panic in Broken")
	}
	return errors.Is(err, errBroken)
}
