package repocheck

import "testing"

func TestNamesExamples(t *testing.T) {
	base := map[string]string{
		"resource/pool.go": "package resource\n\ntype Pool[T any] struct{ Size int }\n\nfunc (p *Pool[T]) Do() {}\n\n" +
			"type Asker interface{ Ask() }\n\nfunc New() {}\n\nconst A, B = 1, 2\n",
		"README.md": "# x\n",
		settings:    "# y\n",
	}
	for _, guide := range guides {
		if base[guide] == "" {
			base[guide] = "# z\n"
		}
	}
	in := func(file, text string) map[string]string { return map[string]string{file: text} }
	try(t, names, base, []example{
		{name: "all exist", files: in("README.md", "`resource.New`, `resource.Pool.Do(ctx)`, resource.Asker.Ask\n```go\np := resource.Pool[int]{}; resource.B\n```\n")},
		{name: "a field", files: in("README.md", "`resource.Pool.Size`, `resource.Pool[T].Size`\n")},
		{name: "third-party names", files: in("README.md", "`http.Nothing`, time.Never, Resource.New\n")},
		{name: "no such function", files: in("README.md", "\n`resource.Old(1)`\n"),
			want: []string{"README.md:2: resource.Old does not exist"}},
		{name: "no such member", files: in(settings, "resource.Pool.Ask and resource.Asker.Do\n"),
			want: []string{settings + ":1: resource.Pool.Ask does not exist", settings + ":1: resource.Asker.Do does not exist"}},
		{name: "rows", files: in(settings, "| pool | here | differs |\n|---|---|---|\n| `size` | `resource.Pool.Size` | |\n")},
		{name: "a row without a name", files: in(settings, "| pool | here | differs |\n|---|---|---|\n| `resource.New` | `size` | resource.New |\n"),
			want: []string{settings + ":3: the second column has no identifier of ours"}},
		{name: "no README", files: in("README.md", absent), want: []string{"open README.md: file does not exist"}},
	})
}
