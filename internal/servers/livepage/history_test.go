package livepage

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/respool/respool/metrics/live"
)

// remembered imports what the page remembers with, and feeds it one summary a
// row: [time, life, every, acquired, waits].
const remembered = `(async (rows) => {
	const { History } = await import("./history.js");
	const h = new History();
	for (const [t, life, every, n, waits] of rows) {
		const counts = { acquired: n, made: n, failed: 0, destroyed: n, unserved: 0, canceled: 0, waited: 0 };
		h.add(t, life, every, { leased: 1, counts, wait: { count: waits, zero: waits, first: 0, buckets: [], sum_seconds: 0 } });
	}
	return JSON.stringify({ t: h.points.map((p) => p.t), rate: h.rate("acquired"), minute: h.waits.of("wait")?.count ?? null, kept: h.waits.kept.length });
})`

// Whatever the clock of the server does, and whichever server or pool goes on
// under a name: the points are in order, no rate is below zero, and the last
// minute is one.
func TestHistory(t *testing.T) {
	b := open(t)
	h := (&host{t: t, every: often, meters: func() []live.Meter { return nil }}).start()
	b.do(chromedp.Navigate(h.at("")))
	for rows, want := range map[string]string{
		`[[1,"a",1,10,1],[2,"a",1,20,3],[2,"a",1,99,9],[3,"a",1,30,6]]`:                    `{"t":[1,2,3],"rate":10,"minute":5,"kept":3}`,
		`[[5001,"a",1,10,1],[5002,"a",1,20,2],[1402,"a",1,30,3],[1403,"a",1,45,5]]`:        `{"t":[1402,1403],"rate":15,"minute":2,"kept":2}`, // an hour back
		`[[10,"a",1,10,1],[11,"a",1,20,2],[10.5,"a",1,25,3],[11.5,"a",1,45,7]]`:            `{"t":[10,10.5,11.5],"rate":25,"minute":6,"kept":3}`,
		`[[10,"a",1,10,1],[3610,"a",1,20,2],[3611,"a",1,25,3]]`:                            `{"t":[3610,3611],"rate":5,"minute":1,"kept":2}`, // an hour on
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"b",1,5,1],[4,"b",1,8,3]]`:                  `{"t":[1,2,3,4],"rate":3,"minute":2,"kept":2}`,   // restarted
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"b",1,2000,200]]`:                           `{"t":[1,2,3],"rate":null,"minute":null,"kept":1}`,
		`[[50,"a",1,900,90],[51,"a",1,990,99],[49,"b",1,5,1],[50,"b",1,8,3]]`:              `{"t":[49,50],"rate":3,"minute":2,"kept":2}`,            // by a server whose clock is behind
		`[[1,"a",1,900,90],[2,"a",1,990,99],[3,"a",1,5,1],[4,"a",1,8,3]]`:                  `{"t":[1,2,3,4],"rate":3,"minute":2,"kept":2}`,          // another pool of the name
		`[[15,"a",15,150,1],[30,"a",15,300,4],[45,"a",15,600,7]]`:                          `{"t":[15,30,45],"rate":15,"minute":6,"kept":3}`,        // seldom
		`[[100,"a",1,100,1],[101,"a",1,200,2],[281,"a",1,300,99],[282,"a",1,310,100]]`:     `{"t":[100,101,281,282],"rate":10,"minute":1,"kept":2}`, // after a pause
		`[[100,"a",1,100,1],[130,"a",1,200,2],[161,"a",1,300,99],[162,"a",1,310,100]]`:     `{"t":[100,130,161,162],"rate":10,"minute":99,"kept":4}`,
		`[[0,"a",20,0,0],[20,"a",20,0,1],[40,"a",20,0,2],[60,"a",20,0,3],[80,"a",20,0,9]]`: `{"t":[0,20,40,60,80],"rate":0,"minute":8,"kept":4}`,
	} {
		if got := eval[string](b, remembered+"("+rows+")"); got != want {
			t.Errorf("%s are remembered as\n%s, want\n%s", rows, got, want)
		}
	}
	b.good()
}
