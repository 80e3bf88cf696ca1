package wspool

import (
	"fmt"

	"github.com/respool/respool/internal/settings"
	"github.com/respool/respool/resource"
)

// settings returns what Inspect lists as the settings of the pool: of URL its scheme and
// host, of Subprotocols how many there are, and of the rest what package settings shows.
func (h *hub) settings() []resource.Setting {
	zero := Config{}.withDefaults()
	filled := h.cfg
	for _, c := range []*Config{&zero, &filled} {
		if c.SampleLeases == 0 {
			c.SampleLeases = resource.DefaultSampleLeases
			if c.Reclaim {
				c.SampleLeases = c.sampleLeases()
			}
		}
		if c.SweepInterval == 0 {
			c.SweepInterval = resource.DefaultSweepInterval
		}
	}
	fields := settings.Of(*h.given, filled, zero)
	all := make([]resource.Setting, len(fields))
	for i, f := range fields {
		switch f.Name {
		case "URL":
			if h.given.URL != "" {
				f.Value = shownTarget(h.given.URL)
			}
		case "ReadLimit":
			f.Value = byteCount(filled.ReadLimit)
		case "WriteFrameSize":
			f.Value = byteCount(int64(filled.WriteFrameSize))
		}
		all[i] = resource.Setting{Of: "wspool.Config", Name: f.Name, Value: f.Value, Default: f.Default}
	}
	return all
}

// byteCount writes n in the largest unit of which it is a multiple.
func byteCount(n int64) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
