package fleet

// NewStoppable is New. Every step of the Quota's own goroutines waits in stopped first.
func NewStoppable(cfg Config, stopped func()) (*Quota, error) { return newQuota(cfg, stopped) }
