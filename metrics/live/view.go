package live

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/respool/respool/resource"

	"github.com/respool/respool/metrics/internal/text"
)

// view is what a viewer sees. Viewers with one view share its frames.
type view struct {
	pool  string // "": the overview
	state string // of resources; "": any
	find  string
	sort  string
}

// Bounds of the texts of a query, in bytes. The name of a pool is shorter than maxName.
const (
	maxFind = 100
	maxName = 2 * maxText
)

// orders are the orders of resources: the largest first, but the smallest id.
var orders = map[string]func(a, b *resource.ResourceInfo) int{
	"id":     func(a, b *resource.ResourceInfo) int { return cmp.Compare(a.ID, b.ID) },
	"age":    func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Age, a.Age) },
	"idle":   func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Idle, a.Idle) },
	"held":   func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Held, a.Held) },
	"leases": func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Leases, a.Leases) },
}

var states = []string{"", "idle", "leased", "checking", "invalidated"}

// parseView reads a query. The error names every bad value.
func parseView(q url.Values) (view, error) {
	v := view{pool: q.Get("pool"), state: q.Get("state"), find: q.Get("find"), sort: q.Get("sort")}
	var bad []error
	if !slices.Contains(states, v.state) {
		bad = append(bad, errors.New("state must be idle, leased, checking or invalidated"))
	}
	if v.sort == "" {
		v.sort = "id"
	}
	if orders[v.sort] == nil {
		bad = append(bad, errors.New("sort must be id, age, idle, held or leases"))
	}
	if len(v.pool) > maxName {
		bad = append(bad, fmt.Errorf("pool has %d bytes, over %d", len(v.pool), maxName))
	}
	if len(v.find) > maxFind || !utf8.ValidString(v.find) {
		bad = append(bad, fmt.Errorf("find is over %d bytes, or not UTF-8", maxFind))
	}
	return v, errors.Join(bad...)
}

// resources returns the first limit resources of the view, and the number of resources
// in the view. It does not change all, which other views use.
func (v view) resources(all []resource.ResourceInfo, limit int) (shown []*resource.ResourceInfo, matched int) {
	l := v.search()
	for i := range all {
		if v.in(&all[i]) && l.finds(&all[i]) {
			shown = append(shown, &all[i])
		}
	}
	by := orders[v.sort]
	slices.SortFunc(shown, func(a, b *resource.ResourceInfo) int {
		return cmp.Or(by(a, b), cmp.Compare(a.ID, b.ID))
	})
	return shown[:min(limit, len(shown))], len(shown)
}

// in reports whether r is in the state of the view.
func (v view) in(r *resource.ResourceInfo) bool {
	switch v.state {
	case "":
		return true
	case "invalidated":
		return r.Invalidated != nil
	}
	return r.State.String() == v.state
}

// search is a search text, prepared once for many resources.
type search struct {
	text  string // in lower case
	id    uint64
	hasID bool
}

func (v view) search() search {
	id, err := strconv.ParseUint(v.find, 10, 64)
	return search{strings.ToLower(v.find), id, err == nil}
}

func (l search) finds(r *resource.ResourceInfo) bool {
	return l.text == "" || l.hasID && r.ID == l.id ||
		strings.Contains(strings.ToLower(r.Detail), l.text) || strings.Contains(r.State.String(), l.text) ||
		r.Invalidated != nil && strings.Contains(strings.ToLower(text.Of(r.Invalidated)), l.text)
}

// contains ignores case.
func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
