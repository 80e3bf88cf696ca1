package live

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/respool/respool/resource"

	"github.com/respool/respool/metrics/internal/text"
)

// view is what one viewer wants to see. Viewers with one view share its bytes.
type view struct {
	pool  string // "": all pools at a glance
	state string // of resources; "": any
	find  string
	sort  string
}

// What bounds texts of a query, in bytes. No name of a pool is as long as maxName.
const (
	maxFind = 100
	maxName = 2 * maxText
)

// orders are how resources can be sorted: what the reader looks for comes
// first, the largest of all but ids.
var orders = map[string]func(a, b *resource.ResourceInfo) int{
	"id":     func(a, b *resource.ResourceInfo) int { return cmp.Compare(a.ID, b.ID) },
	"age":    func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Age, a.Age) },
	"idle":   func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Idle, a.Idle) },
	"held":   func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Held, a.Held) },
	"leases": func(a, b *resource.ResourceInfo) int { return cmp.Compare(b.Leases, a.Leases) },
}

var states = []string{"", "idle", "leased", "checking", "invalidated"}

// parseView reads a query. The error names everything that is wrong with it.
func parseView(q url.Values) (view, error) {
	v := view{pool: q.Get("pool"), state: q.Get("state"), find: q.Get("find"), sort: q.Get("sort")}
	var bad []error
	if !slices.Contains(states, v.state) {
		bad = append(bad, errors.New("state is none of idle, leased, checking, invalidated"))
	}
	if v.sort == "" {
		v.sort = "id"
	}
	if orders[v.sort] == nil {
		bad = append(bad, errors.New("sort is none of id, age, idle, held, leases"))
	}
	if len(v.pool) > maxName {
		bad = append(bad, errors.New("pool is longer than any"))
	}
	if len(v.find) > maxFind || !utf8.ValidString(v.find) {
		bad = append(bad, errors.New("find is over 100 bytes, or not UTF-8"))
	}
	return v, errors.Join(bad...)
}

// resources returns the resources of the view, the first limit of them, and how
// many there are. It leaves all as it is, for other views.
func (v view) resources(all []resource.ResourceInfo, limit int) (shown []*resource.ResourceInfo, matched int) {
	l := v.looked()
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

// in reports that r is in the state of the view.
func (v view) in(r *resource.ResourceInfo) bool {
	switch v.state {
	case "":
		return true
	case "invalidated":
		return r.Invalidated != nil
	}
	return r.State.String() == v.state
}

// looked is what is looked for, made ready once for many resources.
type looked struct {
	text  string // in lower case
	id    uint64
	hasID bool
}

func (v view) looked() looked {
	id, err := strconv.ParseUint(v.find, 10, 64)
	return looked{strings.ToLower(v.find), id, err == nil}
}

func (l looked) finds(r *resource.ResourceInfo) bool {
	return l.text == "" || l.hasID && r.ID == l.id ||
		strings.Contains(strings.ToLower(r.Detail), l.text) || strings.Contains(r.State.String(), l.text) ||
		r.Invalidated != nil && strings.Contains(strings.ToLower(text.Of(r.Invalidated)), l.text)
}

// contains passes over case.
func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
