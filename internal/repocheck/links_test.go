package repocheck

import "testing"

func TestLinksExamples(t *testing.T) {
	base := map[string]string{"docs/b.md": "", "docs/p.png": "", "resource/doc.go": ""}
	with := func(text string) map[string]string { return map[string]string{"README.md": text} }
	try(t, links, base, []example{
		{name: "all there", files: with("[b](docs/b.md#part \"title\") ![p](./docs/p.png), [r][x] <img src=\"docs/p.png\">\n\n[x]: resource/\n")},
		{name: "not ours to check", files: with("[a](https://x.example/gone) [b](#part) [c](mailto:a@x.example) [d](//x.example/y)\n")},
		{name: "code", files: with("`m[k](gone)`\n```go\nm[k](gone)\n```\n")},
		{name: "up and down", files: map[string]string{"docs/b.md": "[r](../resource/doc.go) [top](/docs/p.png)"}},
		{name: "gone", files: with("```\nx\n```\n[b](docs/c.md)\n[x]: docs/x.md\n<a href=\"gone\">\n[![p](docs/q.png)](docs/b.md)\n"),
			want: []string{
				"README.md:4: docs/c.md does not exist",
				"README.md:5: docs/x.md does not exist",
				"README.md:6: gone does not exist",
				"README.md:7: docs/q.png does not exist",
			}},
		{name: "relative to its own file", files: map[string]string{"docs/b.md": "[r](resource/doc.go)"},
			want: []string{"docs/b.md:1: resource/doc.go does not exist"}},
		{name: "out of the repository", files: with("[b](../x)"), want: []string{"README.md:1: ../x does not exist"}},
		{name: "nothing to look at", files: map[string]string{"docs/b.md": absent}, want: []string{"no Markdown file"}},
	})
}
