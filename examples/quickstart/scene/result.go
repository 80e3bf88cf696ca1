package scene

import (
	"slices"
	"time"
)

// result is what -json prints and the table shows. Latencies are milliseconds.
type result struct {
	Setting     settingResult      `json:"setting"`
	Pool        *half              `json:"pool"` // warmed; null: not begun
	Cold        *half              `json:"cold"` // one utterance of each client through a pool that was not warmed
	Dial        *half              `json:"dial"`
	Ratio       map[string]float64 `json:"ratio,omitempty"` // pool / dial
	Burst       *burst             `json:"burst"`
	Interrupted bool               `json:"interrupted"`
	Problems    []string           `json:"problems,omitempty"`
	OK          bool               `json:"ok"`
	Exit        int                `json:"exit"`
}

type settingResult struct {
	Clients          int     `json:"clients"`
	Utterances       int     `json:"utterances"`
	Chunks           int     `json:"chunks"`
	ChunkBytes       int     `json:"chunk_bytes"`
	Size             int     `json:"size"`
	Server           string  `json:"server"`             // "embedded" or the address without its query
	HandshakeDelayMS float64 `json:"handshake_delay_ms"` // simulated; 0 with another server
	InferenceDelayMS float64 `json:"inference_delay_ms"` // simulated; 0 with another server
	TLS              bool    `json:"tls"`
	Seed             uint32  `json:"seed"`
}

// half is the result of one side.
type half struct {
	Asked     int     `json:"asked"`   // utterances begun
	Replies   int     `json:"replies"` // right ones
	Wrong     int     `json:"wrong"`
	Lost      int     `json:"lost"`
	Refused   int     `json:"refused"`
	Unchecked int     `json:"unchecked"` // of the right ones: they name no utterance
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"utterances_per_second"`
	P50       float64 `json:"p50_ms"`
	P95       float64 `json:"p95_ms"`
	P99       float64 `json:"p99_ms"`
	Dials     int64   `json:"dials"`
	Waits     int64   `json:"waits"` // for a connection of the pool
	HeapPeak  uint64  `json:"heap_peak_bytes"`
	Allocated uint64  `json:"allocated_bytes"`

	// What the embedded server counted; null with another server.
	PeakConnections *int64 `json:"peak_connections"`
	Accepted        *int64 `json:"accepted_connections"`
	Answered        *int64 `json:"answered_utterances"`
}

// sum adds up the results of the clients of one half.
func sum(all []*client, took time.Duration) (*half, error) {
	h := &half{Seconds: took.Seconds()}
	var err error
	var latencies []time.Duration
	for _, c := range all {
		h.Asked += c.asked
		h.Replies += c.right
		h.Wrong += c.wrong
		h.Lost += c.lost
		h.Refused += c.refused
		h.Unchecked += c.unchecked
		latencies = append(latencies, c.latencies...)
		if err == nil {
			err = c.err
		}
	}
	h.PerSecond = float64(h.Replies) / took.Seconds()
	slices.Sort(latencies)
	h.P50, h.P95, h.P99 = percentile(latencies, 50), percentile(latencies, 95), percentile(latencies, 99)
	return h, err
}

// percentile returns, in milliseconds, the smallest latency that p percent of them do
// not exceed.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return milliseconds(sorted[max(rank, 1)-1])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratios compares the halves, where both have a figure.
func ratios(pool, dial *half) map[string]float64 {
	m := map[string]float64{}
	add := func(name string, p, d float64) {
		if p > 0 && d > 0 {
			m[name] = p / d
		}
	}
	add("utterances_per_second", pool.PerSecond, dial.PerSecond)
	add("p50_ms", pool.P50, dial.P50)
	add("p95_ms", pool.P95, dial.P95)
	add("p99_ms", pool.P99, dial.P99)
	add("dials", float64(pool.Dials), float64(dial.Dials))
	add("heap_peak_bytes", float64(pool.HeapPeak), float64(dial.HeapPeak))
	add("allocated_per_utterance", pool.perUtterance(), dial.perUtterance())
	if pool.PeakConnections != nil && dial.PeakConnections != nil {
		add("peak_connections", float64(*pool.PeakConnections), float64(*dial.PeakConnections))
	}
	return m
}

// perUtterance returns how many bytes were allocated for each utterance.
func (h *half) perUtterance() float64 {
	if h.Asked == 0 {
		return 0
	}
	return float64(h.Allocated) / float64(h.Asked)
}
