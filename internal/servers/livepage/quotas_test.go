package livepage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// quotas are shared quotas: one that is well and one with everything wrong.
func quotas(name string) []resource.SharedQuota {
	return []resource.SharedQuota{
		{
			Name: "model", Holder: "h1", Mode: "local share", Granted: 6, Held: 5, Want: 9, Target: 6, Limit: 24, Highest: 24, Total: 24,
			Holders: 4, Waiting: 3, Closed: 1, Operations: 12_345,
		},
		{
			Name: name, Holder: "h2", Mode: "fail closed", Granted: 4, Held: 7, Want: 12, Target: 5, Limit: 20, Highest: 30, Total: 23,
			Holders: 5, Learning: true, Lost: 95 * time.Second, LostCause: errors.New("dial tcp 192.0.2.7:6379: connect: connection refused"),
			Over: 3, OverTotal: 11, Closed: 2, Operations: 900, Failed: 40,
		},
	}
}

// card is the text of the card of the quota with that index; flags are those of its head.
const (
	card  = `document.querySelectorAll("#quotas .quota")[%d].innerText.replace(/\s+/g, " ")`
	flags = `[...document.querySelectorAll("#quotas .quota")[%d].querySelectorAll(".flag")].map((e) => e.textContent).join("; ")`
)

// Each shared quota has a card with its figures, which says what is wrong; the overview says
// it too. A pool without quotas has no such section.
func TestQuotas(t *testing.T) {
	b := open(t)
	m := telling("shared")
	h := showing(t, m, telling("alone"))
	b.do(chromedp.Navigate(h.at("?pool=alone")))
	b.until(`document.querySelector("#quotas")?.hidden === true`)
	m.tell(func(s *metrics.Snapshot) { s.Quotas = quotas("account") })
	b.do(chromedp.Navigate(h.at("?pool=shared")))
	b.until(`document.querySelectorAll("#quotas .quota").length === 2`)
	for i, want := range [][]string{
		{"model", "5 held", "1 free here", "18 others", "of 24", "granted 6", "fair share 6", "wanted 9", "waiting 3", "processes 4", "limit 24",
			"beyond the grant 0", "closed 1", "operations 12,345", "if lost local share"},
		{"account", "7 held", "0 free here", "19 others", "of 20", "granted 4", "limit 20 to 30", "beyond the grant 3, 11 in all", "operations 900, 40 failed",
			"No claim of this process has been answered for 1 min 35 s, so it does what its mode says (fail closed). The last error: dial tcp 192.0.2.7:6379: connect: connection refused."},
	} {
		got := eval[string](b, fmt.Sprintf(card, i))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q is not in %q", w, got)
			}
		}
	}
	if got := eval[string](b, fmt.Sprintf(flags, 0)); got != "" {
		t.Errorf("a quota that is well has the flags %q", got)
	}
	const wrong = "engine lost for 1 min 35 s; 3 beyond the grant; 23 of 20 granted; engine learning; limits disagree"
	if got := eval[string](b, fmt.Sprintf(flags, 1)); got != wrong {
		t.Errorf("the flags are %q, want %q", got, wrong)
	}
	inHead := `[...document.querySelectorAll(".head .flag")].map((e) => e.textContent).join("; ")`
	inRow := `[...document.querySelectorAll("#pools tbody tr")].find((e) => e.name === "shared").querySelector(".flags").innerText.replace(/\s+/g, " ")`
	for _, where := range []string{inHead, inRow} {
		if where == inRow {
			b.do(chromedp.Navigate(h.at("")))
			b.until(`document.querySelectorAll("#pools tbody tr").length === 2`)
		}
		if got := eval[string](b, where); !strings.Contains(got, "account: engine lost for 1 min 35 s") || strings.Contains(got, "model:") {
			t.Errorf("the pool has the flags %q", got)
		}
	}
	// The flags go when the engine answers.
	b.do(chromedp.Navigate(h.at("?pool=shared")))
	m.tell(func(s *metrics.Snapshot) {
		s.Quotas = quotas("account")
		s.Quotas[1] = resource.SharedQuota{Name: "account", Holder: "h2", Granted: 5, Held: 5, Limit: 20, Highest: 20, Total: 20}
	})
	b.until(`document.querySelectorAll("#quotas .quota").length === 2 && ` + fmt.Sprintf(flags, 1) + ` === ""`)
	if eval[bool](b, `document.querySelectorAll("#quotas .quota")[1].querySelector(".whys").checkVisibility()`) {
		t.Error("the reasons are still shown")
	}
	b.good()
}

// Cards of quotas fit in every width, whatever their names are, and can be read in both
// colour schemes. With RESPOOL_SCREENSHOTS=dir they are written as PNG.
func TestQuotas_Widths(t *testing.T) {
	b := open(t)
	m := telling("shared")
	h := showing(t, m)
	for _, name := range []string{"account", strings.Repeat("provider.example.com/accounts/", 5), `<img src=x onerror=window.pwned=1>`} {
		m.tell(func(s *metrics.Snapshot) { s.Quotas = quotas(name) })
		for _, width := range []int64{400, 768, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				b.size(width, 900, scheme)
				b.do(chromedp.Navigate(h.at("")))
				b.until(`document.querySelectorAll("#pools tbody .flag").length > 0`)
				b.fits(width, "all pools")
				b.do(chromedp.Navigate(h.at("?pool=shared")))
				b.until(fmt.Sprintf(`document.querySelectorAll("#quotas h3 bdi")[1]?.textContent === %q`, name))
				b.fits(width, "one pool")
				if low := eval[[]string](b, contrast); len(low) > 0 {
					t.Errorf("%s: hard to read: %q", scheme, low)
				}
				cut := eval[[]string](b, `[...document.querySelectorAll("#quotas .quota, #quotas .quota *")].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map((e) => e.outerHTML.slice(0, 80))`)
				if len(cut) > 0 {
					t.Errorf("%d, %s: wider than their place: %q", width, scheme, cut)
				}
				if dir := os.Getenv("RESPOOL_SCREENSHOTS"); dir != "" && name == "account" {
					image := b.picture("#quotas")
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("quotas-%d-%s.png", width, scheme)), image, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if eval[bool](b, `"pwned" in window`) {
		t.Error("a name was run")
	}
	b.good()
}

// keep writes a PNG of one element if RESPOOL_SCREENSHOTS is set.
func (b *tab) keep(selector, name string) {
	b.t.Helper()
	if dir := os.Getenv("RESPOOL_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), b.picture(selector), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
}

// picture returns a PNG of one element.
func (b *tab) picture(selector string) (image []byte) {
	b.t.Helper()
	b.call(selector, func(ctx context.Context) (err error) {
		image, err = chromedp.Run(ctx, chromedp.Screenshot(chromedp.CSS(selector)))
		return err
	})
	return image
}
