package museum

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/respool/respool/internal/bench/peer"
)

// abreast is how many exhibits that mostly wait run at a time.
const abreast = 6

// A Table is what all exhibits found on all pools.
type Table struct {
	Pools []string `json:"pools"`
	Rows  []Row    `json:"rows"`
}

// A Row is one exhibit.
type Row struct {
	Name   string             `json:"name"`
	What   string             `json:"what"`
	Issues []string           `json:"issues,omitempty"`
	Cells  map[string]Finding `json:"cells"` // by pool; none: nothing was found out
}

// Tour runs every exhibit on every one of kinds, and tells progress how far it
// is. The program must begin with [Child], of the same kinds at least. Its
// error names what could not be found out; the Table has the rest.
func Tour(ctx context.Context, kinds []peer.Kind, progress io.Writer) (Table, error) {
	return tour(ctx, Exhibits(), kinds, progress)
}

// A visit is one exhibit on one pool.
type visit struct {
	exhibit Exhibit
	kind    peer.Kind
	row     *Row
}

func tour(ctx context.Context, exhibits []Exhibit, kinds []peer.Kind, progress io.Writer) (Table, error) {
	t := Table{Rows: make([]Row, len(exhibits))}
	for _, k := range kinds {
		t.Pools = append(t.Pools, k.Name)
	}
	var quiet, alone []visit
	for i, e := range exhibits {
		row := &t.Rows[i]
		*row = Row{Name: e.Name, What: e.What, Issues: e.Issues, Cells: map[string]Finding{}}
		for _, k := range kinds {
			if e.alone {
				alone = append(alone, visit{e, k, row})
			} else {
				quiet = append(quiet, visit{e, k, row})
			}
		}
	}
	err := visitAll(ctx, quiet, abreast, progress)
	return t, errors.Join(err, visitAll(ctx, alone, 1, progress))
}

// visitAll makes the visits, at most n at a time.
func visitAll(ctx context.Context, visits []visit, n int, progress io.Writer) error {
	var mu sync.Mutex // of what is below, the rows, and progress
	var errs []error
	var all sync.WaitGroup
	places := make(chan struct{}, n)
	for _, v := range visits {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			f, err := v.exhibit.run(ctx, v.kind)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s on %s: %w", v.exhibit.Name, v.kind.Name, err))
				fmt.Fprintf(progress, "museum: %v\n", errs[len(errs)-1])
				return
			}
			v.row.Cells[v.kind.Name] = f
			fmt.Fprintf(progress, "museum: %s on %s %s: %s\n", v.exhibit.Name, v.kind.Name, f.Verdict, f.Seen)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
