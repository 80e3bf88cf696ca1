package suite

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// A machine is what the figures were found on.
type machine struct {
	CPU        string `json:"cpu"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	System     string `json:"system"`
	Load       string `json:"load,omitempty"` // averages at the end, where the system tells
}

func describeMachine() machine {
	info, _ := os.ReadFile("/proc/cpuinfo") // elsewhere there is none
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

// cpuModel finds the name of the processor in what Linux tells.
func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, GOMAXPROCS %d, %s %s", m.CPU, m.GOMAXPROCS, m.Go, m.System)
	if m.Load != "" {
		s += ", load averages " + m.Load
	}
	return s
}
