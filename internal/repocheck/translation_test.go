package repocheck

import "testing"

func TestTranslatedExamples(t *testing.T) {
	const en, ja = "README.md", "README.ja.md"
	base := map[string]string{
		en: "# x\n\nUse `a` or `b`, see [c](d.md): 1.5 of 20.\n\n```go\nfunc()\n```\n\n## y\n\n* one of 3\n\n| 1,000 | `z` |\n",
		ja: "# x\n\n[英語](README.md)。20 のうち 1.5: [い](d.md)の `b` か `a`。\n\n```go\nfunc()\n```\n\n## わ\n\n* 3 の 1 つ\n\n| 1,000 | `z` |\n",
	}
	base[en] = "# x\n\nUse `a` or `b`, see [c](d.md): 1.5 of 20.\n\n```go\nfunc()\n```\n\n## y\n\n* 1 of 3\n\n| 1,000 | `z` |\n"
	in := func(text string) map[string]string { return map[string]string{ja: text} }
	try(t, translated, base, []example{
		{name: "in step"},
		{name: "another block", files: in("# x\n\n20, 1.5: [い](d.md) `b` `a`\n\n```go\ngo()\n```\n\n## わ\n\n* 3, 1\n\n| 1,000 | `z` |\n"),
			want: []string{ja + `:1: blocks of code differ from README.md: lacks ["go\nfunc()\n"], has ["go\ngo()\n"]`}},
		{name: "an old figure and a lost link", files: in("# x\n\n20, 1.4 `b` `a`\n\n```go\nfunc()\n```\n\n## わ\n\n* 3, 1\n\n| 1,000 | `z` |\n"),
			want: []string{ja + `:1: links differ from README.md: lacks ["d.md"], has []`, ja + `:1: figures differ from README.md: lacks ["1.5"], has ["1.4"]`}},
		{name: "other code, a bullet less", files: in("# x\n\n20, 1.5: [い](d.md) `b` `a`\n\n```go\nfunc()\n```\n\n## わ\n\n3, 1\n\n| 1,000 | `y` |\n"),
			want: []string{ja + ":9: code differ from README.md: lacks [\"`z`\"], has [\"`y`\"]", ja + `:9: bullets and rows differ from README.md: lacks ["* "], has []`}},
		{name: "a section less", files: in("# x\n"), want: []string{ja + ": 2 sections, README.md has 3"}},
		{name: "another level", files: in("# x\n\n20, 1.5: [い](d.md) `b` `a`\n\n```go\nfunc()\n```\n\n### わ\n\n* 3, 1\n\n| 1,000 | `z` |\n"),
			want: []string{ja + `:9: headings differ from README.md: lacks ["##"], has ["###"]`}},
		{name: "no translation", files: in(absent), want: []string{"open README.ja.md: file does not exist"}},
	})
}
