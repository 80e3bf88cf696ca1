package repocheck

import "testing"

// code returns a package that imports these paths, from its third line on.
func code(imports ...string) string {
	text := "package p\n\n"
	for _, path := range imports {
		text += "import _ \"" + path + "\"\n"
	}
	return text
}

func TestImportsExamples(t *testing.T) {
	base := map[string]string{
		"resource/a.go": code("context", "github.com/jackc/puddle/v2", "golang.org/x/sync/semaphore", module+"/resource/sub"),
		"wspool/a.go":   code("net/http", "github.com/gorilla/websocket", module+"/resource", module+"/internal/clock"),

		"internal/clock/a.go": code("time"),
	}
	try(t, imports, base, []example{
		{name: "permitted imports"},
		{name: "no resource", files: map[string]string{"resource/a.go": absent},
			want: []string{"resource: no such package"}},
		{name: "no wspool", files: map[string]string{"wspool/a.go": absent},
			want: []string{"wspool: no such package"}},
		{name: "tests are exempt", files: map[string]string{"resource/a_test.go": code("pgregory.net/rapid", module+"/wspool")}},
		{name: "resource imports wspool", files: map[string]string{"resource/b.go": code("io", module+"/wspool")},
			want: []string{"resource/b.go:4: resource must not import " + module + "/wspool"}},
		{name: "resource imports policy", files: map[string]string{"resource/sub/b.go": code(module + "/policy")},
			want: []string{"resource/sub/b.go:3: resource must not import " + module + "/policy"}},
		{name: "resource imports metrics", files: map[string]string{"resource/b.go": code(module + "/metrics/prom")},
			want: []string{"resource/b.go:3: resource must not import " + module + "/metrics/prom"}},
		{name: "resource imports a library", files: map[string]string{"resource/b.go": code("github.com/gorilla/websocket")},
			want: []string{"resource/b.go:3: resource must not import github.com/gorilla/websocket"}},
		{name: "a longer name is another library", files: map[string]string{"resource/b.go": code("github.com/jackc/puddle/v22")},
			want: []string{"resource/b.go:3: resource must not import github.com/jackc/puddle/v22"}},
		{name: "through internal", files: map[string]string{
			"resource/b.go":      code(module + "/internal/x"),
			"internal/x/x.go":    code(module + "/internal/y"),
			"internal/y/y.go":    code("github.com/gorilla/websocket", module+"/internal/x"),
			"internal/none/n.go": code("github.com/gorilla/websocket"),
		}, want: []string{"internal/y/y.go:3: resource must not import github.com/gorilla/websocket"}},
		{name: "resource imports a harness", files: map[string]string{"resource/b.go": code(module + "/internal/bench/peers")},
			want: []string{"resource/b.go:3: resource must not import " + module + "/internal/bench/peers"}},
		{name: "policy", files: map[string]string{"policy/a.go": code("sort", module+"/resource")}},
		{name: "policy imports wspool", files: map[string]string{"policy/a.go": code(module + "/wspool")},
			want: []string{"policy/a.go:3: policy must not import " + module + "/wspool"}},
		{name: "wspool imports policy", files: map[string]string{"wspool/b.go": code(module + "/policy")},
			want: []string{"wspool/b.go:3: wspool must not import " + module + "/policy"}},
		{name: "wspool imports puddle", files: map[string]string{"wspool/b.go": code("github.com/jackc/puddle/v2")},
			want: []string{"wspool/b.go:3: wspool must not import github.com/jackc/puddle/v2"}},
		{name: "metrics imports a vendor", files: map[string]string{"metrics/a.go": code("vendor.example/x")},
			want: []string{"metrics/a.go:3: metrics must not import vendor.example/x"}},
		{name: "a module in metrics imports a vendor", files: map[string]string{
			"metrics/v/go.mod": "module " + module + "/metrics/v\n",
			"metrics/v/a.go":   code("vendor.example/x", module+"/metrics", module+"/resource"),
		}},
		{name: "a module in metrics imports wspool", files: map[string]string{
			"metrics/v/go.mod": "module " + module + "/metrics/v\n",
			"metrics/v/a.go":   code(module + "/wspool"),
		}, want: []string{"metrics/v/a.go:3: metrics must not import " + module + "/wspool"}},
		{name: "internal imports wspool", files: map[string]string{"internal/x/a.go": code(module + "/wspool")},
			want: []string{"internal/x/a.go:3: internal must not import " + module + "/wspool"}},
		{name: "harnesses and examples are unrestricted", files: map[string]string{
			"internal/bench/a.go":      code("peer.example/x", module+"/wspool"),
			"internal/proof/a.go":      code("peer.example/x", module+"/policy"),
			"examples/quickstart/a.go": code("peer.example/x", module+"/wspool", module+"/internal/clock"),
		}},
		{name: "no import of examples", files: map[string]string{"wspool/b.go": code(module + "/examples/quickstart")},
			want: []string{"wspool/b.go:3: wspool must not import " + module + "/examples/quickstart"}},
		{name: "a package in no layer", files: map[string]string{"util/a.go": code(), "a.go": code()},
			want: []string{".: package is in no layer", "util: package is in no layer"}},
		{name: "not Go", files: map[string]string{"wspool/b.go": "package"},
			want: []string{"wspool/b.go:1:8: expected 'IDENT', found 'EOF'"}},
	})
}
