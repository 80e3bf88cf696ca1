package repocheck

import "testing"

func TestNamesExamples(t *testing.T) {
	const settings = "docs/settings.md"
	base := map[string]string{
		"resource/pool.go": "package resource\n\ntype Pool[T any] struct{ Size int }\n\nfunc (p *Pool[T]) Do() {}\n\n" +
			"type Asker interface{ Ask() }\n\nfunc New() {}\n\nconst A, B = 1, 2\n",
		"README.md":   "# x\n",
		"OTHER.md":    "`resource.Old`\n",
		"docs/d/x.md": "# z\n",
		settings:      "# y\n",
	}
	in := func(file, text string) map[string]string { return map[string]string{file: text} }
	const header = "| pool | here | differs |\n|---|---|---|\n"
	try(t, names, base, []example{
		{name: "all exist", files: in("README.md", "`resource.New`, `resource.Pool.Do(ctx)`, resource.Asker.Ask\n```\nresource.B\n```\n")},
		{name: "code that is compiled", files: in("README.md", "```go\nresource := x; resource.Old()\n```\n")},
		{name: "in another block", files: in("README.md", "```\nresource.Old\n```\n"), want: []string{"README.md:2: resource.Old does not exist"}},
		{name: "a field", files: in("README.md", "`resource.Pool.Size`, `resource.Pool[T].Size`\n")},
		{name: "third-party names", files: in("README.md", "`http.Nothing`, time.Never, Resource.New\n")},
		{name: "no such function", files: in("README.md", "\n`resource.Old(1)`\n"),
			want: []string{"README.md:2: resource.Old does not exist"}},
		{name: "no such member", files: in(settings, "resource.Pool.Ask and resource.Asker.Do\n"),
			want: []string{settings + ":1: resource.Pool.Ask does not exist", settings + ":1: resource.Asker.Do does not exist"}},
		{name: "below docs", files: in("docs/d/x.md", "resource.Old\n"), want: []string{"docs/d/x.md:1: resource.Old does not exist"}},
		{name: "rows", files: in(settings, header+"| `size` | `resource.Pool.Size` | |\n")},
		{name: "another table", files: in(settings, header+"| `size` | `resource.Pool.Size` | |\n\n| x | y |\n|---|---|\n| a | b |\n")},
		{name: "a row without a name", files: in(settings, header+"| `resource.New` | `size` | resource.New |\n"),
			want: []string{settings + ":3: the second column has no identifier of ours"}},
		{name: "no guide", files: map[string]string{"README.md": absent, settings: absent, "docs/d/x.md": absent}, want: []string{"no guide"}},
	})
}
