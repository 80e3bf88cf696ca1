package repocheck

import (
	"database/sql"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/jackc/puddle/v2"
)

// The page has a row for each name that a program on puddle can use, for the settings and
// statistics of database/sql, and for the settings of a dialer of gorilla.
func TestPeerNames(t *testing.T) {
	page, err := os.ReadFile("../../docs/coming-from-go.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{"NewPool": true, "ErrClosedPool": true, "ErrNotAvailable": true}
	fields := func(typ reflect.Type) {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				all[f.Name] = true
			}
		}
	}
	methods := func(typ reflect.Type, prefix string) {
		for i := range typ.NumMethod() {
			if name := typ.Method(i).Name; strings.HasPrefix(name, prefix) {
				all[name] = true
			}
		}
	}
	methods(reflect.TypeFor[*puddle.Pool[int]](), "")
	methods(reflect.TypeFor[*puddle.Resource[int]](), "")
	methods(reflect.TypeFor[*puddle.Stat](), "")
	fields(reflect.TypeFor[puddle.Config[int]]())
	methods(reflect.TypeFor[*sql.DB](), "Set")
	fields(reflect.TypeFor[sql.DBStats]())
	fields(reflect.TypeFor[websocket.Dialer]())
	if len(all) < 40 {
		t.Fatalf("%d names, want puddle's 30 and those of the others: %v", len(all), all)
	}
	for name := range all {
		named := false
		for row := range strings.Lines(string(page)) {
			theirs, _, ok := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
			named = named || ok && strings.HasPrefix(row, "| ") &&
				(strings.Contains(theirs, "`"+name+"`") || strings.Contains(theirs, "."+name+"`"))
		}
		if !named {
			t.Errorf("no row of the page begins with %s", name)
		}
	}
}
