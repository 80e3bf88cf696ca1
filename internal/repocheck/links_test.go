package repocheck

import "testing"

func TestLinksExamples(t *testing.T) {
	base := map[string]string{"docs/b.md": "## はい\n# Z\n### z #\n<a id=\"q\"></a>\n```\n# code\n```\n", "docs/p.png": "", "resource/doc.go": ""}
	with := func(text string) map[string]string { return map[string]string{"README.md": text} }
	try(t, links, base, []example{
		{name: "all there", files: with("[b](docs/b.md#z \"title\") ![p](./docs/p.png), [r][x] <img src=\"docs/p.png\">\n\n[x]: resource/\n")},
		{name: "not ours to check", files: with("[a](https://x.example/gone#part) [c](mailto:a@x.example) [d](//x.example/y)\n")},
		{name: "headings", files: with("# One: `a.B`, [c](docs/b.md) & d_e\n[1](#one-ab-c--d_e) [2](docs/b.md#z-1) [3](docs/b.md#%E3%81%AF%E3%81%84) [4](docs/b.md#q) [5](docs/#)\n")},
		{name: "code", files: with("`m[k](gone)`\n```go\nm[k](gone)\n```\n")},
		{name: "up and down", files: map[string]string{"docs/b.md": "[r](../resource/doc.go) [top](/docs/p.png)"}},
		{name: "gone", files: with("```\nx\n```\n[b](docs/c.md)\n[x]: docs/x.md\n<a href=\"gone\">\n[![p](docs/q.png)](docs/b.md)\n"),
			want: []string{
				"README.md:4: docs/c.md does not exist",
				"README.md:5: docs/x.md does not exist",
				"README.md:6: gone does not exist",
				"README.md:7: docs/q.png does not exist",
			}},
		{name: "no such heading", files: with("# A\n[1](#b) [2](docs/b.md#code) [3](docs/b.md#z-2) [4](resource/doc.go#L1) [5](docs/#z) [6](#A)\n"),
			want: []string{
				"README.md:2: #b does not exist",
				"README.md:2: docs/b.md#code does not exist",
				"README.md:2: docs/b.md#z-2 does not exist",
				"README.md:2: resource/doc.go#L1 does not exist",
				"README.md:2: docs/#z does not exist",
				"README.md:2: #A does not exist",
			}},
		{name: "relative to its own file", files: map[string]string{"docs/b.md": "[r](resource/doc.go)"},
			want: []string{"docs/b.md:1: resource/doc.go does not exist"}},
		{name: "out of the repository", files: with("[b](../x)"), want: []string{"README.md:1: ../x does not exist"}},
		{name: "nothing to look at", files: map[string]string{"docs/b.md": absent}, want: []string{"no Markdown file"}},
	})
}
