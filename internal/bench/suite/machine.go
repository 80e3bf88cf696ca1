package suite

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// A machine is where the figures were measured.
type machine struct {
	CPU        string `json:"cpu"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	System     string `json:"system"`
	Load       string `json:"load,omitempty"` // load averages at the start; only Linux has them
}

func describeMachine() machine {
	info, _ := os.ReadFile("/proc/cpuinfo") // only on Linux
	load, _ := os.ReadFile("/proc/loadavg")
	m := machine{
		CPU: cpuModel(string(info)), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if f := strings.Fields(string(load)); len(f) >= 3 {
		m.Load = strings.Join(f[:3], " ")
	}
	return m
}

// cpuModel finds the name of the processor in /proc/cpuinfo.
func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// busyShare is the share of the processors that other programs may use, as a load
// average, in a run whose figures are worth a report.
const busyShare = 0.75

// busy says whether the load average of the last minute is too high to measure.
func (m machine) busy() bool {
	var last float64
	_, err := fmt.Sscan(m.Load, &last)
	return err == nil && last > busyShare*float64(m.GOMAXPROCS)
}

// like says whether figures of both can stand in one table.
func (m machine) like(o machine) bool {
	m.Load, o.Load = "", ""
	return m == o
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, GOMAXPROCS %d, %s %s", m.CPU, m.GOMAXPROCS, m.Go, m.System)
	if m.Load != "" {
		s += ", load averages " + m.Load
	}
	return s
}

var compared = regexp.MustCompile(`^vitess.io/vitess$|/(websocket|pgx/v5|puddle/v2|go-commons-pool/v2|go-redis/v9)$`)

// versions are those of the compared modules and of puddle below respool.
func versions() (out []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, m := range info.Deps {
		if compared.MatchString(m.Path) {
			out = append(out, m.Path+" "+m.Version)
		}
	}
	return out
}
